package trace

import (
	"fmt"
	"slices"
	"strings"

	"tuplenet/flows"
	"tuplenet/internal/topology"
)

// Difference is where a packet first left the way that it ought to take.
type Difference struct {
	// Chassis is the one to look at: its flows, its Open vSwitch, or its agent if
	// nothing is told there.
	Chassis string `json:"chassis"`
	Table   string `json:"table,omitempty"` // where the packet took the wrong flow; empty if agents tell no tables
	Want    string `json:"want"`
	Got     string `json:"got"`
	// Unseen says that no flow need be wrong: the packet was sent to the chassis, and
	// nothing was told there.
	Unseen bool `json:"unseen,omitempty"`
	// Pending says that there is nothing to judge yet: the packet went another way
	// because an agent was only then asked for flows, which were not lost but not made
	// yet. Send it once more.
	Pending bool `json:"pending,omitempty"`
}

// String says it in a sentence, with the ids of Docker in it as Docker shows them.
func (d Difference) String() string {
	if d.Pending {
		return "the flows for it were not there yet: trace it again"
	}
	where := "on " + d.Chassis
	if d.Table != "" {
		where += ", table " + d.Table
	}
	text := topology.ShortDockerIDs(fmt.Sprintf("%s: the packet should have %s, and has %s", where, d.Want, d.Got))
	if d.Unseen {
		text += "; rather than flows, the network between the hosts or the agent there may be the matter"
	}
	return text
}

// ToldBy reports whether a verdict says where the packet left its way, and why.
func (d Difference) ToldBy(v Verdict) bool {
	return (v.Reason == FlowsDiffer || v.Reason == ThirdParty) && v.Chassis == d.Chassis && v.Table == d.Table
}

// Compare holds what was told of a traced packet against the ways that it ought to
// take, as Dry returns them, and says where it first left all of them; differs is
// false if it took one of them. Priorities do not count, nor do objects that only
// say that somebody has an address, nor what nobody can know: MACs of the physical
// network and ports that a translation draws.
//
// If an agent of the original TupleNet is on the way, which tells less, the
// switches and routers are compared, and no tables. The model, which is only read,
// names them.
func Compare(live []Record, dry [][]Record, m *topology.Model) (d Difference, differs bool) {
	got, _ := chain(live)
	of := straight
	if slices.ContainsFunc(got, func(s seen) bool { return s.stage != 0 }) {
		of = devices
	}
	got = of(got)
	best := -1
	for _, way := range dry {
		want, _ := chain(way)
		want = of(want)
		at, agree := 0, true
		for at < len(want) && agree {
			if agree = at < len(got) && compareSteps(want[at], got[at], m) == nil; agree {
				at++
			}
		}
		if agree { // what is left are copies that somebody else's flows have made
			return Difference{}, false
		}
		if at > best {
			best, d = at, difference(want, got, at, m)
		}
	}
	d.Pending = slices.ContainsFunc(got, func(s seen) bool { _, yes := s.end(Wanted); return yes }) &&
		!slices.ContainsFunc(got, func(s seen) bool { return s.Astray })
	return d, best >= 0
}

// straight leaves out where an ARP request is only handed on: that of a machine
// which the agent knows comes to its answer without. No store tells which those
// are.
func straight(steps []seen) []seen {
	var out []seen
	for i, s := range steps {
		if s.is(flows.TableSwitchTarget) && i+1 < len(steps) && steps[i+1].is(flows.TableNeighbour) {
			continue
		}
		out = append(out, s)
	}
	return out
}

// devices leaves of steps what agents of the original tell, too.
func devices(steps []seen) []seen {
	var out []seen
	for _, s := range steps {
		s = seen{Step: Step{Datapath: s.Datapath}, chassis: s.chassis}
		if len(out) == 0 || out[len(out)-1].chassis != s.chassis || out[len(out)-1].Datapath != s.Datapath {
			out = append(out, s)
		}
	}
	return out
}

// difference says who is to blame for the first step that differs.
func difference(want, got []seen, at int, m *topology.Model) Difference {
	if at == len(got) {
		d := Difference{Chassis: want[at].chassis, Want: "come to " + place(want[at], m), Got: "not been seen there"}
		switch {
		case at == 0:
		case got[at-1].chassis == d.Chassis:
			d.Table = tableName(got[at-1])
		default:
			d.Unseen = true
		}
		return d
	}
	if e, refused := got[at].end(Refused); refused {
		return Difference{Chassis: got[at].chassis, Want: "been sent", Got: "not been: " + e.Why}
	}
	wrong := compareSteps(want[at], got[at], m)
	by := got[at]
	if wrong.before && at > 0 {
		by = got[at-1] // that led here
	}
	if wrong.before && (want[at].chassis != by.chassis || got[at].chassis != by.chassis) {
		wrong.want, wrong.got = wrong.want+" on "+want[at].chassis, wrong.got+" on "+got[at].chassis
	}
	if by.noWay() {
		wrong.got += ", as BFD finds no way"
	}
	return Difference{Chassis: by.chassis, Table: tableName(by), Want: wrong.want, Got: wrong.got}
}

