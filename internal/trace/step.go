package trace

import (
	"net/netip"

	"tuplenet/flows"
	"tuplenet/internal/topology"
)

// Step is a table that the packet was looked up in, and the flow that it took
// there.
type Step struct {
	Table flows.Table `json:"t"`
	// The switch or router that the packet was in when it came to the table, and
	// the ids of its ports by which it came in and will leave, as far as known.
	Datapath uint32 `json:"d,omitempty"`
	From     uint16 `json:"f,omitempty"`
	To       uint16 `json:"o,omitempty"`
	// The flow: its priority, the rule and the entity that made it. Without a
	// rule, no flow of the agent's matches.
	Priority uint16 `json:"p,omitempty"`
	Rule     string `json:"r,omitempty"`
	Object   string `json:"k,omitempty"` // "switch port LS-A/lsp-bob"; empty: the flow is for all packets alike
	// Header is what the packet looked like when it came to the table; nil: as in
	// the step before.
	Header *Header `json:"h,omitempty"`
	// Astray says that the packet did not take this flow, though it is the one
	// that the agent has made for it: Open vSwitch has another.
	Astray bool `json:"x,omitempty"`
	// Assumed is what a dry trace takes for granted here: "192.168.1.1 answers ARP".
	Assumed string `json:"u,omitempty"`
	// Ends are what happened to the packet here for good. Most steps have none;
	// one has two where the packet goes to an edge and its agent hears of it.
	Ends []End `json:"e,omitempty"`
}

// Header is what a packet looks like.
type Header struct {
	EthSrc topology.MAC `json:"es"`
	EthDst topology.MAC `json:"ed"`
	VLAN   uint16       `json:"v,omitempty"` // id of its tag
	IPSrc  netip.Addr   `json:"is,omitzero"` // of ARP: the sender's
	IPDst  netip.Addr   `json:"id,omitzero"` // of ARP: the target's
	TTL    uint8        `json:"l,omitempty"`
	Proto  uint8        `json:"n,omitempty"`  // of IP
	ARP    uint16       `json:"a,omitempty"`  // operation, if it is ARP
	SrcPrt uint16       `json:"sp,omitempty"` // of TCP and UDP; ICMP's type
	DstPrt uint16       `json:"dp,omitempty"` // of TCP and UDP; ICMP's code
}

// EndKind says what became of a packet.
type EndKind string

// What becomes of a packet.
const (
	Output  EndKind = "output"  // left by an interface: to a workload, or by a patch port to the physical network
	Tunnel  EndKind = "tunnel"  // sent to another chassis
	Host    EndKind = "host"    // to the host's own network stack
	Drop    EndKind = "drop"    // dropped by a flow
	Waits   EndKind = "waits"   // kept by the agent, which sends it on when it can: Why
	Wanted  EndKind = "wanted"  // a copy told the agent that flows are wanted
	Refused EndKind = "refused" // not sent at all: Why
	Lost    EndKind = "lost"    // not seen again: nobody knows why
)

// End is what became of a packet at a step.
type End struct {
	Kind    EndKind `json:"k"`
	Iface   string  `json:"i,omitempty"` // Output: the iface-id of the interface, or its name
	Chassis string  `json:"c,omitempty"` // Tunnel: where to; empty if it leads to no chassis
	Why     string  `json:"w,omitempty"` // one of flows.Reason's names, or a sentence
	// Next is the table that the packet ought to have come to, where it was not
	// seen: Lost. Nobody knows whether a flow of the step's table took it elsewhere,
	// or the other table no longer shows packets to the agent.
	Next flows.Table `json:"n,omitempty"`
}

// Record is a piece of the path, as one chassis tells it: some steps.
type Record struct {
	Chassis  string
	Sequence int // orders the records of one trace
	Steps    []Step
	// Original is set if an agent of the original TupleNet tells it. Then there
	// are no steps, but what follows.
	Original bool
	// Stage is the table of the original TupleNet that the packet has come to;
	// 0: none. In which device, between which of its ports, where it came from.
	Stage     Stage
	Datapath  uint32
	From, To  uint16
	TunnelSrc netip.Addr // that it came from; zero if by no tunnel
	Iface     string     // that it leaves by
}

// Stage is a table of the original TupleNet at which packets are traced.
type Stage uint8

// The stages, by their numbers there.
const (
	SwitchIngressIn  Stage = 1
	SwitchIngressOut Stage = 5
	SwitchEgressIn   Stage = 20
	SwitchEgressOut  Stage = 23
	RouterIngressIn  Stage = 30
	RouterIngressOut Stage = 39
	RouterEgressIn   Stage = 50
	RouterEgressOut  Stage = 58
	OutputPacket     Stage = 94
	DropPacket       Stage = 101
)

var stageNames = map[Stage]string{
	SwitchIngressIn:  "TABLE_LSP_TRACE_INGRESS_IN",
	SwitchIngressOut: "TABLE_LSP_TRACE_INGRESS_OUT",
	SwitchEgressIn:   "TABLE_LSP_TRACE_EGRESS_IN",
	SwitchEgressOut:  "TABLE_LSP_TRACE_EGRESS_OUT",
	RouterIngressIn:  "TABLE_LRP_TRACE_INGRESS_IN",
	RouterIngressOut: "TABLE_LRP_TRACE_INGRESS_OUT",
	RouterEgressIn:   "TABLE_LRP_TRACE_EGRESS_IN",
	RouterEgressOut:  "TABLE_LRP_TRACE_EGRESS_OUT",
	OutputPacket:     "TABLE_OUTPUT_PKT",
	DropPacket:       "TABLE_DROP_PACKET",
}

// String returns the stage's name in the original TupleNet.
func (s Stage) String() string { return stageNames[s] }

// stageOf is the original's stage that a packet has come to with a table. A
// packet that goes from switch to router within a chassis passes all of them.
func stageOf(t flows.Table) Stage {
	switch t {
	case flows.TableSwitchHook:
		return SwitchIngressIn
	case flows.TableSwitchOutput:
		return SwitchIngressOut
	case flows.TableSwitchLoopback:
		return SwitchEgressIn
	case flows.TableSwitchDeliver:
		return SwitchEgressOut
	case flows.TableRouterAdmit:
		return RouterIngressIn
	case flows.TableRouterReply:
		return RouterIngressOut
	case flows.TableRouterNAT:
		return RouterEgressIn
	case flows.TableNeighbour:
		return RouterEgressOut
	case flows.TableDrop:
		return DropPacket
	}
	return 0
}
