package ctl

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tuplenet/internal/manifest"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

var (
	nodeFlag       = Flag{Name: "node", Value: "NODE", Required: true, Usage: "whose workloads the ports are for: `NODE` is a chassis, or the port of a virtual machine or container, whose children they become"}
	poolRouterFlag = Flag{Name: "router", Value: "ROUTER", Usage: "plug `ROUTER` into the switch, with the gateway's address"}
)

// widestPool is the shortest prefix of a network whose addresses are given out
// in advance: each is a key in etcd, and every agent has it in memory.
const widestPool = 18

func provisionCommand() Command {
	return Command{
		Object: "ls", Verb: "provision", Args: []string{"SWITCH", "CIDR"}, Flags: []Flag{nodeFlag, poolRouterFlag, securityFlag, forceFlag}, steps: true,
		Usage: "make a node's switch and the ports of its workloads in advance",
		Notes: "Makes SWITCH if it is missing, and for every address of CIDR that no port of it has a port named SWITCH-ADDRESS, for the workloads of one node: tpcni there takes one of them for each container, " +
			"and gives it back. The gateway is that of the router whose network on SWITCH CIDR is in; without one it is the address in CIDR, or the first one of the network, where --router or \"tpctl lr link\" plugs a router in.\n" +
			"If NODE is a port, the ports are its children, with tags from the lowest that is free: at most 4094. Otherwise CIDR may be as wide as /18. " +
			"Run again, it makes what is missing and leaves what is there. \"tpctl ls unprovision\" deletes the ports again; \"tpctl ls del -r\" deletes them with the switch, and \"tpctl lrp del\" the router's port.\n" +
			"What other hosts attach to SWITCH gets none of the addresses: each node has a switch of its own.",
		Example: "tpctl ls provision ls-worker1 10.40.1.1/24 --node worker1 --router LR-pods",
		run:     provisionSwitch,
	}
}

// pool is the ports of a switch that are made in advance for a node.
type pool struct {
	sw, node, router string
	gateway          netip.Prefix // its address and network, as the command line has them
	secured          bool
	force            bool // take it that the chassis exists

	parent    string       // the node, if it is a port
	size      int          // ports that there are in the end
	reserved  netip.Addr   // of the gateway; invalid if that is outside of the network
	within    netip.Prefix // the router's network, or that of gateway
	taken     int          // addresses that other ports have
	others    int          // ports of the switch that are neither a router's nor the node's
	unsecured int          // of a run before, without port security
	unplugged bool         // no router has the gateway's address
}

func provisionSwitch(s *session, args []string) error {
	p := &pool{secured: s.set(securityFlag), force: s.set(forceFlag)}
	var err error
	if p.sw, err = newName(topology.KindSwitch, args[0]); err != nil {
		return err
	}
	if p.gateway, err = poolNetwork(args[1]); err != nil {
		return err
	}
	if p.node, err = reference(s.Flags[nodeFlag.Name]); err != nil {
		return err
	}
	if p.router, err = reference(s.Flags[poolRouterFlag.Name]); err != nil {
		return err
	}
	a := &application{session: s, plan: p.plan, started: time.Now()}
	a.tell = func() error { return p.tell(a) }
	return a.carryOut()
}

// poolNetwork parses a network whose addresses are to be given out, with the
// gateway's, which is the first if the text names none.
func poolNetwork(text string) (netip.Prefix, error) {
	net, err := topology.ParsePrefix(strings.TrimSpace(text))
	if err != nil {
		return net, err
	}
	if net.Bits() < 31 && net == net.Masked() {
		net = netip.PrefixFrom(net.Addr().Next(), net.Bits())
	}
	switch {
	case net.Bits() < widestPool:
		return net, fmt.Errorf("invalid CIDR %s: %d addresses are more than are made in advance; name a network of /%d or smaller for each node", text, 1<<(32-net.Bits()), widestPool)
	case net.Bits() == 32:
		return net, fmt.Errorf("invalid CIDR %s: beside the gateway no address is left", text)
	}
	return net, checkRouterNetwork(net)
}

