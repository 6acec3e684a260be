package lab

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"

	"tuplenet/internal/topology"
)

// Spec is what a lab consists of, as a FILE of `lab up` describes it.
type Spec struct {
	// Network is the physical network between the hosts. Its first address
	// is the physical switch's own, where etcd listens.
	Network   string     `yaml:"network,omitempty"`
	Hosts     []Host     `yaml:"hosts"`
	Switches  []Switch   `yaml:"switches,omitempty"`
	Routers   []Router   `yaml:"routers,omitempty"`
	Workloads []Workload `yaml:"workloads,omitempty"`
}

// Host is a machine: a namespace with an Open vSwitch, whose system-id is the
// host's name, and an agent.
type Host struct {
	Name    string            `yaml:"name"`
	Kind    string            `yaml:"kind,omitempty"`    // node (the default) or gateway
	Address string            `yaml:"address,omitempty"` // tunnel address, in Network; default: a free one from the tenth on
	Env     map[string]string `yaml:"env,omitempty"`     // further environment of the agent, such as ONDEMAND: "0"
}

// The kinds of hosts.
const (
	KindNode    = "node"
	KindGateway = "gateway"
)

// Switch is a logical switch with its ports.
type Switch struct {
	Name  string `yaml:"name"`
	Ports []Port `yaml:"ports,omitempty"`
}

// Port is a port of a logical switch.
type Port struct {
	Name    string `yaml:"name"`
	Address string `yaml:"address"`       // IPv4
	MAC     string `yaml:"mac,omitempty"` // default: made from the address
}

// Router is a logical router, linked to switches.
type Router struct {
	Name    string `yaml:"name"`
	Chassis string `yaml:"chassis,omitempty"` // host that it is pinned to
	Links   []Link `yaml:"links,omitempty"`
}

// Link joins a router to a switch.
type Link struct {
	Switch  string `yaml:"switch"`
	Address string `yaml:"address"` // the router's, with the prefix length: 10.20.1.1/24
}

// Workload is a namespace that is plugged into a switch port on a host. It is
// known by the port's name.
type Workload struct {
	Port    string `yaml:"port" json:"port"`
	Host    string `yaml:"host" json:"host"`
	Address string `yaml:"-" json:"address"` // the port's, as it was plugged in
}

// physical is the name under which the physical switch is addressed, next to
// those of hosts and workloads.
const physical = "phy"

const defaultNetwork = "192.168.1.0/24"

// firstHost is the offset of the first host's address in the network.
const firstHost = 10

// The first file of the tutorial, in the words of Spec.
const twoHosts = `
hosts:
- {name: host-alice, address: 192.168.1.10}
- {name: host-bob, address: 192.168.1.11}
switches:
- name: LS-A
  ports:
  - {name: lsp-alice, address: 10.20.1.10, mac: "f2:01:00:00:00:01"}
- name: LS-B
  ports:
  - {name: lsp-bob, address: 10.20.2.10, mac: "f2:01:00:00:00:02"}
routers:
- name: LR-central
  links:
  - {switch: LS-A, address: 10.20.1.1/24}
  - {switch: LS-B, address: 10.20.2.1/24}
workloads:
- {port: lsp-alice, host: host-alice}
- {port: lsp-bob, host: host-bob}
`

// TwoHosts returns the lab of the tutorial's first section: Alice and Bob, a
// switch each, and a router between.
func TwoHosts() Spec {
	s, err := Parse([]byte(twoHosts))
	if err != nil {
		panic(err) // a constant of ours
	}
	return s
}

// maxGenerated bounds Generate; a machine is at its end long before.
const maxGenerated = 200

// Generate returns a lab of n hosts in the pattern of TwoHosts: a workload
// each, alternately on LS-A and LS-B.
func Generate(n int) (Spec, error) {
	if n < 1 || n > maxGenerated {
		return Spec{}, fmt.Errorf("a lab has 1 to %d hosts, not %d", maxGenerated, n)
	}
	s := TwoHosts()
	s.Hosts, s.Workloads = nil, nil
	for i := range s.Switches {
		s.Switches[i].Ports = nil
	}
	for i := range n {
		host, port := fmt.Sprintf("host-%d", i+1), fmt.Sprintf("lsp-%d", i+1)
		s.Hosts = append(s.Hosts, Host{Name: host})
		sw := &s.Switches[i%2]
		sw.Ports = append(sw.Ports, Port{Name: port, Address: fmt.Sprintf("10.20.%d.%d", i%2+1, firstHost+i/2)})
		s.Workloads = append(s.Workloads, Workload{Port: port, Host: host})
	}
	return s, s.complete()
}

