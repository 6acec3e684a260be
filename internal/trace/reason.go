package trace

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"tuplenet/flows"
	"tuplenet/internal/topology"
)

// dropped says why the packet was dropped in the last hop. The table that had it
// last, and what it looked like there, tell what was looked for in vain; the
// topology tells why there is none.
func (a *assembly) dropped(v Verdict, end End) Verdict {
	h := a.last()
	s := h.culprit()
	v.Outcome, v.Table, v.Object = Dropped, s.Table.String(), s.Object
	v.Text = fmt.Sprintf("dropped in %s on %s", cmp.Or(h.Device, "no switch"), h.Chassis)
	w := a.why(h, s)
	v.Reason, v.Remedy = w.reason, w.remedy
	v.Text += ": " + w.text
	if end.Why != "" && end.Why != flows.TooLarge.String() {
		v.Text += " (" + end.Why + ")"
	}
	return v
}

// why is the reason for a drop, and what can be done about it.
type why struct {
	reason       Reason
	text, remedy string
}

func (a *assembly) why(h *Hop, s seen) why {
	if s.header.VLAN != 0 && (s.Table == flows.TableDrop || s.Table == flows.TableSwitchDeliver && s.Rule == "interface") {
		return a.wrongTag(h, s)
	}
	switch s.Table {
	case flows.TableSwitchSecurity:
		return a.spoofed(h, s)
	case flows.TableSwitchARP, flows.TableSwitchTarget:
		if s.Rule == "interface" {
			return why{Hairpin, "it asks for its own address, to find out whether somebody else has it, and nobody has", ""}
		}
		return a.noAddress(h, h.name)
	case flows.TableSwitchLookup:
		return a.noMAC(h, s)
	case flows.TableTunnel:
		return a.tooLarge(h)
	case flows.TableSwitchLoopback:
		return why{Hairpin, "it would return to the port that it came from", ""}
	case flows.TableSwitchDeliver:
		return a.notHere(h)
	case flows.TableRouterAdmit:
		return why{NotRouted, "a router takes no frames but IPv4 and ARP", ""}
	case flows.TableRouterLocal:
		if s.Rule == "router" {
			return why{RouterGone, fmt.Sprintf("the chassis %s that the router is pinned to has no record, so it answers nothing", h.Chassis),
				"restarting its agent makes the record again"}
		}
		return why{NotRouted, "it is meant for the router itself, which answers nothing but ping", ""}
	case flows.TableRouterInside:
		return why{NoNAT, fmt.Sprintf("it goes to %s, behind which %s hides others, and belongs to no connection of theirs", s.header.IPDst, s.Object), ""}
	case flows.TableRouterTranslated:
		return why{NoNAT, "no connection could be made for " + s.Object + ": there are as many as there may be", ""}
	case flows.TableRouterOutside, flows.TableRouterPool:
		return why{NoNAT, "its source could not be translated by " + s.Object +
			": it belongs to no connection and begins none, or there are as many as the address has ports for", ""}
	case flows.TableRouterRoute:
		if s.header.TTL <= 1 {
			return why{TTL, "its TTL is used up", ""}
		}
		return a.noRoute(h, s)
	case flows.TableRouterPath:
		return a.noRoute(h, s)
	case flows.TableRouterConnected:
		return a.noAddress(h, a.connectedSwitch(h.name, s))
	case flows.TableNeighbour:
		return a.noAddress(h, h.name)
	case flows.TableRouterForward:
		return why{RouterGone, "the router's port " + cmp.Or(h.To, "there") + " is plugged into no switch",
			`"tpctl lr link" plugs it in`}
	case flows.TableClassify, flows.TableDrop: // by classify, which shows nothing
		return why{NotBound, "its interface belongs to no port", ""}
	}
	return why{LostOnTheWay, "in table " + s.Table.String(), ""}
}