// plan returns what is missing.
func (p *pool) plan(n *store.Snapshot) (changes []manifest.Change, notes []string, err error) {
	if err := p.findNode(n); err != nil {
		return nil, nil, err
	}
	var wanted manifest.Description
	want := func(e topology.Stored) { wanted = append(wanted, manifest.Object{Entity: e, Security: true}) }
	sw := topology.Switch{Name: p.sw}
	if err := n.Broken[sw.Key()]; err != nil {
		return nil, nil, fmt.Errorf("%s: its value cannot be used: %w", sw.Key(), err)
	}
	if n.Entities[sw.Key()] == nil {
		want(sw)
	}
	link, err := p.link(n)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range link {
		want(e)
	}
	if err := p.findGateway(n, link); err != nil {
		return nil, nil, err
	}
	missing, err := p.missing(n)
	if err != nil {
		return nil, nil, err
	}
	for _, port := range missing {
		want(port)
	}
	if len(missing) > 0 && p.others > 0 {
		notes = append(notes, fmt.Sprintf(`switch %s has %s; hosts without ports in advance find no free address in %s any more; "tpctl ls unprovision %[1]s --node %[4]s" undoes that`,
			p.sw, plural(p.others, "other port"), p.gateway.Masked(), p.node))
	}
	if p.unplugged {
		notes = append(notes, fmt.Sprintf(`no router has the gateway %s of switch %s yet; "tpctl lr link ROUTER %[2]s %[1]s" plugs one in`, p.gateway, p.sw))
	}
	if sw, _ := n.Entities[sw.Key()].(topology.Switch); p.secured && p.unsecured > 0 && !sw.Secured {
		notes = append(notes, fmt.Sprintf(`%s of switch %s %s there before, without port security; "tpctl ls port-security %[2]s on" gives it to all`,
			plural(p.unsecured, "port"), p.sw, wereOf(p.unsecured)))
	}
	return wanted.Plan(stateOfStore(n), false, nil), notes, nil
}

// findGateway finds the gateway, which is a router's port if the network is in that
// of one. It refuses a network that the switch's routers do not find all of, as one
// has that is wider than the first time.
func (p *pool) findGateway(n *store.Snapshot, link []topology.Stored) error {
	all := newNetwork(slices.Concat(slices.Collect(maps.Values(n.Entities)), link))
	nets := all.networksOf(p.sw)
	around := of(all, func(r topology.RouterPort) bool {
		return all.switchOf(r) == p.sw && r.Net.Bits() <= p.gateway.Bits() && r.Net.Contains(p.gateway.Addr())
	})
	p.reserved, p.within, p.unplugged = p.gateway.Addr(), p.gateway, len(nets) == 0
	switch {
	case len(nets) == 0:
		return nil
	case len(around) == 0:
		return fmt.Errorf("CIDR %s is in no network that routers have on switch %s (%s): they would not find all of the ports; name a network within, or change the router's port first",
			p.gateway.Masked(), p.sw, joinPrefixes(nets))
	}
	p.within = around[0].Net
	if p.router == "" {
		p.reserved = netip.Addr{}
		if i := slices.IndexFunc(around, func(r topology.RouterPort) bool { return p.gateway.Contains(r.Net.Addr()) }); i >= 0 {
			p.reserved = around[i].Net.Addr()
		}
	}
	return nil
}

// findNode finds out what the node is.
func (p *pool) findNode(n *store.Snapshot) error {
	p.parent = ""
	isChassis := n.Entities[topology.Chassis{Name: p.node}.Key()] != nil
	for _, e := range n.Entities {
		if port, ok := e.(topology.SwitchPort); ok && port.Name == p.node {
			if err := checkHost(port); err != nil {
				return err
			}
			p.parent = p.node
		}
	}
	switch {
	case p.parent != "" && isChassis:
		return fmt.Errorf("node %s is both a switch port and a chassis, and it cannot be told which is meant; describe the ports in a file with their pool, and apply that", p.node)
	case p.parent == "" && !isChassis && !p.force:
		return fmt.Errorf("node %s %w: there is no switch port and no chassis of that name; create the port, or start the agent first, or use --force for a chassis that has no record yet", p.node, store.ErrNotFound)
	}
	return nil
}

