package ctl

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"tuplenet/internal/topology"
)

// natOf returns the NAT rules of a router.
func (n *network) natOf(router string) []topology.NAT {
	return slices.Clip(n.rules[router])
}

// copyNAT adds to a road that shall be built what it has to have of the NAT of
// the edge that is copied. All edges have a floating IP alike, as what its
// owner sends may leave by any of them. An address behind which connections are
// tracked belongs to one edge alone, so another one cannot be made up here.
func (n *network) copyNAT(w *wanted, edge string) error {
	rules := n.natOf(edge)
	var hidden []string
	for _, rule := range rules {
		if _, ok := floating(rule, rules); ok {
			w.shared = append(w.shared, rule)
		} else if rule.Type == topology.SNAT {
			hidden = append(hidden, fmt.Sprintf("%s (%s to %s)", rule.Name, rule.Net.Masked(), rule.XlateIP))
		}
	}
	if len(hidden) == 0 || len(w.snat) > 0 || w.noSNAT {
		return nil
	}
	return fmt.Errorf("router %s, whose road is copied, has snat rules: %s; say with --%s IP behind which address of its own the new edge hides the virtual network, or with --%s that packets leave by it untranslated",
		edge, strings.Join(hidden, ", "), snatFlag.Name, noSNATFlag.Name)
}

// natRules returns the NAT rules of a road. One that the edge has already keeps
// the name that it has.
func (n *network) natRules(w wanted, edge string) []topology.NAT {
	var rules []topology.NAT
	for _, network := range widestOf(w.back) {
		for _, ip := range w.snat {
			name := fmt.Sprintf("%s_%s-%d_snat_%s", edge, network.Addr(), network.Bits(), ip)
			rules = append(rules, topology.NAT{Router: edge, Name: name, Net: network, XlateIP: ip, Type: topology.SNAT})
		}
	}
	for _, rule := range w.shared {
		rule.Router, rule.Extra = edge, ""
		rules = append(rules, rule)
	}
	has := n.natOf(edge)
	for i, rule := range rules {
		if j := slices.IndexFunc(has, func(o topology.NAT) bool {
			return o.Net.Masked() == rule.Net.Masked() && o.XlateIP == rule.XlateIP && o.Type == rule.Type
		}); j >= 0 {
			rules[i] = has[j]
		}
	}
	return rules
}

// widestOf returns the networks that no other one contains: snat rules of one
// router may not overlap.
func widestOf(networks []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, network := range networks {
		contained := slices.ContainsFunc(networks, func(o netip.Prefix) bool {
			return o.Bits() < network.Bits() && o.Contains(network.Addr())
		})
		if network = network.Masked(); !contained && !slices.Contains(out, network) {
			out = append(out, network)
		}
	}
	return out
}

func addNATStep(r topology.NAT) step {
	return step{object: "lnat", verb: "add", makes: []topology.Stored{r},
		args: []string{r.Router, r.Name, r.Net.String(), string(r.Type), r.XlateIP.String()}}
}

// checkExternals says which of the external addresses the new edge cannot have.
// Its own address in the physical network is good.
func (n *network) checkExternals(w wanted, own map[topology.Key]bool) error {
	for _, ip := range w.snat {
		gateway := slices.ContainsFunc(w.out, func(r topology.StaticRoute) bool { return r.NextHop == ip })
		virtual := slices.IndexFunc(w.back, func(p netip.Prefix) bool { return p.Contains(ip) })
		user := n.userOf(ip, own)
		bad := func(format string, args ...any) error {
			return fmt.Errorf("invalid --%s %s: %s", snatFlag.Name, ip, fmt.Sprintf(format, args...))
		}
		switch {
		case !topology.IsUnicast(ip) || w.vip.Contains(ip) && !topology.IsHost(ip, w.vip):
			return bad("no machine can have the address")
		case gateway:
			return bad("it is the address of the gateway")
		case virtual >= 0:
			return bad("it lies within the virtual network %s; name an address of the physical network", w.back[virtual].Masked())
		case w.inner.Contains(ip):
			return bad("it lies within %s, the network towards the central router; name an address of the physical network", w.inner.Masked())
		case user != "":
			return bad("%s has the address; an edge needs one of its own", user)
		}
	}
	return nil
}

// natNotes tells what becomes of the NAT rules of the edge that is copied.
func (n *network) natNotes(w wanted, from, edge string) []string {
	var notes []string
	networks := widestOf(w.back)
	for _, rule := range n.natOf(from) {
		switch {
		case slices.Contains(w.shared, rule):
			if rule.Type == topology.DNAT { // one note for both
				notes = append(notes, fmt.Sprintf("the floating IP %s of %s is copied from %s: what %s sends may leave by any edge",
					rule.XlateIP, rule.Net.Addr(), from, rule.Net.Addr()))
			}
		case rule.Type == topology.SNAT && len(w.snat) > 0 && slices.ContainsFunc(networks, rule.Net.Overlaps): // --snat stands for it
		case rule.Type == topology.SNAT:
			notes = append(notes, fmt.Sprintf("the snat rule %s of %s (%s to %s) is not copied: what leaves by %s is not translated",
				rule.Name, from, rule.Net.Masked(), rule.XlateIP, edge))
		default:
			notes = append(notes, fmt.Sprintf("the dnat rule %s of %s (%s to %s) is not copied: an answer that leaves by %s is not translated back; a floating IP works over all edges",
				rule.Name, from, rule.XlateIP, rule.Net.Addr(), edge))
		}
	}
	return notes
}
