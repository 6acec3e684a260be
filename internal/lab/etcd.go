package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"syscall"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// etcdAddress is where etcd is found by the hosts.
func (l *Lab) etcdAddress() string {
	return net.JoinHostPort(switchAddr(l.Spec.network()).String(), "2379")
}

// etcdSocketURL is where etcd is found by what runs outside the physical
// network: this program, and tpctl on the machine itself.
func (l *Lab) etcdSocketURL() string { return "unix://" + l.path("etcd", "etcd.sock") }

// StartEtcd starts etcd, again or for the first time, and waits until it
// answers.
func (l *Lab) StartEtcd(ctx context.Context) error {
	if err := os.Mkdir(l.path("etcd"), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("start etcd: %w", err)
	}
	d := l.daemon(l.phy(l.echo), Etcd)
	err := d.start("tuplenet", "etcd", "--data-dir", l.path("etcd", "data"),
		"--listen-client", "http://"+l.etcdAddress()+","+l.etcdSocketURL())
	if err != nil {
		return err
	}
	st, err := l.newStore()
	if err != nil {
		return err
	}
	defer st.Close()
	return d.await(ctx, func() bool {
		return listening(l.path("etcd", "etcd.sock")) && st.Init(ctx) == nil
	})
}

// StopEtcd stops etcd and waits for its end.
func (l *Lab) StopEtcd(ctx context.Context) error {
	return l.daemon(l.phy(l.echo), Etcd).stop(ctx, syscall.SIGTERM)
}

// KillEtcd kills etcd and waits for its end.
func (l *Lab) KillEtcd(ctx context.Context) error {
	return l.daemon(l.phy(l.echo), Etcd).stop(ctx, syscall.SIGKILL)
}

func (l *Lab) newStore() (*store.Store, error) {
	return store.New(store.Config{Endpoints: []string{l.etcdSocketURL()}, Log: slog.New(slog.DiscardHandler)})
}

// view is the logical topology at one moment, as far as the lab needs it.
type view struct {
	switches    []topology.Switch
	routers     []topology.Router
	ports       map[string]topology.SwitchPort // by name
	routerPorts map[string]topology.RouterPort // by name
	routes      []topology.StaticRoute
	chassis     []topology.Chassis
}

// view reads the topology from etcd.
func (l *Lab) view(ctx context.Context) (*view, error) {
	if etcd := l.daemon(l.phy(l.echo), Etcd); pid(etcd) == 0 {
		return nil, fmt.Errorf("etcd does not run: start it with `tuplenet lab start --name %s etcd`", l.Name)
	}
	st, err := l.newStore()
	if err != nil {
		return nil, err
	}
	defer st.Close()
	v := &view{ports: map[string]topology.SwitchPort{}, routerPorts: map[string]topology.RouterPort{}}
	for _, kind := range []topology.Kind{
		topology.KindSwitch, topology.KindSwitchPort, topology.KindRouter, topology.KindRouterPort, topology.KindStaticRoute, topology.KindChassis,
	} {
		entities, _, err := st.List(ctx, kind, "")
		if err != nil {
			return nil, err
		}
		for _, e := range entities {
			switch e := e.(type) {
			case topology.Switch:
				v.switches = append(v.switches, e)
			case topology.SwitchPort:
				v.ports[e.Name] = e
			case topology.Router:
				v.routers = append(v.routers, e)
			case topology.RouterPort:
				v.routerPorts[e.Name] = e
			case topology.StaticRoute:
				v.routes = append(v.routes, e)
			case topology.Chassis:
				v.chassis = append(v.chassis, e)
			}
		}
	}
	return v, nil
}

// gateway returns the router port of a switch: the first by name, if there are
// several.
func (v *view) gateway(sw string) (topology.RouterPort, bool) {
	var found topology.RouterPort
	for _, p := range v.ports {
		rp, ok := v.routerPorts[p.Peer]
		if p.Switch == sw && ok && rp.Peer == p.Name && (found.Name == "" || rp.Name < found.Name) {
			found = rp
		}
	}
	return found, found.Name != ""
}
