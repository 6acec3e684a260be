package doctor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"tuplenet/internal/ovs"
	"tuplenet/internal/status"
	"tuplenet/internal/suggest"
	"tuplenet/internal/topology"
)

// checkInterfaces tells which interfaces of Open vSwitch do not work, and which
// are not what they are taken for.
func checkInterfaces(ctx context.Context, env *Env) []Finding {
	h, err := env.examined(ctx)
	if err != nil || h.Bridge == "" {
		return nil
	}
	var findings []Finding
	for _, name := range slices.Sorted(maps.Keys(h.Faults)) {
		findings = append(findings, bad(name, "Open vSwitch cannot use it: "+h.Faults[name],
			"bring its device back, or take it out: ovs-vsctl del-port "+name))
	}
	for _, id := range slices.Sorted(maps.Keys(h.Twins)) {
		findings = append(findings, bad(id, fmt.Sprintf("%s have this iface-id, of which the first counts alone", strings.Join(h.Twins[id], " and ")),
			fmt.Sprintf("take what is left of before out: ovs-vsctl del-port %s", h.Twins[id][len(h.Twins[id])-1])))
	}
	for _, name := range h.NoCsum {
		findings = append(findings, bad(name, "the tunnel sends UDP without checksums, so that damaged packets get through and some NICs are slow",
			fmt.Sprintf("set it: ovs-vsctl set Interface %s options:csum=true", name)))
	}
	if !env.silent(ctx) {
		findings = append(findings, checkLinks(h)...)
	}
	findings = append(findings, checkPlugged(h, env.ports(ctx))...)
	if len(findings) == 0 {
		findings = append(findings, good("", "all of Open vSwitch's can be used"))
	}
	return findings
}

// checkLinks tells which interfaces have no link, and which ways out lead nowhere.
func checkLinks(h ovs.Health) (findings []Finding) {
	for _, p := range h.Plugged {
		nics, dark := h.Dark[p.Bridge]
		switch {
		case p.Unlinked:
			findings = append(findings, bad(p.Name, fmt.Sprintf("has no link, so that port %s is not reached", p.IfaceID),
				"see whether its workload runs, and take both ends up: ip link set "+p.Name+" up"))
		case p.Bridge != "" && dark:
			findings = append(findings, bad(p.Name, fmt.Sprintf("bridge %s of outer port %s holds no NIC with a link (%s)", p.Bridge, p.IfaceID, cmp.Or(nics, "none at all")),
				mendLink(p.Bridge, nics)))
		}
	}
	return findings
}

// mendLink returns what gives a bridge a link, that has these NICs.
func mendLink(bridge, nics string) string {
	if nics == "" {
		return "plug its NIC into it: ovs-vsctl add-port " + bridge + " NIC"
	}
	return "see the cable of " + nics + ", and take it up: ip link set NIC up"
}

// checkPlugged compares the interfaces that name ports with these, by name; nil if
// they are not known.
func checkPlugged(h ovs.Health, ports map[string][]topology.SwitchPort) (findings []Finding) {
	if ports == nil {
		return nil
	}
	spaces := &namespaces{}
	for _, p := range h.Plugged {
		all := ports[p.IfaceID]
		stray := status.Stray{Interface: p.Name, Port: p.IfaceID, Owner: p.Owner}
		switch {
		case len(all) == 0:
			near := suggest.DidYouMean(p.IfaceID, slices.Sorted(maps.Keys(ports)))
			findings = append(findings, bad(p.Name, stray.String()+near, stray.Remedy()))
		case len(all) == 1 && all[0].Parent != "":
			stray.Parent = all[0].Parent
			findings = append(findings, bad(p.Name, stray.String(), stray.Remedy()))
		case slices.ContainsFunc(all, topology.SwitchPort.Outer): // where it is, the operator says
		case slices.ContainsFunc(all, func(port topology.SwitchPort) bool { return port.Chassis == h.Chassis || port.Chassis == "" }):
			if len(all) > 1 {
				continue // which of them counts is for `tpctl check`
			}
			mac, at := spaces.macBehind(p)
			if mac == "" || strings.EqualFold(mac, all[0].MAC.String()) {
				continue
			}
			findings = append(findings, bad(p.Name, fmt.Sprintf("%s has MAC %s, and port %s has %s, so that nothing reaches it", at, mac, p.IfaceID, all[0].MAC),
				"give the workload the MAC of the port, or make the port anew with the other: tpctl lsp add"))
		default:
			stray.Chassis = all[0].Chassis
			findings = append(findings, bad(p.Name, stray.String(), stray.Remedy()))
		}
	}
	return findings
}

// macBehind returns the MAC of the workload behind an interface and what it is of,
// as far as that can be told: of the other end of a veth, or by whoever has plugged
// it in.
func (n *namespaces) macBehind(p ovs.Plugged) (mac, of string) {
	if p.AttachedMAC != "" {
		return p.AttachedMAC, "its workload (external_ids:attached-mac)"
	}
	link, err := netlink.LinkByName(p.Name)
	if err != nil || link.Type() != "veth" {
		return "", ""
	}
	if s, _, err := n.peer(link); err == nil && s.path != "" && s.mac != nil {
		return s.mac.String(), s.String()
	}
	return "", ""
}
