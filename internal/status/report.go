package status

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"tuplenet/internal/store"
)

// Command is the property cmd of the command that asks an agent for a Report,
// and the property cmd_type of its answer.
const Command = "status"

// The other properties: of the command, that all details are wanted; of the
// answer, the report.
const (
	detailProperty = "detail"
	reportProperty = "report"
)

// Question returns the command that asks for a Report, with its Detail or not.
func Question(detail bool) store.Properties {
	p := store.Properties{"cmd": Command}
	if detail {
		p[detailProperty] = "true"
	}
	return p
}

// WantsDetail reports whether a Question wants the Detail.
func WantsDetail(p store.Properties) bool { return p[detailProperty] == "true" }

// Report is what an agent says of its node. Times are the node's own.
type Report struct {
	Version string    `json:"version"`         // of the agent
	Time    time.Time `json:"time"`            // of the report
	Started time.Time `json:"started"`         // when the agent was
	Synced  time.Time `json:"synced,omitzero"` // when the bridge was last compared with all flows; zero if never
	InSync  bool      `json:"in_sync"`         // the bridge holds the flows that it should

	User     string `json:"user,omitempty"` // that etcd is asked as, see store.User; empty if there is none, or the agent is of a version that does not tell
	IP       string `json:"ip"`             // tunnel address
	MTU      int    `json:"mtu"`            // for workloads, in bytes; 0 if unknown
	Revision int64  `json:"revision"`       // of etcd, that the agent has seen

	OnDemand bool `json:"on_demand"` // flows to other chassis are made when traffic goes there
	Edge     bool `json:"edge"`      // a router is pinned to the chassis

	Flows   int  `json:"flows"`
	Refused int  `json:"refused,omitempty"` // of them, that Open vSwitch has refused
	Held    *int `json:"held,omitempty"`    // that the bridge counts; nil if they could not be counted, or were changed meanwhile

	Tunnels  int `json:"tunnels"`  // that Open vSwitch has
	Wanted   int `json:"wanted"`   // tunnels that it should have
	Watched  int `json:"watched"`  // tunnels that BFD watches
	Alive    int `json:"alive"`    // and finds alive
	WaysOut  int `json:"ways_out"` // outer ports here
	Ports    int `json:"ports"`    // switch ports bound here
	Problems int `json:"problems"` // objects that cannot work as they are stored

	Refusing []string `json:"refusing,omitempty"` // chassis that say by BFD that they live and cannot forward
	Dark     []string `json:"dark,omitempty"`     // ways out without a link: outer port (bridge, its NICs)
	Strays   []Stray  `json:"strays,omitempty"`   // interfaces whose ports are not here

	Detail *Detail `json:"detail,omitempty"`
}

// Amiss reports whether the bridge holds fewer flows than the agent has given it,
// or more.
func (r *Report) Amiss() bool {
	return r.Held != nil && (*r.Held > r.Flows || *r.Held < r.Flows-r.Refused)
}

// Stray is an interface that names a switch port, which is not bound to its host.
type Stray struct {
	Interface string `json:"interface"`
	Port      string `json:"port"`
	Chassis   string `json:"chassis,omitempty"` // that the port is bound to; empty if no switch has such a port
	Parent    string `json:"parent,omitempty"`  // of the port, if it is a child
	Owner     string `json:"owner,omitempty"`   // the container that the interface was made for, see docs/compat.md; empty if somebody else made it
}

// String says what is wrong with it.
func (s Stray) String() string {
	if s.Parent != "" {
		return fmt.Sprintf("interface %s has the iface-id %s, and that is a child of port %s, through whose interface its packets pass", s.Interface, s.Port, s.Parent)
	}
	if s.Chassis == "" {
		return fmt.Sprintf("interface %s has the iface-id %s, and no switch has such a port", s.Interface, s.Port)
	}
	return fmt.Sprintf("interface %s is here, and its port %s is bound to %s", s.Interface, s.Port, s.Chassis)
}

// Remedy says what to do about it. The agent takes a port for one that has moved
// away until its interface comes anew.
func (s Stray) Remedy() string {
	if s.Owner != "" {
		return fmt.Sprintf("delete the pod or container that the interface was made for, %s, and start it again", s.Owner)
	}
	if s.Parent != "" {
		return fmt.Sprintf("ovs-vsctl remove Interface %s external_ids iface-id", s.Interface)
	}
	if s.Chassis == "" {
		return fmt.Sprintf("name the right one: ovs-vsctl set Interface %s external_ids:iface-id=PORT, or make it: tpctl lsp add", s.Interface)
	}
	return fmt.Sprintf("if the workload is here, start the agent anew, or plug it in anew: ovs-vsctl remove Interface %[1]s external_ids iface-id; sleep 1; "+
		"ovs-vsctl set Interface %[1]s external_ids:iface-id=%[2]s; if it has moved, take out what is left: ovs-vsctl del-port %[1]s", s.Interface, s.Port)
}

