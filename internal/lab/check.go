package lab

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"tuplenet/internal/suggest"
	"tuplenet/internal/topology"
)

// machineName bounds names of hosts and outside machines: they name an
// interface (15 bytes), and a directory with sockets in it.
var machineName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$`)

// switchDevice matches what the physical switch has devices of itself for.
var switchDevice = regexp.MustCompile(`^(lo|br[0-9]+)$`)

// portName bounds names of ports in the lab: they name a namespace.
var portName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$`)

// MTUs in bytes: what IPv4 guarantees, and what a jumbo frame carries.
const minMTU, maxMTU = 576, 9000

// The MTUs of cables, in bytes. Between hosts there is room for Geneve around a
// workload's 1500 bytes.
const hostMTU, outsideMTU = 1600, 1500

// tunnelOverhead is by how many bytes a workload's MTU is smaller than that of
// its host's cable: more than Geneve needs, and the round number that people know.
const tunnelOverhead = 100

// checker is what complete knows of the part of a Spec that it has checked.
type checker struct {
	networks []netip.Prefix // physical, the one between the hosts first
	names    map[string]string
	addrs    map[netip.Addr]string
}

// complete fills in what is left out and checks what the lab itself relies on.
// The logical topology is judged by tpctl when it is made.
func (s *Spec) complete() error {
	s.Network = cmp.Or(s.Network, defaultNetwork)
	network, err := topology.ParsePrefix(s.Network)
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	network = network.Masked()
	s.Network = network.String()
	if s.Etcd = cmp.Or(s.Etcd, 1); s.Etcd != 1 && s.Etcd != 3 && s.Etcd != 5 {
		return fmt.Errorf("invalid number of etcd members %d, want 1, 3 or 5", s.Etcd)
	}
	if len(s.Hosts) == 0 {
		return fmt.Errorf("a lab needs at least one host, under the key hosts")
	}
	// The caller's stay as they are.
	s.Hosts, s.Outside, s.Routes, s.Switches = slices.Clone(s.Hosts), slices.Clone(s.Outside), slices.Clone(s.Routes), slices.Clone(s.Switches)
	c := &checker{
		networks: []netip.Prefix{network},
		names:    map[string]string{physical: "the physical switch", string(Etcd): "etcd"},
		addrs:    map[netip.Addr]string{network.Addr(): "the network itself", switchAddr(network): "etcd"},
	}
	for i := range s.Hosts {
		if err := s.Hosts[i].check(c); err != nil {
			return err
		}
	}
	for i := range s.Outside {
		if err := s.Outside[i].check(c); err != nil {
			return err
		}
	}
	if err := s.takeOuter(c); err != nil {
		return err
	}
	if err := s.addressHosts(c); err != nil {
		return err
	}
	if err := s.checkRoutes(c); err != nil {
		return err
	}
	if err := s.checkPlaces(); err != nil {
		return err
	}
	return s.checkWorkloads(c)
}

// takeOuter takes the addresses that logical routers have in the physical
// network, which several of them may share. Which are wrong is for tpctl to say.
func (s *Spec) takeOuter(c *checker) error {
	const owner = "a logical router"
	leadsOut := func(k Link) bool {
		return slices.ContainsFunc(s.Switches, func(sw Switch) bool { return sw.Outer != nil && sw.Name == k.Switch })
	}
	for _, r := range s.Routers {
		var addresses []string
		for _, k := range r.Links {
			if leadsOut(k) {
				address, _, _ := strings.Cut(k.Address, "/")
				addresses = append(addresses, address)
			}
		}
		if len(addresses) == 0 {
			continue
		}
		for _, n := range r.NAT {
			addresses = append(addresses, n.Address)
		}
		for _, a := range addresses {
			addr, err := topology.ParseAddr(a)
			if err != nil {
				continue
			}
			if other := c.addrs[addr]; other != "" && other != owner {
				return fmt.Errorf("router %s: address %s already is that of %s", r.Name, addr, other)
			}
			c.addrs[addr] = owner
		}
	}
	return nil
}

