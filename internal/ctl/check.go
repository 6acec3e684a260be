package ctl

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"tuplenet/internal/topology"
)

// widest is the shortest prefix that a switch may have: a port's id is the low
// 16 bits of its address.
const widest = 16

// name returns s without the blanks around it, or why it cannot name an object.
func name(s string) (string, error) {
	s = strings.TrimSpace(s)
	return s, topology.CheckName(s)
}

// newName is name for an object that is to be made. It is stricter than the
// store, where others' names are taken as they are: what a shell, an iface-id or
// a path would stumble over is refused, and what the value of another object
// could not name. No value names a route or a NAT rule.
func newName(kind topology.Kind, s string) (string, error) {
	s, err := name(s)
	switch {
	case err != nil:
		return s, err
	case strings.ContainsFunc(s, unicode.IsSpace):
		return s, fmt.Errorf("invalid name %q: spaces are not allowed", s)
	case !utf8.ValidString(s):
		return s, fmt.Errorf("invalid name %q: it is not UTF-8", s)
	case s == "." || s == "..":
		return s, fmt.Errorf("invalid name %q: it means a directory", s)
	case strings.ContainsAny(s, ",=") && kind != topology.KindStaticRoute && kind != topology.KindNAT:
		return s, fmt.Errorf(`invalid name %q: "," and "=" are not allowed, as no other object could refer to it`, s)
	}
	return s, nil
}

// reference returns s as a name that stands within another object's value, or
// nothing if s is empty. Pairs of a value are separated by commas.
func reference(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	s, err := name(s)
	if err == nil && strings.Contains(s, ",") {
		err = fmt.Errorf(`invalid name %q: "," is not allowed in a name that another object refers to`, s)
	}
	return s, err
}

// source is what a check reads: the store, or what it would hold.
type source interface {
	Get(topology.Key) (topology.Stored, error)             // one entity, or store.ErrNotFound
	List(topology.Kind, string) ([]topology.Stored, error) // those that hang on a parent, or on any
}

// portAddress parses the address of a workload's port, or of an outer port.
func portAddress(s string) (netip.Addr, error) {
	ip, err := topology.ParseAddr(strings.TrimSpace(s))
	if err != nil {
		return ip, err
	}
	return ip, checkUnicast(ip)
}

func checkUnicast(ip netip.Addr) error {
	if ip == topology.OuterIP {
		return nil
	}
	if !topology.IsUnicast(ip) {
		return fmt.Errorf("invalid IP %s: a port needs a unicast address", ip)
	}
	return nil
}

// routerNetwork parses a router port's address with the prefix length of the
// switch that it leads to.
func routerNetwork(s string) (netip.Prefix, error) {
	p, err := topology.ParsePrefix(strings.TrimSpace(s))
	if err != nil {
		return p, err
	}
	return p, checkRouterNetwork(p)
}

// checkRouterNetwork refuses what cannot be a router port's address and network.
func checkRouterNetwork(p netip.Prefix) error {
	ip := p.Addr()
	switch {
	case p.Bits() < widest:
		return fmt.Errorf("invalid CIDR %s: a switch cannot be wider than /%d, as the low 16 bits of an address are its port's id and two ports would share one", p, widest)
	case p.Bits() < 31 && ip == p.Masked().Addr():
		return fmt.Errorf("invalid CIDR %s: %s is the address of the network, want that of a host in it", p, ip)
	case p.Bits() < 31 && !p.Contains(ip.Next()):
		return fmt.Errorf("invalid CIDR %s: %s is the broadcast address of the network, want that of a host in it", p, ip)
	case ip == topology.OuterIP:
		return fmt.Errorf("invalid CIDR %s: %s stands for the physical network", p, ip)
	}
	return checkUnicast(ip)
}

// portMAC parses the MAC of a port with the address ip. If s is empty, the
// port gets the MAC that belongs to its address.
func portMAC(s string, ip netip.Addr) (topology.MAC, error) {
	if s == "" {
		if ip == topology.OuterIP {
			return topology.OuterMAC, nil
		}
		return topology.MACFromIP(ip), nil
	}
	mac, err := topology.ParseMAC(strings.TrimSpace(s))
	if err != nil {
		return mac, err
	}
	return mac, checkPortMAC(mac, ip)
}

// checkPortMAC refuses what cannot be the MAC of a port with the address ip.
func checkPortMAC(mac topology.MAC, ip netip.Addr) error {
	outer := ip == topology.OuterIP
	switch {
	case outer && mac != topology.OuterMAC:
		return fmt.Errorf("invalid MAC %s: a port with the address %s has %s", mac, ip, topology.OuterMAC)
	case mac == topology.MAC{}:
		return fmt.Errorf("invalid MAC %s: it stands for no port", mac)
	case !outer && mac.IsMulticast():
		return fmt.Errorf("invalid MAC %s: a port cannot have a multicast address", mac)
	}
	return nil
}
