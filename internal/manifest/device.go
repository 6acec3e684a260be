package manifest

import (
	"net/netip"
	"strings"

	"go.yaml.in/yaml/v3"

	"tuplenet/internal/topology"
)

func (r *reader) readSwitch(name string, key, value *yaml.Node) {
	sw := topology.Switch{Name: name}
	i := r.add(sw, key)
	r.fields(value, "switch "+name,
		field{"id", func(n *yaml.Node) { sw.ID = r.id(n) }},
		field{"port_security", func(n *yaml.Node) {
			sw.Secured, r.objects[i].Security = r.isOn(n, "switch "+name+": port_security"), true
		}},
		field{"ports", func(n *yaml.Node) {
			r.named(n, "ports of switch "+name, func(port string, key, value *yaml.Node) { r.switchPort(name, port, key, value) })
		}})
	r.objects[i].Entity = sw
}

// switchPort reads a port: its address alone, or its fields.
func (r *reader) switchPort(sw, name string, key, value *yaml.Node) {
	port, isBound, saysSecurity := topology.SwitchPort{Switch: sw, Name: name}, false, false
	of := "switch " + sw + " port " + name
	var bridge *yaml.Node
	if value.Kind == yaml.ScalarNode && !isNull(value) {
		before := len(r.problems)
		if port.IP = r.portAddress(value, of); len(r.problems) > before {
			return
		}
	} else {
		ok := r.fields(value, of,
			field{"ip", func(n *yaml.Node) { port.IP = r.portAddress(n, of) }},
			field{"mac", func(n *yaml.Node) { port.MAC = r.mac(n, of) }},
			field{"peer", func(n *yaml.Node) { port.Peer = r.text(n, of+": peer") }},
			field{"bridge", func(n *yaml.Node) { bridge = n }},
			field{"chassis", func(n *yaml.Node) { port.Chassis, isBound = r.text(n, of+": chassis"), true }},
			field{"parent", func(n *yaml.Node) { port.Parent = r.text(n, of+": parent") }},
			field{"tag", func(n *yaml.Node) { port.Tag = r.tag(n, of) }},
			field{"port_security", func(n *yaml.Node) { port.Secured, saysSecurity = r.isOn(n, of+": port_security"), true }},
			field{"pool", func(n *yaml.Node) { port.Pool = r.text(n, of+": pool") }})
		if !ok {
			return
		}
	}
	if bridge != nil && !r.patchPort(&port, of, bridge) {
		return
	}
	if !port.IP.IsValid() {
		r.fail(key, "%s has no ip: write %s: 10.20.1.10, or fields with ip", of, name)
		return
	}
	if port.MAC == (topology.MAC{}) {
		port.MAC = defaultMAC(port.IP)
	}
	if (port.Parent == "") != (port.Tag == 0) {
		r.fail(key, "%s needs both a parent and a tag, such as {ip: 10.40.1.10, parent: vm1, tag: 10}, or neither", of)
		return
	}
	i := r.add(port, key)
	r.objects[i].Bound, r.objects[i].Security = isBound, saysSecurity
}

// patchPort completes a port whose pair of patch interfaces an agent makes.
func (r *reader) patchPort(port *topology.SwitchPort, of string, bridge *yaml.Node) bool {
	name := r.text(bridge, of+": bridge")
	switch {
	case name == "":
		r.fail(bridge, "the bridge of %s has no name", of)
	case port.Peer != "":
		r.fail(bridge, "%s has a peer and a bridge; only an outer port has a bridge, and no peer", of)
	case port.IP.IsValid() && port.IP != topology.OuterIP:
		r.fail(bridge, "%s has an ip and a bridge; only an outer port has a bridge, and no ip", of)
	case port.Chassis == "":
		r.fail(bridge, "%s has a bridge and no chassis: name the system-id of the host that has the bridge", of)
	default:
		port.IP, port.Peer = topology.OuterIP, name
		return true
	}
	return false
}

// defaultMAC returns the MAC of a port for which nobody chose one.
func defaultMAC(ip netip.Addr) topology.MAC {
	if ip == topology.OuterIP {
		return topology.OuterMAC
	}
	return topology.MACFromIP(ip)
}

func (r *reader) readRouter(name string, key, value *yaml.Node) {
	lr := topology.Router{Name: name}
	i := r.add(lr, key)
	of := " of router " + name
	var routes *yaml.Node
	r.fields(value, "router "+name,
		field{"id", func(n *yaml.Node) { lr.ID = r.id(n) }},
		field{"chassis", func(n *yaml.Node) { lr.Chassis = r.text(n, "router "+name+": chassis") }},
		field{"links", func(n *yaml.Node) { r.links(name, n) }},
		field{"ports", func(n *yaml.Node) {
			r.named(n, "ports"+of, func(port string, key, value *yaml.Node) { r.routerPort(name, port, key, value) })
		}},
		field{"routes", func(n *yaml.Node) { routes = n }},
		field{"nat", func(n *yaml.Node) {
			r.named(n, "NAT rules"+of, func(rule string, key, value *yaml.Node) { r.nat(name, rule, key, value) })
		}})
	r.objects[i].Entity = lr
	if routes != nil { // once all ports are known by which they may leave
		ports := r.routerPorts(r.objects[i:])
		r.named(routes, "routes"+of, func(route string, key, value *yaml.Node) { r.route(name, route, ports, key, value) })
	}
}