// spoofed says why a secured port must not send a packet.
func (a *assembly) spoofed(h *Hop, s seen) why {
	port, _ := a.m.Get(topology.PortAt(h.name, s.From)).(topology.SwitchPort)
	w := why{Spoofed, fmt.Sprintf("port security: port %s may send from %s and %s alone, and ", port.Name, port.MAC, port.IP), ""}
	switch {
	case s.header.VLAN != 0:
		w.text += fmt.Sprintf("this has the VLAN tag %d", s.header.VLAN)
	case s.header.EthSrc != port.MAC:
		w.text += "this comes from " + s.header.EthSrc.String()
	case s.header.IPSrc.IsValid() && s.header.IPSrc != port.IP:
		w.text += "this comes from " + s.header.IPSrc.String()
	case s.header.ARP != 0:
		w.text += "this ARP packet tells of another MAC"
	default:
		w.text += "this is IPv6, has a VLAN tag without id, or cannot be read"
	}
	return w
}

// wrongTag says why a frame with a VLAN tag is not taken, or not delivered.
func (a *assembly) wrongTag(h *Hop, s seen) why {
	text := fmt.Sprintf("it has the VLAN tag %d, ", s.header.VLAN)
	if s.Table == flows.TableDrop {
		return why{WrongTag, text + "and no child of the port that it comes from has that", ""}
	}
	return why{WrongTag, text + "and port " + cmp.Or(h.To, "there") + " shares its interface with others, which tags tell apart", ""}
}

// nowhere says that a port is plugged in nowhere, and what plugs it in; that is
// nothing if the next container of its node may get it.
func nowhere(port topology.SwitchPort) (text, remedy string) {
	switch {
	case isFree(port):
		return "is plugged in nowhere: it was made in advance for the containers of " + port.Pool + ", and none has it yet", ""
	case port.Parent == "":
		return "is plugged in nowhere", plugIn(port)
	}
	return "is plugged in nowhere, and it is a child of port " + port.Parent, plugIn(port)
}

// isFree reports whether a port was made in advance and no container has it.
func isFree(port topology.SwitchPort) bool { return port.Pool != "" && port.Owner == "" }

// plugIn is how a port, or the parent of a child, is plugged in.
func plugIn(port topology.SwitchPort) string {
	return fmt.Sprintf(`"ovs-vsctl set Interface DEVICE external_ids:iface-id=%s" plugs an interface in`, cmp.Or(port.Parent, port.Name))
}

// noMAC says why a switch does not deliver to a MAC.
func (a *assembly) noMAC(h *Hop, s seen) why {
	mac := s.header.EthDst
	if port, ok := a.m.Get(topology.PortWithMAC(h.name, mac)).(topology.SwitchPort); ok {
		return a.unreachable(h, port)
	}
	switch {
	case mac == topology.MAC{}:
		return why{NoDestination, "a router sent it to be redirected, and no edge knows its destination either", ""}
	case mac.IsMulticast():
		return why{NotRouted, "of what goes to many, switches deliver ARP requests alone", ""}
	}
	return why{NoDestination, fmt.Sprintf("no port of switch %s has the MAC %s", h.name, mac), ""}
}

// noAddress says why a packet finds nobody in a switch who has the address that
// it goes to next.
func (a *assembly) noAddress(h *Hop, sw string) why {
	ip := a.nextHop()
	if sw == "" {
		return why{NoDestination, fmt.Sprintf("nobody has the address %s", ip), ""}
	}
	if port, ok := a.m.Get(topology.PortAt(sw, topology.PortID(ip))).(topology.SwitchPort); ok && port.IP == ip {
		return a.unreachable(h, port)
	}
	w := why{NoDestination, fmt.Sprintf("no port of switch %s has the address %s", sw, ip), ""}
	if a.belongs(ip, sw) {
		w.remedy = fmt.Sprintf(`"tpctl lsp add %s PORT %s" makes one`, sw, ip)
	}
	return w
}