// addressHosts gives an address to the hosts that have none.
func (s *Spec) addressHosts(c *checker) error {
	network := c.networks[0]
	next := network.Addr()
	for range firstHost {
		next = next.Next()
	}
	for i := range s.Hosts {
		h := &s.Hosts[i]
		if h.Address != "" {
			continue
		}
		for c.addrs[next] != "" {
			next = next.Next()
		}
		if !network.Contains(next) {
			return fmt.Errorf("host %s: no free address in network %s", h.Name, s.Network)
		}
		h.Address, c.addrs[next] = next.String(), h.Name
	}
	return nil
}

// name takes a machine's name, which names its cable's end at the physical
// switch, too.
func (c *checker) name(kind, name string) error {
	if !machineName.MatchString(name) {
		return fmt.Errorf("invalid %s name %q: 1 to 15 letters, digits, '-', '_' and '.', the first a letter or digit", kind, name)
	}
	if switchDevice.MatchString(name) {
		return fmt.Errorf("%s %s: the name is that of a device of the physical switch", kind, name)
	}
	if other := c.names[name]; other != "" {
		return fmt.Errorf("%s %s: the name already is that of %s", kind, name, other)
	}
	c.names[name] = "another " + kind
	return nil
}

// addr takes an address for a machine.
func (c *checker) addr(kind, name string, addr netip.Addr) error {
	if other := c.addrs[addr]; other != "" {
		return fmt.Errorf("%s %s: address %s already is that of %s", kind, name, addr, other)
	}
	c.addrs[addr] = name
	return nil
}

func checkMTU(kind, name string, mtu int) error {
	if mtu < minMTU || mtu > maxMTU {
		return fmt.Errorf("%s %s: invalid mtu %d, want %d to %d bytes", kind, name, mtu, minMTU, maxMTU)
	}
	return nil
}

func (h *Host) check(c *checker) error {
	if err := c.name("host", h.Name); err != nil {
		return err
	}
	h.Kind, h.NICs, h.MTU = cmp.Or(h.Kind, KindNode), cmp.Or(h.NICs, 1), cmp.Or(h.MTU, hostMTU)
	if h.Kind != KindNode && h.Kind != KindGateway {
		return fmt.Errorf("host %s: invalid kind %q, want %s or %s", h.Name, h.Kind, KindNode, KindGateway)
	}
	switch h.NICs {
	case 1:
	case 2:
		second := cableEnd(h.Name, "eth1")
		if !machineName.MatchString(second) {
			return fmt.Errorf("host %s: the name of a host with two NICs has at most 10 characters", h.Name)
		}
		if other := c.names[second]; other != "" {
			return fmt.Errorf("host %s: its second cable is called %s, and that is the name of %s", h.Name, second, other)
		}
		c.names[second] = "the second cable of host " + h.Name
	default:
		return fmt.Errorf("host %s: invalid number of nics %d, want 1 or 2", h.Name, h.NICs)
	}
	if err := checkMTU("host", h.Name, h.MTU); err != nil {
		return err
	}
	if h.Address == "" {
		return nil
	}
	addr, err := topology.ParseAddr(h.Address)
	if err != nil {
		return fmt.Errorf("host %s: address: %w", h.Name, err)
	}
	if !c.networks[0].Contains(addr) {
		return fmt.Errorf("host %s: address %s is not in network %s", h.Name, addr, c.networks[0])
	}
	return c.addr("host", h.Name, addr)
}

// check knows the network of a machine by its address, and opens a new one if
// there is none.
func (o *Outside) check(c *checker) error {
	const kind = "outside machine"
	if err := c.name(kind, o.Name); err != nil {
		return err
	}
	o.MTU = cmp.Or(o.MTU, outsideMTU)
	if err := checkMTU(kind, o.Name, o.MTU); err != nil {
		return err
	}
	if !strings.Contains(o.Address, "/") {
		o.Address += fmt.Sprintf("/%d", c.networks[0].Bits())
	}
	address, err := topology.ParsePrefix(o.Address)
	if err != nil {
		return fmt.Errorf("%s %s: address: %w", kind, o.Name, err)
	}
	o.Address = address.String()
	network := address.Masked()
	if !slices.Contains(c.networks, network) {
		if i := slices.IndexFunc(c.networks, network.Overlaps); i >= 0 {
			return fmt.Errorf("%s %s: network %s overlaps the physical network %s: give its address that prefix length, or another address", kind, o.Name, network, c.networks[i])
		}
		if network.Bits() > 30 {
			return fmt.Errorf("%s %s: network %s has no room for a machine and its router", kind, o.Name, network)
		}
		c.networks = append(c.networks, network)
		c.addrs[network.Addr()], c.addrs[switchAddr(network)] = "the network itself", "the physical switch"
	}
	return c.addr(kind, o.Name, address.Addr())
}