// maxListed bounds the lists of a Detail, so that it fits into a value of etcd.
const maxListed = 1000

// Detail is what a Report holds if it is asked for. A list has at most a
// thousand members; the counts tell how many there are.
type Detail struct {
	OpenVSwitch string `json:"open_vswitch,omitempty"` // version; empty if it does not answer
	Datapath    string `json:"datapath,omitempty"`     // type: system (the kernel's) or netdev (userspace)
	Dropped     uint64 `json:"dropped"`                // packets that no flow could deliver

	Settings Settings `json:"settings"`

	Tables        []Table     `json:"tables"`
	TunnelList    []Tunnel    `json:"tunnel_list"`
	Interfaces    int         `json:"interfaces"` // that name a switch port, and children of their ports
	PortList      []Port      `json:"port_list"`
	Neighbours    int         `json:"neighbours"`
	NeighbourList []Neighbour `json:"neighbour_list"`
	Demands       int         `json:"demands"`
	DemandList    []string    `json:"demand_list"` // switch/port
	ProblemList   []string    `json:"problem_list"`
}

// Settings are those of the agent.
type Settings struct {
	OnDemand bool   `json:"on_demand"`
	Redirect bool   `json:"redirect"`
	Untunnel bool   `json:"untunnel"`
	Hash     string `json:"hash"`            // what chooses among equal routes
	MinRx    int    `json:"bfd_min_rx"`      // ms
	MinTx    int    `json:"bfd_min_tx"`      // ms
	Idle     int    `json:"idle"`            // seconds after which unused flows go
	IPFIX    string `json:"ipfix,omitempty"` // what Open vSwitch is to tell of packets, and to whom; empty: nothing
}

// Table is how many flows a table holds.
type Table struct {
	Number int    `json:"table"`
	Name   string `json:"name"`
	Flows  int    `json:"flows"`
}

// Tunnel is one to another chassis.
type Tunnel struct {
	Chassis string `json:"chassis"`
	IP      string `json:"ip"` // empty for the one that takes what comes from all
	Name    string `json:"name"`
	OFPort  uint32 `json:"ofport"`
	BFD     string `json:"bfd"` // "up", "down", "cannot forward" (the other end says so), or empty if it is not watched
}

// Port is an interface that names a switch port, or a child of one whose packets
// pass through its interface.
type Port struct {
	Name      string `json:"port"`
	Switch    string `json:"switch,omitempty"` // empty if no switch has the port
	IP        string `json:"ip,omitempty"`
	Interface string `json:"interface"`
	OFPort    uint32 `json:"ofport"`
	Tag       uint16 `json:"tag,omitempty"`   // VLAN id there, of a child
	State     string `json:"state"`           // bound, claiming, yielded (it is on another chassis) or "no such port"
	Outer     bool   `json:"outer,omitempty"` // leads to the physical network
	Dark      bool   `json:"dark,omitempty"`  // and no device there has a link
}

// Neighbour is a machine of the physical network whose MAC the agent knows.
type Neighbour struct {
	Switch string `json:"switch"`
	IP     string `json:"ip"`
	MAC    string `json:"mac"`
}

// Answer returns the report as the answer of a chassis to a command.
func (r Report) Answer(command uint16, chassis string) (store.Answer, error) {
	r.Strays = first(r.Strays)
	if r.Detail != nil {
		d := *r.Detail
		d.TunnelList = first(d.TunnelList)
		d.PortList = first(d.PortList)
		d.NeighbourList = first(d.NeighbourList)
		d.DemandList = first(d.DemandList)
		d.ProblemList = first(d.ProblemList)
		r.Detail = &d
	}
	text, err := json.Marshal(r)
	if err != nil {
		return store.Answer{}, fmt.Errorf("report of chassis %s: %w", chassis, err)
	}
	// Base64, as properties hold neither "," nor "=".
	return store.Answer{Command: command, Chassis: chassis, Properties: store.Properties{
		"cmd_type": Command, reportProperty: base64.RawURLEncoding.EncodeToString(text)}}, nil
}

func first[E any](list []E) []E { return list[:min(len(list), maxListed)] }

// ReportOf returns the report that an answer holds.
func ReportOf(a store.Answer) (Report, error) {
	var r Report
	text, err := base64.RawURLEncoding.DecodeString(a.Properties[reportProperty])
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return Report{}, fmt.Errorf("report of chassis %s: %w", a.Chassis, err)
	}
	return r, nil
}
