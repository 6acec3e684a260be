package underlay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	cni "cni.tuplenet"
	"cni.tuplenet/attach"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
	"tuplenet/plugins/roles"
)

// etcdPatience is how long etcd may take to answer at all. A runtime that gets
// no answer from the plugin comes back, so it is not long.
const etcdPatience = 3 * time.Second

// plugin is what the owners of ports begin with, see attach.ID.
const plugin = attach.CNI

// pool is the ports that were made in advance for this node, in all switches.
// Who has one is written into the port itself, and nowhere else.
type pool struct {
	store *store.Store
	node  string // the logical port that this node is plugged into
}

// openPool connects to etcd. The caller closes the store.
func openPool(ctx context.Context, etcd *attach.Etcd, node string) (*pool, error) {
	if etcd == nil {
		etcd = &attach.Etcd{}
	}
	s, err := store.Open(ctx, store.Config{
		Endpoints: etcd.Endpoints, Prefix: etcd.Prefix,
		CAFile: etcd.CAFile, CertFile: etcd.CertFile, KeyFile: etcd.KeyFile,
		Username: etcd.Username, Password: etcd.Password,
		DialTimeout: etcdPatience, Log: slog.New(slog.DiscardHandler), // what matters is in the error
	})
	if err != nil {
		return nil, failure(attach.CodeTryLater, err)
	}
	return &pool{s, node}, nil
}

func (p *pool) close() { p.store.Close() }

// lease is a port that was claimed, and what surrounds it.
type lease struct {
	port    topology.SwitchPort
	net     netip.Prefix // the port's address, and the prefix length of its network
	gateway netip.Addr
	routed  bool // the gateway is a router's, which answers ARP
}

// answer says of a lease what the agent says where there is one.
func (l *lease) answer(mtu int) attach.Answer {
	return attach.Answer{Switch: l.port.Switch, Port: l.port.Name, IP: l.net.String(), MAC: l.port.MAC.String(), Gateway: l.gateway.String(), MTU: mtu}
}

// claim takes a port of the pool for an attachment: of the first switch that has
// one. Claimed once more, it is the same port.
func (p *pool) claim(ctx context.Context, owner string, w cni.Wanted, secured bool) (lease, error) {
	want := store.Want{IP: w.IP, Secured: secured}
	copy(want.MAC[:], w.MAC)
	var problems []error
	for _, sw := range w.Switches {
		port, err := p.store.ClaimPort(ctx, sw.Name, p.node, owner, want)
		if errors.Is(err, store.ErrConflict) {
			err = p.explainAddress(ctx, sw.Name, owner, want.IP)
		} else if err != nil {
			err = p.explain(sw.Name, err)
		}
		if err != nil {
			problems = append(problems, err)
			if endsSearch(err) {
				break
			}
			continue // another switch may have one
		}
		l, err := p.surroundings(ctx, sw, port)
		if err != nil {
			return lease{}, errors.Join(err, p.release(ctx, port.Key(), owner))
		}
		return l, nil
	}
	if len(problems) == 0 {
		return lease{}, attach.Errorf(attach.CodeConfig, `the configuration names no switch: give it "switchname"`)
	}
	// What ended the search tells most; or else that there is an address, and that
	// another has it.
	last := problems[len(problems)-1]
	code := codeOf(last)
	if !endsSearch(last) {
		code = codeOf(slices.MaxFunc(problems, func(a, b error) int { return cmp.Compare(codeOf(a), codeOf(b)) }))
	}
	return lease{}, failure(code, errors.Join(problems...))
}

// endsSearch reports whether an error is none of the switch's, so that another one is
// not tried: who waits, or mends it, gets what was meant.
func endsSearch(err error) bool {
	return codeOf(err) == attach.CodeTryLater || codeOf(err) == attach.CodeDenied
}

// explain makes of what the store says what a runtime understands.
func (p *pool) explain(sw string, err error) error {
	switch {
	case errors.Is(err, store.ErrFull):
		return failure(attach.CodeFull, fmt.Errorf("%w; make another switch for the node with tpctl ls provision, and name both in \"switches\"", err))
	case errors.Is(err, store.ErrNotFound):
		return failure(attach.CodeConfig, fmt.Errorf("switch %s has no port for node %s; make some with: tpctl ls provision %[1]s CIDR --node %[2]s", sw, p.node))
	case errors.Is(err, store.ErrDenied):
		return failure(attach.CodeDenied, roles.Missing(err, p.store, store.Party{Duty: store.DutyPlugin, Of: sw}))
	}
	return failure(attach.CodeTryLater, err)
}

// explainAddress says why owner cannot claim a port of the pool that has an
// address: it is another's, or the pool has no such address.
func (p *pool) explainAddress(ctx context.Context, sw, owner string, ip netip.Addr) error {
	ports, _, err := p.store.List(ctx, topology.KindSwitchPort, sw)
	if err != nil {
		return failure(attach.CodeTryLater, err)
	}
	var pool []netip.Addr
	for _, e := range ports {
		port := e.(topology.SwitchPort)
		ours := port.Pool == p.node
		switch {
		case ours && port.Owner == owner:
			return attach.Errorf(attach.CodeAttached, "port %s of switch %s is the container's already: delete the attachment (DEL) before it is made anew with address %s", port.Name, sw, ip)
		case port.IP == ip && !ours:
			return attach.Errorf(attach.CodeTaken, "address %s of switch %s is in use: port %s has it, which is not in the pool of node %s", ip, sw, port.Name, p.node)
		case port.IP == ip && port.Owner == "":
			return attach.Errorf(attach.CodeTryLater, "address %s of switch %s has become free at this moment", ip, sw)
		case port.IP == ip:
			return attach.Errorf(attach.CodeTaken, "address %s of switch %s is in use: port %s belongs to %s", ip, sw, port.Name, port.Owner)
		case ours:
			pool = append(pool, port.IP)
		}
	}
	if len(pool) == 0 {
		return p.explain(sw, store.ErrNotFound)
	}
	slices.SortFunc(pool, netip.Addr.Compare)
	return attach.Errorf(attach.CodeConfig, "address %s is not in the pool of node %s on switch %s, whose ports have %s to %s", ip, p.node, sw, pool[0], pool[len(pool)-1])
}

