package lab

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"

	"go.yaml.in/yaml/v3"

	"tuplenet/internal/suggest"
)

// Spec is what a lab consists of, as a FILE of `lab up` describes it.
type Spec struct {
	// Network is the physical network between the hosts. Its first address
	// is the physical switch's own, where etcd listens.
	Network   string     `yaml:"network,omitempty"`
	Etcd      int        `yaml:"etcd,omitempty"` // members of etcd: 1 (the default), 3 or 5
	Hosts     []Host     `yaml:"hosts"`
	Outside   []Outside  `yaml:"outside,omitempty"`
	Routes    []Route    `yaml:"routes,omitempty"`
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
	NICs    int               `yaml:"nics,omitempty"`    // 1 (the default), or 2: eth1 has no address and is for the physical network
	MTU     int               `yaml:"mtu,omitempty"`     // of its cables, in bytes; default 1600
	Env     map[string]string `yaml:"env,omitempty"`     // further environment of the agent, such as ONDEMAND: "0"
}

// Outside is a machine that runs no TupleNet: in Network, or in a network of
// its own behind the physical switch, which routes then. The first address of
// such a network is the physical switch's.
type Outside struct {
	Name    string `yaml:"name"`
	Address string `yaml:"address"`       // with the prefix length; default: that of Network
	MTU     int    `yaml:"mtu,omitempty"` // of its cable, in bytes; default 1500; a network has the smallest of its cables
}

// Route is a static route of the physical switch.
type Route struct {
	To  string `yaml:"to"`  // network
	Via string `yaml:"via"` // address in one of the physical networks; it need not answer yet
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
	Outer *Outer `yaml:"outer,omitempty"`
}

// Outer is a switch's port to the physical network: a patch port to a bridge of
// one host, which the lab makes.
type Outer struct {
	Port   string `yaml:"port"`
	Host   string `yaml:"host"`
	Bridge string `yaml:"bridge,omitempty"` // br-phy has eth0, any other one eth1; default: br0 where there is an eth1
}

// Port is a port of a logical switch.
type Port struct {
	Name    string `yaml:"name"`
	Address string `yaml:"address"`       // IPv4
	MAC     string `yaml:"mac,omitempty"` // default: made from the address
}

// Router is a logical router, linked to switches.
type Router struct {
	Name    string        `yaml:"name"`
	Chassis string        `yaml:"chassis,omitempty"` // host that it is pinned to
	Links   []Link        `yaml:"links,omitempty"`
	Routes  []StaticRoute `yaml:"routes,omitempty"`
	NAT     []NAT         `yaml:"nat,omitempty"`
}

// Link joins a router to a switch.
type Link struct {
	Switch  string `yaml:"switch"`
	Address string `yaml:"address"` // the router's, with the prefix length: 10.20.1.1/24
}

// StaticRoute is a static route of a logical router.
type StaticRoute struct {
	Name string `yaml:"name"`
	To   string `yaml:"to"`   // network
	Via  string `yaml:"via"`  // next hop
	Port string `yaml:"port"` // of the router, named ROUTER_to_SWITCH by a link
}

// NAT is a translation by a logical router.
type NAT struct {
	Name    string `yaml:"name"`
	Net     string `yaml:"net"`     // internal
	Type    string `yaml:"type"`    // snat or dnat
	Address string `yaml:"address"` // external
}

// Workload is a namespace that is plugged into a switch port on a host. It is
// known by the port's name.
type Workload struct {
	Port    string `yaml:"port" json:"port"`
	Host    string `yaml:"host" json:"host"`
	MTU     int    `yaml:"mtu,omitempty" json:"mtu"` // in bytes; default: that of the host's cable less 100, for Geneve
	Address string `yaml:"-" json:"address"`         // the port's, as it was plugged in
}

// physical is the name under which the physical switch is addressed, next to
// those of hosts and workloads.
const physical = "phy"

const defaultNetwork = "192.168.1.0/24"

// firstHost is the offset of the first host's address in the network.
const firstHost = 10

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

// host finds a host by its name.
func (s *Spec) host(name string) (Host, error) {
	var names []string
	for _, h := range s.Hosts {
		if h.Name == name {
			return h, nil
		}
		names = append(names, h.Name)
	}
	return Host{}, fmt.Errorf("no host is named %q%s", name, suggest.Among(name, names))
}

// outside finds an outside machine by its name.
func (s *Spec) outside(name string) (Outside, bool) {
	i := slices.IndexFunc(s.Outside, func(o Outside) bool { return o.Name == name })
	if i < 0 {
		return Outside{}, false
	}
	return s.Outside[i], true
}

// bridges returns the bridges of a host that outer ports lead to.
func (s *Spec) bridges(host string) []string {
	var names []string
	for _, sw := range s.Switches {
		if sw.Outer != nil && sw.Outer.Host == host && !slices.Contains(names, sw.Outer.Bridge) {
			names = append(names, sw.Outer.Bridge)
		}
	}
	return names
}

// network returns the physical network, which complete has checked.
func (s *Spec) network() netip.Prefix { return netip.MustParsePrefix(s.Network) }

// networks returns all physical networks, that between the hosts first.
func (s *Spec) networks() []netip.Prefix {
	all := []netip.Prefix{s.network()}
	for _, o := range s.Outside {
		if n := o.network(); !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	return all
}

// network returns the physical network that the machine is in.
func (o *Outside) network() netip.Prefix { return netip.MustParsePrefix(o.Address).Masked() }

// switchAddr returns the physical switch's own address.
func switchAddr(network netip.Prefix) netip.Addr { return network.Masked().Addr().Next() }