// routerPorts returns the router ports among objects, which are all of one
// router.
func (r *reader) routerPorts(objects []Object) []topology.RouterPort {
	var ports []topology.RouterPort
	for _, o := range objects {
		if p, ok := o.Entity.(topology.RouterPort); ok {
			ports = append(ports, p)
		}
	}
	return ports
}

// links reads what joins a router to switches. Each is two ports.
func (r *reader) links(router string, n *yaml.Node) {
	if isNull(n) || !r.is(n, yaml.SequenceNode, "links of router "+router) {
		return
	}
	for _, item := range n.Content {
		var sw string
		var network netip.Prefix
		of := "a link of router " + router
		ok := r.fields(item, of,
			field{"switch", func(n *yaml.Node) { sw = r.text(n, of+": switch") }},
			field{"cidr", func(n *yaml.Node) { network = r.network(n, of+": cidr") }})
		switch {
		case !ok:
		case sw == "" || !network.IsValid():
			r.fail(item, "a link of router %s needs a switch and a cidr, such as {switch: LS-A, cidr: 10.20.1.1/24}", router)
		default:
			switchPort, routerPort := Link(router, sw, network)
			r.add(switchPort, item)
			r.add(routerPort, item)
		}
	}
}

// Link returns the two ports that join a router to a switch, under the names
// that "tpctl lr link" gives them. The router's address is network's.
func Link(router, sw string, network netip.Prefix) (topology.SwitchPort, topology.RouterPort) {
	ip, mac := network.Addr(), topology.MACFromIP(network.Addr())
	switchPort, routerPort := sw+"_to_"+router, router+"_to_"+sw
	return topology.SwitchPort{Switch: sw, Name: switchPort, IP: ip, MAC: mac, Peer: routerPort},
		topology.RouterPort{Router: router, Name: routerPort, Net: network, MAC: mac, Peer: switchPort}
}

// routerPort reads a port: its address with the prefix length alone, or its
// fields.
func (r *reader) routerPort(router, name string, key, value *yaml.Node) {
	port := topology.RouterPort{Router: router, Name: name}
	of := "router " + router + " port " + name
	if value.Kind == yaml.ScalarNode && !isNull(value) {
		if port.Net = r.network(value, of+": cidr"); !port.Net.IsValid() {
			return
		}
	} else if !r.fields(value, of,
		field{"cidr", func(n *yaml.Node) { port.Net = r.network(n, of+": cidr") }},
		field{"mac", func(n *yaml.Node) { port.MAC = r.mac(n, of) }},
		field{"peer", func(n *yaml.Node) { port.Peer = r.text(n, of+": peer") }}) {
		return
	}
	if !port.Net.IsValid() {
		r.fail(key, "%s has no cidr: write %s: 10.20.1.1/24, or fields with cidr", of, name)
		return
	}
	if port.MAC == (topology.MAC{}) {
		port.MAC = defaultMAC(port.Net.Addr())
	}
	r.add(port, key)
}

// route reads a static route. ports are those of its router that are described.
func (r *reader) route(router, name string, ports []topology.RouterPort, key, value *yaml.Node) {
	route := topology.StaticRoute{Router: router, Name: name}
	of := "router " + router + " route " + name
	if !r.fields(value, of,
		field{"cidr", func(n *yaml.Node) { route.Net = r.network(n, of+": cidr") }},
		field{"next_hop", func(n *yaml.Node) { route.NextHop = r.address(n, of+": next_hop") }},
		field{"outport", func(n *yaml.Node) { route.OutPort = r.text(n, of+": outport") }}) {
		return
	}
	if !route.Net.IsValid() || !route.NextHop.IsValid() {
		r.fail(key, "%s needs a cidr and a next_hop, such as {cidr: 0.0.0.0/0, next_hop: 192.168.1.1}", of)
		return
	}
	if route.OutPort == "" {
		switch way := portsTo(route.NextHop, ports); len(way) {
		case 0:
			r.fail(key, "%s: no link or port of the router that is described here leads to the next hop %s; say with outport which it is", of, route.NextHop)
			return
		case 1:
			route.OutPort = way[0]
		default:
			r.fail(key, "%s: several ports lead to the next hop %s: %s; say with outport which it is", of, route.NextHop, strings.Join(way, ", "))
			return
		}
	}
	r.add(route, key)
}

// portsTo returns the names of the ports whose network an address is in.
func portsTo(nextHop netip.Addr, ports []topology.RouterPort) []string {
	var names []string
	for _, p := range ports {
		if p.Net.Contains(nextHop) {
			names = append(names, p.Name)
		}
	}
	return names
}

func (r *reader) nat(router, name string, key, value *yaml.Node) {
	rule := topology.NAT{Router: router, Name: name}
	of := "router " + router + " NAT " + name
	if !r.fields(value, of,
		field{"type", func(n *yaml.Node) { rule.Type = topology.NATType(strings.ToLower(r.text(n, of+": type"))) }},
		field{"cidr", func(n *yaml.Node) { rule.Net = r.network(n, of+": cidr") }},
		field{"ip", func(n *yaml.Node) { rule.XlateIP = r.address(n, of+": ip") }}) {
		return
	}
	if rule.Type == "" || !rule.Net.IsValid() || !rule.XlateIP.IsValid() {
		r.fail(key, "%s needs a type, a cidr and an ip, such as {type: snat, cidr: 10.20.0.0/16, ip: 192.168.1.30}", of)
		return
	}
	r.add(rule, key)
}