// surroundings finds out what the pod has to know of a port's network: from the
// configuration, or else from a router that is linked to the switch.
func (p *pool) surroundings(ctx context.Context, sw attach.Switch, port topology.SwitchPort) (lease, error) {
	l := lease{port: port}
	if port.Tag == 0 {
		return l, failure(attach.CodeConfig, fmt.Errorf("port %s of switch %s has no VLAN tag, so the pool of %s is no node's on a logical port: without \"underlay\" the agent of this host uses it",
			port.Name, port.Switch, p.node))
	}
	routers, err := p.routers(ctx, sw.Name)
	if err != nil {
		return l, failure(attach.CodeTryLater, err)
	}
	routers = slices.DeleteFunc(routers, func(r netip.Prefix) bool { return !r.Contains(port.IP) })
	switch {
	case sw.Subnet != "":
		subnet, err := netip.ParsePrefix(sw.Subnet)
		if err != nil || !subnet.Contains(port.IP) {
			return l, failure(attach.CodeConfig, fmt.Errorf("address %s of port %s is not within \"subnet\" %q", port.IP, port.Name, sw.Subnet))
		}
		l.gateway = subnet.Addr()
		if l.gateway == subnet.Masked().Addr() {
			l.gateway = l.gateway.Next()
		}
		l.net = netip.PrefixFrom(port.IP, subnet.Bits())
	case len(routers) > 0:
		l.net, l.gateway = netip.PrefixFrom(port.IP, routers[0].Bits()), routers[0].Addr()
	default:
		return l, failure(attach.CodeConfig, fmt.Errorf("no router on switch %s has a network with %s in it: link one, or give the configuration a \"subnet\"", sw.Name, port.IP))
	}
	l.routed = slices.ContainsFunc(routers, func(r netip.Prefix) bool { return r.Addr() == l.gateway })
	return l, nil
}

// routers returns the addresses of the router ports on a switch, in their order,
// with their prefix lengths.
func (p *pool) routers(ctx context.Context, sw string) (found []netip.Prefix, err error) {
	ports, _, err := p.store.List(ctx, topology.KindSwitchPort, sw)
	for _, e := range ports {
		port := e.(topology.SwitchPort)
		if port.Peer == "" || port.Outer() {
			continue
		}
		keys, err := p.store.Named(ctx, topology.KindRouterPort, port.Peer)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			router, err := p.store.Get(ctx, key)
			if errors.Is(err, store.ErrNotFound) {
				continue
			} else if err != nil {
				return nil, err
			}
			if r := router.(topology.RouterPort); r.Peer == port.Name {
				found = append(found, r.Net)
			}
		}
	}
	slices.SortFunc(found, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return found, err
}

// owned returns the ports of the pool whose owner begins with prefix, in
// whichever switches they are.
func (p *pool) owned(ctx context.Context, prefix string) ([]topology.SwitchPort, error) {
	ports, err := p.store.Owned(ctx, "", prefix)
	if err != nil {
		return nil, failure(attach.CodeTryLater, err)
	}
	// Other nodes have networks of that name, too.
	return slices.DeleteFunc(ports, func(port topology.SwitchPort) bool { return port.Pool != p.node }), nil
}

// release gives a port back.
func (p *pool) release(ctx context.Context, key topology.Key, owner string) error {
	if err := p.store.ReleasePort(ctx, key, owner); err != nil {
		return p.explain(key.Parent, err)
	}
	return nil
}

// releaseAll gives back all that an owner has.
func (p *pool) releaseAll(ctx context.Context, owner string) error {
	ports, err := p.owned(ctx, owner)
	if err != nil {
		return err
	}
	for _, port := range ports {
		if port.Owner == owner {
			err = cmp.Or(err, p.release(ctx, port.Key(), owner))
		}
	}
	return err
}

// provisioned says whether the pool has a port in one of the switches at all.
// That all are in use is no fault of the network: a runtime that hears of one
// takes the node out of service, with the pods that have them.
func (p *pool) provisioned(ctx context.Context, switches []cni.Switch) error {
	for _, sw := range switches {
		ports, _, err := p.store.List(ctx, topology.KindSwitchPort, sw.Name)
		if err != nil {
			return failure(attach.CodeUnavailable, err)
		}
		if slices.ContainsFunc(ports, func(e topology.Stored) bool { return e.(topology.SwitchPort).Pool == p.node }) {
			return nil
		}
	}
	if len(switches) == 0 {
		return nil // pods say themselves which
	}
	return failure(attach.CodeUnavailable, p.explain(switches[0].Name, store.ErrNotFound))
}

// failure makes err one that a runtime understands.
func failure(code attach.Code, err error) error {
	return &attach.Error{Code: code, Msg: strings.ReplaceAll(err.Error(), "\n", "; ")} // of several
}

// codeOf returns the code of an error.
func codeOf(err error) attach.Code {
	if e := (*attach.Error)(nil); errors.As(err, &e) {
		return e.Code
	}
	return attach.CodeIO
}
