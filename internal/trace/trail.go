package trace

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"tuplenet/flows"
)

// Trail collects the steps of one traced packet on one chassis, and makes
// records of them whenever the packet has come to a stage of the original. It
// knows from each flow where the packet goes next, and so notices when it goes
// elsewhere.
type Trail struct {
	chassis  string
	source   netip.Addr // of the tunnel that it came by last
	sequence int
	stage    Stage  // that the last record was made at
	steps    []Step // not told yet
	before   Step   // the last one
	last     *Header
	next     map[flows.Table]int // tables that the packet is to come to, with how often; nil: nobody knows
	seen     int                 // steps in all
	loose    bool                // the agent sends it on, from anywhere and perhaps in pieces
	strayed  bool                // it took a flow that is not known: what that still does with it, once next is done, neither
}

// maxSteps is how many tables of a chassis a packet can come to before it is
// left to itself.
const maxSteps = 1000

// inCircles is the end of a packet that has come to too many.
var inCircles = End{Kind: Lost, Why: fmt.Sprintf("it goes round in circles: it has come to %d tables", maxSteps)}

// NewTrail returns the trail of a packet that comes to a chassis.
func NewTrail(chassis string) *Trail { return &Trail{chassis: chassis} }

// Sequence is that of the last record.
func (t *Trail) Sequence() int { return t.sequence }

// Endless reports whether the packet has been seen too often, and is followed no
// further.
func (t *Trail) Endless() bool { return t.seen > maxSteps }

// Add takes in that the packet has come to a table, and returns what there is to
// tell now. Of the step, Add fills in where the packet is; h is what it looks
// like, s its state, f the flow that it takes, nil if there is none, and sequence
// what the packet says of the records before.
func (t *Trail) Add(step Step, h Header, s *flows.State, f *flows.Flow, sequence int) []Record {
	if t.seen++; t.Endless() {
		step.Ends = []End{inCircles}
	}
	t.sequence = max(t.sequence, sequence)
	arrival := step.Table == flows.TableArrival
	if arrival {
		t.next, t.last, t.loose, t.strayed = nil, nil, false, false
		t.source = addr4(uint32(s.Get(flows.All(flows.TunSrc))))
	}
	if t.strayed && len(t.next) == 0 {
		t.next = nil
	}
	if !t.loose && t.next != nil && t.next[step.Table] == 0 {
		t.again().Astray = true // the packet took another flow there
		t.next, t.strayed = nil, true
	}
	if t.last == nil || *t.last != h {
		step.Header, t.last = &h, &h
	}
	step.Datapath = uint32(s.Get(flows.BitsDatapath))
	step.From, step.To = uint16(s.Get(flows.BitsSrcPort)), uint16(s.Get(flows.BitsDstPort))

	// What came before is told when the packet has come to a stage: until then
	// it may turn out that it has gone astray.
	var out []Record
	stage := stageOf(step.Table)
	if stage == SwitchEgressIn && t.stage == SwitchIngressIn {
		out = append(out, t.record(SwitchIngressOut, step)) // within a chassis these are one
	}
	if stage != 0 && stage != DropPacket {
		out = append(out, t.record(stage, step))
	}
	t.steps = append(t.steps, step)
	t.before = step
	t.follow(step.Table, f)
	if t.Endless() {
		t.Excuse()
	}
	if len(step.Ends) > 0 && (t.loose || len(t.next) == 0) {
		r := t.record(endStage(step.Ends[0]), step)
		r.Iface = cmp.Or(step.Ends[0].Iface, step.Ends[0].Chassis)
		out = append(out, r)
	}
	return out
}

// endStage is the original's stage that a packet has come to with its end.
func endStage(end End) Stage {
	switch end.Kind {
	case Output, Tunnel, Host:
		return OutputPacket
	case Drop, Lost:
		return DropPacket
	}
	return 0 // an agent has it
}

// follow notes where a flow sends the packet from a table.
func (t *Trail) follow(table flows.Table, f *flows.Flow) {
	if t.next == nil {
		t.next = map[flows.Table]int{}
	} else if t.next[table]--; t.next[table] == 0 {
		delete(t.next, table)
	}
	if f == nil {
		return
	}
	for _, a := range f.Actions {
		switch a := a.(type) {
		case flows.Goto:
			t.next[a.Table]++
		case flows.Resubmit:
			t.next[a.Table]++
		case flows.Track:
			t.next[a.Table]++
		case flows.Punt:
			t.loose = t.loose || sendsOn(a.Why)
		}
	}
}

// sendsOn reports whether the agent sends a packet on that came to it for a
// reason; from which table, no flow says.
func sendsOn(why flows.Reason) bool {
	switch why {
	case flows.NoNeighbour, flows.Wanted, flows.TooLarge, flows.QuotedAddress:
		return true
	}
	return false
}

// again returns the step before, of which there is more to tell. If it has been
// told, it is told again.
func (t *Trail) again() *Step {
	if len(t.steps) == 0 {
		t.steps = append(t.steps, t.before)
	}
	return &t.steps[len(t.steps)-1]
}

// Excuse takes in that there is a reason why the packet may not be seen where it
// goes next: that it is not means nothing.
func (t *Trail) Excuse() { t.next = nil }

// Flush returns what has not been told of a packet that has not been seen for a
// while. If it should have come to another table, it is lost between the two; in
// the table that is left to third parties, one of them has it.
func (t *Trail) Flush() []Record {
	if !t.loose && len(t.next) > 0 {
		last := t.again()
		last.Ends = append(slices.Clone(last.Ends), End{Kind: Lost, Next: slices.Min(slices.Collect(maps.Keys(t.next)))})
		last.Astray = last.Astray || last.Table == flows.TableSwitchHook
		t.next = nil
	}
	if len(t.steps) == 0 {
		return nil
	}
	return []Record{t.record(0, t.before)}
}

func (t *Trail) record(stage Stage, at Step) Record {
	t.sequence++
	r := Record{Chassis: t.chassis, Sequence: t.sequence, Steps: t.steps, Stage: stage, TunnelSrc: t.source,
		Datapath: at.Datapath, From: at.From, To: at.To}
	t.steps = nil
	if stage != 0 {
		t.stage = stage
	}
	return r
}