// link returns what is missing of the link to the router.
func (p *pool) link(n *store.Snapshot) ([]topology.Stored, error) {
	if p.router == "" {
		return nil, nil
	}
	switchPort, routerPort := manifest.Link(p.router, p.sw, p.gateway)
	var missing []topology.Stored
	ends := []topology.Stored{switchPort, routerPort}
	for i, e := range ends {
		switch has := n.Entities[e.Key()]; {
		case n.Broken[e.Key()] != nil:
			return nil, fmt.Errorf("%s: its value cannot be used: %w", e.Key(), n.Broken[e.Key()])
		case has == nil:
			missing = append(missing, e)
		case bare(has) != bare(e) && n.Entities[ends[1-i].Key()] == nil:
			key, object := e.Key(), "lsp"
			if key.Kind == topology.KindRouterPort {
				object = "lrp"
			}
			return nil, fmt.Errorf(`%s is left of another link and leads nowhere; "tpctl %s del %s %s" removes it, and then this works`, key, object, key.Parent, key.Name)
		case bare(has) != bare(e):
			return nil, fmt.Errorf("%s exists and does not link switch %s to router %s with the gateway %s; name the gateway that there is", e.Key(), p.sw, p.router, p.gateway)
		}
	}
	return missing, nil
}

// missing returns the ports that are to be made, by address.
func (p *pool) missing(n *store.Snapshot) ([]topology.SwitchPort, error) {
	p.size, p.taken, p.unsecured, p.others = 0, 0, 0, 0
	byAddress := map[uint16]topology.SwitchPort{} // those of the switch
	var all []topology.Stored
	for _, e := range n.Entities {
		port, ok := e.(topology.SwitchPort)
		if !ok {
			continue
		}
		all = append(all, port)
		switch {
		case port.Switch != p.sw:
			continue
		case port.Pool != "" && port.Pool != p.node:
			return nil, fmt.Errorf("switch %s has been provisioned for node %s (port %s is of its pool), and a switch serves one node; name another switch for %s", p.sw, port.Pool, port.Name, p.node)
		case port.Pool != "" && port.Parent != p.parent:
			return nil, fmt.Errorf("switch %s port %s is of the pool of %s, but its parent is %q, and not %q; delete it first", p.sw, port.Name, p.node, port.Parent, p.parent)
		}
		byAddress[port.ID()] = port
		if port.Pool == "" && port.Peer == "" && !port.Outer() {
			p.others++
		}
	}
	var ports []topology.SwitchPort
	for ip := p.gateway.Masked().Addr(); p.gateway.Contains(ip); ip = ip.Next() {
		if ip == p.reserved || !topology.IsHost(ip, p.within) {
			continue
		}
		if has, ok := byAddress[topology.PortID(ip)]; ok {
			switch {
			case has.IP != ip:
				return nil, fmt.Errorf("switch %s: %s: conflict with other IP, %s of port %s: ports of a switch are told apart by the low 16 bits of their addresses", p.sw, ip, has.IP, has.Name)
			case has.Pool == "":
				p.taken++
				continue
			case !has.Secured:
				p.unsecured++
			}
			p.size++
			continue
		}
		port := topology.SwitchPort{Switch: p.sw, Name: p.sw + "-" + ip.String(), IP: ip, MAC: topology.MACFromIP(ip), Parent: p.parent, Pool: p.node, Secured: p.secured}
		if n.Entities[port.Key()] != nil || n.Broken[port.Key()] != nil {
			return nil, fmt.Errorf("switch %s port %s exists and does not have the address %s; delete it first", p.sw, port.Name, ip)
		}
		ports = append(ports, port)
	}
	p.size += len(ports)
	if p.parent == "" {
		return ports, nil
	}
	free := freeTags(childrenOf(all, p.parent))
	if len(free) < len(ports) {
		return nil, fmt.Errorf("port %s cannot have %d more children: %d of its %d VLAN tags are free; name a smaller network", p.parent, len(ports), len(free), topology.MaxTag)
	}
	for i := range ports {
		ports[i].Tag = free[i]
	}
	return ports, nil
}

// tell says what was made.
func (p *pool) tell(a *application) error {
	var made []topology.Stored
	ports := 0
	for _, c := range a.done {
		made = append(made, c.After)
		if port, ok := c.After.(topology.SwitchPort); ok && port.Pool != "" {
			ports++
		}
	}
	text := fmt.Sprintf("switch %s provisioned for %s: %s created, %d there before", p.sw, p.node, plural(ports, "port"), p.size-ports)
	if p.taken > 0 {
		text += fmt.Sprintf(", %s taken by other ports", plural(p.taken, "address"))
	}
	return a.made(made, "%s", text)
}