// checkRoutes checks the routes of the physical switch.
func (s *Spec) checkRoutes(c *checker) error {
	seen := map[string]bool{}
	for i := range s.Routes {
		r := &s.Routes[i]
		to, err := topology.ParsePrefix(r.To)
		if err != nil {
			return fmt.Errorf("route to %q: %w", r.To, err)
		}
		r.To = to.Masked().String()
		if seen[r.To] {
			return fmt.Errorf("route to %s: there is another one to that network", r.To)
		}
		seen[r.To] = true
		via, err := topology.ParseAddr(r.Via)
		if err != nil {
			return fmt.Errorf("route to %s: via: %w", r.To, err)
		}
		at := slices.IndexFunc(c.networks, func(n netip.Prefix) bool { return n.Contains(via) })
		if at < 0 {
			return fmt.Errorf("route to %s: via %s is in no physical network", r.To, via)
		}
		if via == switchAddr(c.networks[at]) {
			return fmt.Errorf("route to %s: via %s is the physical switch itself", r.To, via)
		}
	}
	return nil
}

// checkPlaces checks what of the logical topology is tied to a host. Tpctl
// cannot: when it is called no chassis has registered yet.
func (s *Spec) checkPlaces() error {
	for _, r := range s.Routers {
		if r.Chassis == "" {
			continue
		}
		if _, err := s.host(r.Chassis); err != nil {
			return fmt.Errorf("router %s: chassis: %w", r.Name, err)
		}
	}
	seconds := map[string]string{} // what eth1 of a host is in
	for i := range s.Switches {
		sw := &s.Switches[i]
		if sw.Outer == nil {
			continue
		}
		outer := *sw.Outer
		sw.Outer = &outer
		host, err := s.host(outer.Host)
		if err != nil {
			return fmt.Errorf("outer port of switch %s: %w", sw.Name, err)
		}
		if outer.Bridge == "" {
			outer.Bridge = bridgePhy
			if host.NICs == 2 {
				outer.Bridge = "br0"
			}
		}
		if outer.Bridge == bridgePhy {
			continue
		}
		if !machineName.MatchString(outer.Bridge) || slices.Contains(hostDevices, outer.Bridge) {
			return fmt.Errorf("outer port of switch %s: invalid name of a bridge %q", sw.Name, outer.Bridge)
		}
		if host.NICs < 2 {
			return fmt.Errorf("outer port of switch %s: bridge %s would have no NIC: give host %s `nics: 2`, or take %s", sw.Name, outer.Bridge, host.Name, bridgePhy)
		}
		if other := seconds[host.Name]; other != "" && other != outer.Bridge {
			return fmt.Errorf("outer port of switch %s: eth1 of host %s is in bridge %s already", sw.Name, host.Name, other)
		}
		seconds[host.Name] = outer.Bridge
	}
	return nil
}

func (s *Spec) checkWorkloads(c *checker) error {
	ports := map[string]bool{}
	for _, sw := range s.Switches {
		for _, p := range sw.Ports {
			ports[p.Name] = true
		}
	}
	for _, w := range s.Workloads {
		if !ports[w.Port] {
			return fmt.Errorf("workload %q: no switch has a port of that name%s", w.Port, suggest.Among(w.Port, slices.Sorted(maps.Keys(ports))))
		}
		if err := s.checkWorkload(w); err != nil {
			return err
		}
		if other := c.names[w.Port]; other != "" {
			return fmt.Errorf("workload %s: the name already is that of %s", w.Port, other)
		}
		c.names[w.Port] = "another workload"
	}
	return nil
}

func (s *Spec) checkWorkload(w Workload) error {
	if !portName.MatchString(w.Port) {
		return fmt.Errorf("workload %q: the name of its port cannot name a namespace", w.Port)
	}
	if _, err := s.host(w.Host); err != nil {
		return fmt.Errorf("workload %s: %w", w.Port, err)
	}
	if w.MTU != 0 {
		return checkMTU("workload", w.Port, w.MTU)
	}
	return nil
}