// noWay reports whether the step is one of a packet whose way BFD has found dead:
// not the flows are to blame, but the host that it leads to, or what is between.
func (s seen) noWay() bool {
	return s.is(flows.TableSwitchOutput) && s.Rule == "nobody" || s.is(flows.TableRouterPath) && s.Rule == "pipeline"
}

// mismatch is what two steps do not have in common.
type mismatch struct {
	before    bool // it is the doing of the step before
	want, got string
}

func compareSteps(want, got seen, m *topology.Model) *mismatch {
	switch {
	case want.chassis != got.chassis || want.Table != got.Table || want.Datapath != got.Datapath:
		return &mismatch{true, "come to " + place(want, m), "come to " + place(got, m)}
	case want.From != got.From || want.To != got.To:
		return &mismatch{true, ports(want, m), ports(got, m)}
	case !sameLook(want.header, got.header):
		return &mismatch{true, "become " + look(want.header), "become " + look(got.header)}
	}
	if w, g := outcome(want), outcome(got); w != g {
		return &mismatch{false, w, g}
	}
	if got.Astray {
		return &mismatch{false, "taken the flow of " + maker(want), "taken another one than its agent has made"}
	}
	if w, g := want.Object, got.Object; !onlyPresence(want.Table) && !sameObject(w, g) {
		return &mismatch{false, "taken the flow of " + w, "taken that of " + g}
	}
	return nil
}

func tableName(s seen) string {
	if s.Table == flows.TableClassify { // of which nobody tells
		return ""
	}
	return s.Table.String()
}

// place says where on its chassis a step is made.
func place(s seen, m *topology.Model) string {
	device, _ := deviceOf(m, s.Datapath)
	switch table := tableName(s); {
	case table == "":
		return device
	case device == "":
		return "table " + table
	default:
		return "table " + table + " of " + device
	}
}

func ports(s seen, m *topology.Model) string {
	text := "come in by " + portOf(m, s.Datapath, s.From)
	if s.To == 0 {
		return text + " without a port to leave by"
	}
	return text + " to leave by " + portOf(m, s.Datapath, s.To)
}

func look(h Header) string {
	return fmt.Sprintf("%s (MACs %s -> %s)", h, h.EthSrc, h.EthDst)
}

func maker(s seen) string {
	if s.Object == "" {
		return "rule " + s.Rule
	}
	return s.Object
}

// sameLook compares what both can know of how a packet looks.
func sameLook(want, got Header) bool {
	for _, macs := range [][2]*topology.MAC{{&want.EthSrc, &got.EthSrc}, {&want.EthDst, &got.EthDst}} {
		if madeUp(*macs[0]) || *macs[0] == madeUpHostStack {
			*macs[1] = *macs[0]
		}
	}
	want.SrcPrt, want.DstPrt, got.SrcPrt, got.DstPrt = 0, 0, 0, 0
	return want == got
}

// outcome says what a step did to the packet for good, but for what the agent
// makes good again.
func outcome(s seen) string {
	for _, e := range s.Ends {
		switch e.Kind {
		case Output:
			return "left by " + e.Iface
		case Tunnel:
			return "been sent to " + e.Chassis
		case Host:
			return "gone to the host's own stack"
		case Drop:
			return "been dropped"
		}
	}
	return "gone on"
}

// onlyPresence reports whether a table only asks whether anybody is there: whose
// flow says so depends on what traffic there was.
func onlyPresence(t flows.Table) bool {
	return t == flows.TableSwitchARP || t == flows.TableSwitchTarget || t == flows.TableRouterConnected
}

// sameObject compares objects of one kind; one and the same flow can come of
// objects of several.
func sameObject(want, got string) bool {
	wantKind, wantName := split(want)
	gotKind, gotName := split(got)
	return wantKind != gotKind || wantName == gotName
}

// split returns the kind and the name of an object. A port is one whether a flow
// is made for it, its interface, or for what wants it.
func split(object string) (kind topology.Kind, name string) {
	for _, k := range []topology.Kind{topology.KindSwitchPort, topology.KindInterface, topology.KindDemand} {
		if name, ok := strings.CutPrefix(object, k.String()+" "); ok {
			return topology.KindSwitchPort, name[strings.LastIndex(name, "/")+1:]
		}
	}
	for _, k := range []topology.Kind{topology.KindRouterPort, topology.KindRouter, topology.KindStaticRoute, topology.KindNAT} {
		if name, ok := strings.CutPrefix(object, k.String()+" "); ok {
			return k, name
		}
	}
	return 0, ""
}
