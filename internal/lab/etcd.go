package lab

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"tuplenet/internal/store"
	"tuplenet/internal/suggest"
	"tuplenet/internal/topology"
)

// member is one etcd of the lab, next to the physical switch. The only one is
// called etcd, those of a cluster etcd1, etcd2 and so on.
type member struct {
	daemon
	client, peer string // HOST:PORT
}

// The ports of the first member; those of each further one are portStep higher.
const clientPort, peerPort, portStep = 2379, 2380, 10

// answerPatience is how long an etcd that listens may take to answer before it is
// looked whether it still runs.
const answerPatience = 2 * time.Second

// members returns all members in their order.
func (l *Lab) members() []member {
	host := switchAddr(l.Spec.network()).String()
	all := make([]member, l.Spec.Etcd)
	for i := range all {
		name, dir := Etcd, l.path("etcd")
		if len(all) > 1 {
			name = Component(fmt.Sprint(Etcd, i+1))
			dir = l.path("etcd", string(name))
		}
		all[i] = member{
			daemon: daemon{component: name, place: place{name: physical, echo: l.echo}, dir: dir},
			client: net.JoinHostPort(host, strconv.Itoa(clientPort+i*portStep)),
			peer:   net.JoinHostPort(host, strconv.Itoa(peerPort+i*portStep)),
		}
	}
	return all
}

// named returns the members that a name means: one of them, or all if it is
// etcd.
func (l *Lab) named(name string) ([]member, error) {
	all := l.members()
	if name == string(Etcd) {
		return all, nil
	}
	names := []string{string(Etcd)}
	for _, m := range all {
		if string(m.component) == name {
			return []member{m}, nil
		}
		names = append(names, string(m.component))
	}
	return nil, fmt.Errorf("no etcd is named %q%s", name, suggest.Among(name, slices.Compact(names)))
}

// socket is where what runs outside the physical network finds the member.
func (m member) socket() string { return filepath.Join(m.dir, "etcd.sock") }

// etcdAddress is where etcd is found by the hosts: all members, separated by
// commas.
func (l *Lab) etcdAddress() string {
	var all []string
	for _, m := range l.members() {
		all = append(all, m.client)
	}
	return strings.Join(all, ",")
}

// Endpoints is where etcd is found by what runs outside the physical network:
// this program, and tpctl on the machine itself, which takes it with -e or as
// TUPLENET_ENDPOINTS.
func (l *Lab) Endpoints() string {
	var all []string
	for _, m := range l.members() {
		all = append(all, "unix://"+m.socket())
	}
	return strings.Join(all, ",")
}

