package lab

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"tuplenet/flows"
	"tuplenet/internal/topology"
)

// Hop is a piece of a packet's path that lies in one switch or router on one
// chassis, or a step from one to the next.
type Hop struct {
	Chassis string   `json:"chassis"`
	Device  string   `json:"device,omitempty"` // "switch LS-A", "router LR-central"
	Tables  []string `json:"tables,omitempty"` // the packet's way through it
	Note    string   `json:"note,omitempty"`   // what happens otherwise: enters, crosses a tunnel, leaves, is dropped
}

// String is the hop in one line.
func (h Hop) String() string {
	if h.Note != "" {
		return h.Chassis + ": " + h.Note
	}
	return h.Chassis + ": " + h.Device + ": " + strings.Join(h.Tables, " > ")
}

// maxTraces bounds the chassis on a path; more is a loop.
const maxTraces = 16

// Path tells the way that a ping from a workload to a name or an address
// takes now, and whether it arrives somewhere. Open vSwitch of every chassis on
// the way is asked what it would do with it (ofproto/trace); no packet is sent.
func (l *Lab) Path(ctx context.Context, from, to string) (hops []Hop, arrives bool, err error) {
	w, err := l.workload(from)
	if err != nil {
		if _, known := l.at(from); known == nil {
			return nil, false, fmt.Errorf("a path begins at a workload, and %s is none: what it sends walks no tables before it reaches a chassis", from)
		}
		return nil, false, err
	}
	dst, err := l.addressOf(to)
	if err != nil {
		return nil, false, err
	}
	v, err := l.view(ctx)
	if err != nil {
		return nil, false, err
	}
	packet, err := v.echoRequest(w, dst)
	if err != nil {
		return nil, false, err
	}
	packet = "in_port=" + device(w.Port) + "," + packet
	host, err := l.Host(w.Host)
	if err != nil {
		return nil, false, err
	}
	hops = append(hops, Hop{Chassis: host.Name, Note: "enters from " + w.Port})
	for range maxTraces {
		out, err := l.on(host.Name, l.echo).output(ctx, "ovs-appctl", "--timeout=10", "ofproto/trace", "--names", "br-int", packet)
		if err != nil {
			return hops, false, err
		}
		t := parseTrace(out)
		hops = append(hops, t.hops(host.Name, v)...)
		switch {
		case t.tunnel != nil:
			next, ok := l.hostWith(t.tunnel.dst)
			if !ok {
				return append(hops, Hop{Chassis: host.Name, Note: "leaves the lab through a tunnel to " + t.tunnel.dst}), false, nil
			}
			hops = append(hops, Hop{Chassis: host.Name, Note: fmt.Sprintf("Geneve to %s (%s), VNI %d", next.Name, next.Address, t.tunnel.vni)})
			packet = t.received(packet)
			host = next
		case t.asked:
			return append(hops, Hop{Chassis: host.Name, Note: "goes to the agent"}), false, nil
		case t.out == "":
			return append(hops, Hop{Chassis: host.Name, Note: "dropped"}), false, nil
		default:
			return append(hops, Hop{Chassis: host.Name, Note: "leaves to " + l.portOf(t.out)}), true, nil
		}
	}
	return hops, false, fmt.Errorf("the packet still travels after %d chassis", maxTraces)
}

// echoRequest describes the first packet of a ping from a workload, as
// ofproto/trace takes it.
func (v *view) echoRequest(w Workload, dst netip.Addr) (string, error) {
	src, ok := v.ports[w.Port]
	if !ok {
		return "", fmt.Errorf("no switch has a port %q any more", w.Port)
	}
	mac, found := topology.MAC{}, false
	for _, p := range v.ports {
		if p.Switch == src.Switch && p.IP == dst {
			mac, found = p.MAC, true
		}
	}
	if gw, ok := v.gateway(src.Switch); ok && !found {
		if gw.Net.Masked().Contains(dst) {
			return "", fmt.Errorf("no port of switch %s has the address %s, so nobody answers the ARP request for it", src.Switch, dst)
		}
		mac, found = gw.MAC, true
	}
	if !found {
		return "", fmt.Errorf("switch %s has neither a port with the address %s nor a router", src.Switch, dst)
	}
	return fmt.Sprintf("icmp,dl_src=%s,dl_dst=%s,nw_src=%s,nw_dst=%s,nw_ttl=64,%s", src.MAC, mac, src.IP, dst, icmpEcho), nil
}

// hops turns the tables of a trace into hops, one a switch or router.
func (t *trace) hops(chassis string, v *view) []Hop {
	var hops []Hop
	for _, s := range t.steps {
		device := v.datapath(s.datapath)
		if n := len(hops); n == 0 || hops[n-1].Device != device {
			hops = append(hops, Hop{Chassis: chassis, Device: device})
		}
		last := &hops[len(hops)-1]
		last.Tables = append(last.Tables, flows.Table(s.table).String())
	}
	return hops
}

// datapath names the switch or router with an id.
func (v *view) datapath(id uint64) string {
	if i := slices.IndexFunc(v.switches, func(s topology.Switch) bool { return uint64(s.ID) == id }); i >= 0 {
		return "switch " + v.switches[i].Name
	}
	if i := slices.IndexFunc(v.routers, func(r topology.Router) bool { return uint64(r.ID) == id }); i >= 0 {
		return "router " + v.routers[i].Name
	}
	if id == 0 {
		return "bridge br-int" // not in a logical device yet
	}
	return fmt.Sprintf("datapath %d", id)
}

func (l *Lab) hostWith(addr string) (Host, bool) {
	for _, h := range l.Spec.Hosts {
		if h.Address == addr {
			return h, true
		}
	}
	return Host{}, false
}

// portOf names the workload behind an interface, or else the interface.
func (l *Lab) portOf(dev string) string {
	workloads, err := l.Workloads()
	if err == nil {
		for _, w := range workloads {
			if device(w.Port) == dev {
				return w.Port
			}
		}
	}
	return dev
}

// tunnelPort names the interface of the tunnel to the chassis with an address,
// one that Spec.complete has checked.
func tunnelPort(address string) string {
	b := netip.MustParseAddr(address).As4()
	return fmt.Sprintf("tupleNet-%d", binary.BigEndian.Uint32(b[:]))
}