// Parse reads a FILE and checks it. What it leaves out is filled in, so that
// the result says all.
func Parse(data []byte) (Spec, error) {
	var s Spec
	if err := checkKeys(data, &s); err != nil {
		return Spec{}, err
	}
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&s); err != nil {
		return Spec{}, fmt.Errorf("not a lab file: %w", err)
	}
	return s, s.complete()
}

// hostName bounds names of hosts: they name an interface (15 bytes) and a
// directory with sockets in it.
var hostName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$`)

// portName bounds names of ports in the lab: they name a namespace.
var portName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$`)

// complete fills in what is left out and checks what the lab itself relies on.
// The logical topology is judged by tpctl when it is made.
func (s *Spec) complete() error {
	if s.Network == "" {
		s.Network = defaultNetwork
	}
	network, err := topology.ParsePrefix(s.Network)
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	network = network.Masked()
	s.Network = network.String()
	if len(s.Hosts) == 0 {
		return fmt.Errorf("a lab needs at least one host, under the key hosts")
	}
	s.Hosts = slices.Clone(s.Hosts) // the caller's stay as they are
	taken := map[netip.Addr]string{network.Addr(): "the network itself", switchAddr(network): "etcd"}
	names := map[string]string{physical: "the physical switch"}
	for i := range s.Hosts {
		if err := s.Hosts[i].check(network, names, taken); err != nil {
			return err
		}
	}
	next := network.Addr()
	for range firstHost {
		next = next.Next()
	}
	for i := range s.Hosts {
		if h := &s.Hosts[i]; h.Address == "" {
			for taken[next] != "" {
				next = next.Next()
			}
			if !network.Contains(next) {
				return fmt.Errorf("host %s: no free address in network %s", h.Name, s.Network)
			}
			h.Address, taken[next] = next.String(), h.Name
		}
	}
	return s.checkWorkloads(names)
}

func (h *Host) check(network netip.Prefix, names map[string]string, taken map[netip.Addr]string) error {
	if !hostName.MatchString(h.Name) {
		return fmt.Errorf("invalid host name %q: 1 to 15 letters, digits, '-', '_' and '.', the first a letter or digit", h.Name)
	}
	if other := names[h.Name]; other != "" {
		return fmt.Errorf("host %s: the name already is that of %s", h.Name, other)
	}
	names[h.Name] = "another host"
	switch h.Kind {
	case "":
		h.Kind = KindNode
	case KindNode, KindGateway:
	default:
		return fmt.Errorf("host %s: invalid kind %q, want %s or %s", h.Name, h.Kind, KindNode, KindGateway)
	}
	if h.Address == "" {
		return nil
	}
	addr, err := topology.ParseAddr(h.Address)
	if err != nil {
		return fmt.Errorf("host %s: address: %w", h.Name, err)
	}
	if !network.Contains(addr) {
		return fmt.Errorf("host %s: address %s is not in network %s", h.Name, addr, network)
	}
	if other := taken[addr]; other != "" {
		return fmt.Errorf("host %s: address %s already is that of %s", h.Name, addr, other)
	}
	taken[addr] = h.Name
	return nil
}

func (s *Spec) checkWorkloads(names map[string]string) error {
	ports := map[string]bool{}
	for _, sw := range s.Switches {
		for _, p := range sw.Ports {
			ports[p.Name] = true
		}
	}
	for _, w := range s.Workloads {
		if !ports[w.Port] {
			return fmt.Errorf("workload %q: no switch has a port of that name%s", w.Port, nearest(w.Port, slices.Sorted(maps.Keys(ports))))
		}
		if err := s.checkWorkload(w); err != nil {
			return err
		}
		if other := names[w.Port]; other != "" {
			return fmt.Errorf("workload %s: the name already is that of %s", w.Port, other)
		}
		names[w.Port] = "another workload"
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
	return nil
}

// host finds a host by its name.
func (s *Spec) host(name string) (Host, error) {
	var names []string
	for _, h := range s.Hosts {
		if h.Name == name {
			return h, nil
		}
		names = append(names, h.Name)
	}
	return Host{}, fmt.Errorf("no host is named %q%s", name, nearest(name, names))
}

// network returns the physical network, which complete has checked.
func (s *Spec) network() netip.Prefix { return netip.MustParsePrefix(s.Network) }

// switchAddr returns the physical switch's own address.
func switchAddr(network netip.Prefix) netip.Addr { return network.Masked().Addr().Next() }