// StartEtcd starts a member of etcd, or all that do not run if the name is
// etcd, again or for the first time. It waits until they answer, unless too few
// run for that.
func (l *Lab) StartEtcd(ctx context.Context, name string) error {
	started, err := l.named(name)
	if err != nil {
		return err
	}
	if down := slices.DeleteFunc(slices.Clone(started), func(m member) bool { return pid(m.daemon) != 0 }); len(down) > 0 {
		started = down
	}
	for _, m := range started {
		if err := l.startMember(m); err != nil {
			return err
		}
	}
	working := 0
	for _, m := range l.members() {
		if m.works() {
			working++
		}
	}
	for _, m := range started {
		st, err := newStore(m)
		if err != nil {
			return err
		}
		defer st.Close()
		err = m.await(ctx, func() bool {
			if !listening(m.socket()) || 2*working <= l.Spec.Etcd {
				return listening(m.socket())
			}
			// Bounded, as it waits for etcd, and this one may have ended meanwhile.
			try, cancel := context.WithTimeout(ctx, answerPatience)
			defer cancel()
			err := st.Init(try)
			return err == nil || store.Refused(err) // which is an answer, too
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) startMember(m member) error {
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return fmt.Errorf("start %s: %w", m, err)
	}
	argv := []string{"tuplenet", "etcd", "--data-dir", filepath.Join(m.dir, "data"), "--listen-client", "http://" + m.client + ",unix://" + m.socket()}
	if all := l.members(); len(all) > 1 {
		var cluster []string
		for _, m := range all {
			cluster = append(cluster, string(m.component)+"=http://"+m.peer)
		}
		argv = append(argv, "--name", string(m.component), "--listen-peer", "http://"+m.peer, "--initial-cluster", strings.Join(cluster, ","))
	}
	m.place = l.phy(l.echo) // whose environment has members itself
	return m.start(argv...)
}

// StopEtcd stops a member of etcd, or all of them if the name is etcd, and
// waits for its end.
func (l *Lab) StopEtcd(ctx context.Context, name string) error {
	return l.eachEtcd(name, func(m member) error { return m.stop(ctx, syscall.SIGTERM) })
}

// KillEtcd is StopEtcd with SIGKILL.
func (l *Lab) KillEtcd(ctx context.Context, name string) error {
	return l.eachEtcd(name, func(m member) error { return m.stop(ctx, syscall.SIGKILL) })
}

// RestartEtcd kills a member of etcd, or all of them if the name is etcd, and
// starts it again.
func (l *Lab) RestartEtcd(ctx context.Context, name string) error {
	if err := l.KillEtcd(ctx, name); err != nil {
		return err
	}
	return l.StartEtcd(ctx, name)
}

// HangEtcd makes a member, or all of them if the name is etcd, stand still.
func (l *Lab) HangEtcd(ctx context.Context, name string) error {
	return l.eachEtcd(name, func(m member) error { return m.hang(ctx) })
}

// ResumeEtcd lets go on what HangEtcd has stopped.
func (l *Lab) ResumeEtcd(ctx context.Context, name string) error {
	return l.eachEtcd(name, func(m member) error { return m.resume(ctx) })
}

// eachEtcd does the same to all members that a name means, at the same time: the
// last of a cluster would wait for the others before it stops.
func (l *Lab) eachEtcd(name string, do func(member) error) error {
	members, err := l.named(name)
	if err != nil {
		return err
	}
	var group errgroup.Group
	for _, m := range members {
		group.Go(func() error { return do(m) })
	}
	return group.Wait()
}

// newStore connects to those members that work: the lab's own looks do not wait
// for a hung one. Where etcd authenticates, it is the user that tpctl would be.
func newStore(members ...member) (*store.Store, error) {
	var sockets []string
	for _, m := range members {
		sockets = append(sockets, "unix://"+m.socket())
	}
	return store.New(store.Config{Endpoints: sockets, Username: os.Getenv("TUPLENET_USER"), Password: os.Getenv("TUPLENET_PASSWORD"), Log: slog.New(slog.DiscardHandler)})
}

// view is the logical topology at one moment, as far as the lab needs it.
type view struct {
	routers     []topology.Router
	ports       map[string]topology.SwitchPort // by name
	routerPorts map[string]topology.RouterPort // by name
	routes      []topology.StaticRoute
}

// view reads the topology from etcd.
func (l *Lab) view(ctx context.Context) (*view, error) {
	working := slices.DeleteFunc(l.members(), func(m member) bool { return !m.works() })
	if 2*len(working) <= l.Spec.Etcd {
		return nil, fmt.Errorf("etcd does not run: start it with `tuplenet lab start --name %s etcd`", l.Name)
	}
	st, err := newStore(working...)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	v := &view{ports: map[string]topology.SwitchPort{}, routerPorts: map[string]topology.RouterPort{}}
	for _, kind := range []topology.Kind{topology.KindSwitchPort, topology.KindRouter, topology.KindRouterPort, topology.KindStaticRoute} {
		entities, _, err := st.List(ctx, kind, "")
		if err != nil {
			return nil, err
		}
		for _, e := range entities {
			switch e := e.(type) {
			case topology.SwitchPort:
				v.ports[e.Name] = e
			case topology.Router:
				v.routers = append(v.routers, e)
			case topology.RouterPort:
				v.routerPorts[e.Name] = e
			case topology.StaticRoute:
				v.routes = append(v.routes, e)
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
