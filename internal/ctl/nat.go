package ctl

import (
	"fmt"
	"net/netip"
	"strings"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

func addNAT(s *session, args []string) error {
	key, err := newChildKey(topology.KindNAT, args)
	if err != nil {
		return err
	}
	rule := topology.NAT{Router: key.Parent, Name: key.Name, Type: topology.NATType(strings.ToLower(args[3]))}
	if rule.Net, err = topology.ParsePrefix(strings.TrimSpace(args[2])); err != nil {
		return err
	}
	if rule.XlateIP, err = topology.ParseAddr(strings.TrimSpace(args[4])); err != nil {
		return fmt.Errorf("external address: %w", err)
	}
	if err := checkNAT(rule); err != nil {
		return err
	}
	var n *network
	made, err := s.createIf(func(v *store.View) error {
		var err error
		if n, err = s.natNetwork(v, rule); err != nil {
			return err
		}
		if err := natConflict(rule, n.natOf(rule.Router)); err != nil {
			return err
		}
		return n.checkExternal(rule)
	}, rule)
	if err != nil {
		return err
	}
	s.note(n.natRemarks(rule)...)
	return s.made(made, "router %s NAT %s created", rule.Router, rule.Name)
}

// checkNAT says what is wrong with a rule by itself.
func checkNAT(n topology.NAT) error {
	first := n.Net.Masked().Addr()
	switch {
	case n.Type != topology.SNAT && n.Type != topology.DNAT:
		return fmt.Errorf("invalid type %q of translation, want snat or dnat", n.Type)
	case first.IsMulticast() || first.IsLoopback() || n.Single() && !topology.IsUnicast(first):
		return fmt.Errorf("invalid CIDR %s: want unicast addresses of the virtual network", n.Net)
	case n.Type == topology.DNAT && !n.Single():
		return fmt.Errorf("invalid CIDR %s: dnat leads to one internal address, want %s/32", n.Net, n.Net.Addr())
	case !topology.IsUnicast(n.XlateIP):
		return fmt.Errorf("invalid external address %s: want a unicast address of the physical network", n.XlateIP)
	case n.Net.Contains(n.XlateIP):
		return fmt.Errorf("invalid external address %s: it lies within the internal network %s; name one of the physical network", n.XlateIP, n.Net.Masked())
	}
	return nil
}

// natConflict says why a router that has others cannot have the rule n too.
func natConflict(n topology.NAT, others []topology.NAT) error {
	conflict := func(with, format string, args ...any) error {
		return fmt.Errorf("router %s NAT %s: conflict with NAT %s, %s", n.Router, n.Name, with, fmt.Sprintf(format, args...))
	}
	same := []topology.NAT{n} // all with n's external address
	var names []string        // of those others
	for _, o := range others {
		if o.XlateIP == n.XlateIP {
			same, names = append(same, o), append(names, o.Name)
		}
		equal := o.Net.Masked() == n.Net.Masked()
		switch {
		case equal && o.Type == n.Type && o.XlateIP == n.XlateIP:
			return fmt.Errorf("router %s: a NAT rule of %s %s %s exists, its name is %s", n.Router, n.Net.Masked(), n.Type, n.XlateIP, o.Name)
		case n.Type == topology.DNAT && o.Type == topology.DNAT && o.XlateIP == n.XlateIP:
			return conflict(o.Name, "which leads %s to %s; use another external address", o.XlateIP, o.Net.Addr())
		case n.Type == topology.SNAT && o.Type == topology.SNAT && !equal && !n.Single() && !o.Single() && n.Net.Overlaps(o.Net):
			return conflict(o.Name, "whose internal network %s overlaps %s; use equal networks, or a single address (/32) as the exception", o.Net.Masked(), n.Net.Masked())
		}
	}
	for _, o := range same {
		if ip, ok := floating(o, same); ok && len(same) > 2 {
			return conflict(strings.Join(names, ", "), "as the floating IP of %s has %s for itself; use another external address", ip.Addr(), n.XlateIP)
		}
	}
	return nil
}

// floating reports whether a rule is half of a floating IP, and the internal
// address of that: an snat and a dnat between the same two addresses.
func floating(n topology.NAT, rules []topology.NAT) (netip.Prefix, bool) {
	for _, o := range rules {
		if n.Single() && o.Net == n.Net && o.XlateIP == n.XlateIP && o.Type != n.Type && o.Router == n.Router {
			return n.Net, true
		}
	}
	return netip.Prefix{}, false
}

func deleteNAT(s *session, args []string) error {
	return s.deleteChild(topology.KindNAT, "NAT", args)
}