// belongs reports whether a switch is the place for an address, as the networks of
// its routers tell.
func (a *assembly) belongs(ip netip.Addr, sw string) bool {
	joined := a.m.List(topology.Key{Kind: topology.KindJoinedPorts, Name: sw})
	return len(joined) == 0 || slices.ContainsFunc(joined, func(e topology.Entity) bool {
		rp, ok := a.m.Get(topology.Key{Kind: topology.KindRouterPortName, Name: e.(topology.SwitchPort).Peer}).(topology.RouterPort)
		return ok && rp.Net.Contains(ip)
	})
}

// unreachable says why a chassis does not deliver to a port that exists.
func (a *assembly) unreachable(h *Hop, port topology.SwitchPort) why {
	is := fmt.Sprintf("port %s of switch %s ", port.Name, port.Switch)
	chassis := port.Chassis
	if port.Peer != "" && !port.Outer() {
		rp, _ := a.m.Get(topology.Key{Kind: topology.KindRouterPortName, Name: port.Peer}).(topology.RouterPort)
		router, ok := a.m.Get(topology.Router{Name: rp.Router}.Key()).(topology.Router)
		if !ok || rp.Peer != port.Name {
			return why{RouterGone, is + "leads to no router: none has a port " + port.Peer + " that leads back to it", ""}
		}
		is, chassis = "router "+router.Name+" ", router.Chassis
	}
	switch state, remedy := a.state(chassis); {
	case chassis == "" && port.Peer == "", chassis == h.Chassis && isFree(port) && port.Parent == "":
		text, remedy := nowhere(port)
		return why{NotBound, is + text, remedy}
	case chassis == h.Chassis && port.Parent != "":
		return why{NotBound, is + "is bound to this chassis, and no interface here has the name of its parent " + port.Parent + " as its iface-id", plugIn(port)}
	case chassis == h.Chassis && port.Peer == "":
		return why{NotBound, is + "is bound to this chassis, and no interface here has its name as its iface-id", plugIn(port)}
	case state != "":
		return why{ChassisDown, is + "is on " + chassis + ", " + state, remedy}
	}
	return why{NotThere, fmt.Sprintf("%sis on %s, and %s has no flows to it", is, cmp.Or(chassis, "every chassis"), h.Chassis), doctor(h.Chassis)}
}

// state says what is wrong with a chassis as far as etcd knows, and what can be
// done about it; nothing if nothing is.
func (a *assembly) state(chassis string) (state, remedy string) {
	if chassis == "" {
		return "", ""
	}
	if down, ok := a.m.Get(topology.Absence{Chassis: chassis}.Key()).(topology.Absence); ok {
		return "which is down" + since(down), "start its agent, or its host"
	}
	presence, heard := a.m.Get(topology.Presence{Chassis: chassis}.Key()).(topology.Presence)
	switch runs := heard && !presence.Stopped; {
	case a.m.Get(topology.Chassis{Name: chassis}.Key()) == nil && runs:
		return "which has no record", "restart its agent, which makes the record"
	case a.m.Get(topology.Chassis{Name: chassis}.Key()) == nil:
		return "which has no record", "start its agent, which makes the record"
	case heard && presence.Stopped:
		return "whose agent has been stopped", "start its agent"
	}
	return "", ""
}

// notHere says why a chassis does not deliver what another has sent to it.
func (a *assembly) notHere(h *Hop) why {
	port, ok := a.m.Get(topology.Key{Kind: topology.KindPortName, Name: h.To}).(topology.SwitchPort)
	switch {
	case !ok:
		return why{NoDestination, "the port that it is for is gone", ""}
	case port.Peer == "" && port.Chassis != "" && port.Chassis != h.Chassis:
		return why{NotBound, fmt.Sprintf("port %s is on %s, and who sent the packet here did not know yet", port.Name, port.Chassis), ""}
	}
	return a.unreachable(h, port)
}

// tooLarge says what would have fitted.
func (a *assembly) tooLarge(h *Hop) why {
	size := ""
	if c, ok := a.m.Get(topology.Chassis{Name: h.Chassis}.Key()).(topology.Chassis); ok && c.MTU > 0 {
		size = fmt.Sprintf(", into which %d bytes fit", c.MTU)
	}
	return why{TooLarge, "it is too large for the tunnel" + size + ", and must not be fragmented",
		"an MTU for workloads that fits, or a larger one of the hosts' network"}
}

// noRoute says why a router does not know where to.
func (a *assembly) noRoute(h *Hop, s seen) why {
	dst := s.header.IPDst
	bits := 32
	for ; bits >= 0; bits-- {
		net, err := dst.Prefix(bits)
		if err != nil {
			break
		}
		routes := a.m.List(topology.Key{Kind: topology.KindRoutes, Parent: h.name, Name: net.String()})
		if len(routes) > 0 {
			return a.uselessRoutes(h, s, routes)
		}
	}
	return why{NoRoute, fmt.Sprintf("no route leads to %s", dst),
		fmt.Sprintf(`"tpctl lsr add %s NAME %s/32 NEXT_HOP OUT_PORT" makes one`, h.name, dst)}
}

// uselessRoutes says why the routes that there are do not serve.
func (a *assembly) uselessRoutes(h *Hop, s seen, routes []topology.Entity) why {
	w := why{NoRoute, "", doctor(h.Chassis)}
	for i, e := range routes {
		route := e.(topology.StaticRoute)
		if i > 0 {
			w.text += ", and "
		}
		w.text += fmt.Sprintf("route %s by %s ", route.Name, route.NextHop)
		chassis := a.chassisOf(route)
		state, remedy := a.state(chassis)
		switch {
		case state != "":
			w.text += "leads to " + chassis + ", " + state
			w.reason, w.remedy = ChassisDown, remedy
		case s.is(flows.TableRouterPath):
			w.text += "leads to " + chassis + ", to which BFD finds no way"
			w.reason = BFD
			w.remedy += fmt.Sprintf(`; see "tpctl status %s"`, chassis)
		default:
			w.text += "leads nowhere from here"
		}
	}
	w.text = fmt.Sprintf("no route to %s works: %s", s.header.IPDst, w.text)
	return w
}

// chassisOf returns the chassis that the next router of a route is pinned to.
func (a *assembly) chassisOf(route topology.StaticRoute) string {
	out, _ := a.m.Get(topology.Key{Kind: topology.KindRouterPortName, Name: route.OutPort}).(topology.RouterPort)
	sp, _ := a.m.Get(topology.Key{Kind: topology.KindPortName, Name: out.Peer}).(topology.SwitchPort)
	next, _ := a.m.Get(topology.PortAt(sp.Switch, topology.PortID(route.NextHop))).(topology.SwitchPort)
	rp, _ := a.m.Get(topology.Key{Kind: topology.KindRouterPortName, Name: next.Peer}).(topology.RouterPort)
	router, _ := a.m.Get(topology.Router{Name: rp.Router}.Key()).(topology.Router)
	return router.Chassis
}

// connectedSwitch returns the switch behind the port of a router in whose network
// the packet's destination is.
func (a *assembly) connectedSwitch(router string, s seen) string {
	best, sw := -1, ""
	for _, e := range a.m.List(topology.Key{Kind: topology.KindRouterPorts, Name: router}) {
		rp := e.(topology.RouterPort)
		sp, ok := a.m.Get(topology.Key{Kind: topology.KindPortName, Name: rp.Peer}).(topology.SwitchPort)
		if ok && rp.Net.Bits() > best && rp.Net.Contains(s.header.IPDst) {
			best, sw = rp.Net.Bits(), sp.Switch
		}
	}
	return sw
}
