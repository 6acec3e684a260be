package agent

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/ovs"
	"tuplenet/internal/packet"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
	"tuplenet/internal/trace"
)

// traceCommand is what a tool asks for that wants a packet followed.
const traceCommand = "pkt_trace"

const (
	// traceSilence is how long a packet has not been seen when it is taken for
	// gone. From one table to the next it takes well under a millisecond.
	traceSilence = 200 * time.Millisecond
	// traceMemory is how long a packet is remembered at least that may come back:
	// longer than ARP takes to fail. After twice the time its command's id can be
	// another one's.
	traceMemory = 5 * time.Second
)

// tracer follows traced packets through this node's tables (flows/rules_trace.go)
// and tells those who asked, through etcd. The agent's loop owns it.
type tracer struct {
	a      *agent
	tables *trace.Tables     // of the present flows; nil: nobody has asked for a while
	trails map[uint16]*trail // by command
	timer  *time.Timer       // fires when tick is to be called
	due    time.Time         // when it does
	soon   bool              // it does so for a trail that falls silent
	queue  chan store.Answer
}

// trail is one packet's.
type trail struct {
	*trace.Trail
	seen    time.Time
	dropped uint64 // packets for the agent that were dropped until then
	told    bool   // nothing is left to tell
	unseen  bool   // it was sent from here, and no table has shown it yet
}

// newTracer returns a tracer that writes what there is to tell until ctx ends.
func newTracer(ctx context.Context, a *agent) *tracer {
	t := &tracer{a: a, trails: map[uint16]*trail{}, timer: time.NewTimer(time.Hour), queue: make(chan store.Answer, 4096)}
	go writeAnswers(ctx, a.Store, t.queue, a.log)
	return t
}

// answersAtOnce is how many answers are written in one transaction.
const answersAtOnce = 100

// writeAnswers writes answers as they come, those that wait meanwhile together.
func writeAnswers(ctx context.Context, st *store.Store, queue <-chan store.Answer, log *slog.Logger) {
	for {
		var some []store.Answer
		select {
		case <-ctx.Done():
			return
		case first := <-queue:
			some = append(some, first)
		}
		for len(queue) > 0 && len(some) < answersAtOnce {
			some = append(some, <-queue)
		}
		if err := st.Answer(ctx, some); err != nil {
			log.Debug("cannot tell of a traced packet", "error", err)
		}
	}
}

// begin sends the packet that a command asks for.
func (t *tracer) begin(c store.Command) {
	frame, err := hex.DecodeString(c.Properties["packet"])
	port := c.Properties["port"]
	i, here := t.a.model.Get(topology.Interface{Port: port}.Key()).(topology.Interface)
	why := ""
	switch {
	case err != nil || len(frame) < ethernetLen:
		why = "the packet is no Ethernet frame in hexadecimal"
	case !here:
		why = "no interface here has the iface-id " + port
		if child, _ := t.a.portNamed(port); child.Parent != "" {
			why = fmt.Sprintf("its parent %s is not plugged in here", child.Parent)
		}
	case !t.a.synced || !t.a.ovs.InSync():
		why = "the flows are not in yet"
	}
	if why == "" {
		if i.Tag != 0 {
			frame = packet.Tagged(frame, i.Tag)
		}
		err := t.a.ovs.Inject(frame,
			flows.Load{Dst: flows.All(flows.InPort), Value: uint64(i.OFPort)},
			flows.Load{Dst: flows.All(flows.RegFlags), Value: uint64(c.ID)<<flows.BitsCommand.Ofs | flows.FlagTraced},
			flows.Resubmit{Table: flows.TableClassify})
		switch {
		case errors.Is(err, ovs.ErrNotConnected):
			why = "Open vSwitch is away"
		case err != nil:
			why = err.Error()
		}
	}
	if why != "" {
		t.end(c.ID, trace.Refused, why)
		return
	}
	t.trails[c.ID] = &trail{Trail: trace.NewTrail(t.a.self), seen: time.Now(), dropped: t.a.ovs.Dropped(), unseen: true}
	if !t.soon {
		t.wake(traceSilence, true)
	}
}

// end tells that a packet has come to no table, and why.
func (t *tracer) end(command uint16, kind trace.EndKind, why string) {
	t.tell(command, []trace.Record{{Chassis: t.a.self, Sequence: 1, Steps: []trace.Step{{Ends: []trace.End{{Kind: kind, Why: why}}}}}})
}

// changed takes in that the flows have changed.
func (t *tracer) changed(d flows.Delta) {
	if t.tables != nil {
		t.tables.Apply(d)
	}
}

// packet takes a packet that waits in a table, tells of it, and lets it go on.
func (t *tracer) packet(p ovs.Packet) {
	if !t.a.synced { // what the flows should be is not known yet
		t.resume(p, p.Flags)
		return
	}
	command := uint16(p.Flags >> flows.BitsCommand.Ofs)
	of := t.trails[command]
	if of == nil {
		of = &trail{Trail: trace.NewTrail(t.a.self)}
		t.trails[command] = of
	}
	if of.Endless() {
		t.resume(p, p.Flags&^flows.FlagTraced)
		return
	}
	if t.tables == nil {
		t.tables = trace.NewTables(t.a.engine.All())
	}
	state, header := trace.StateOf(p.Data, p.Carried)
	of.seen, of.dropped, of.told, of.unseen = time.Now(), t.a.ovs.Dropped(), false, false
	f := t.step(of, p, p.Table, header, &state)
	if f != nil && leadsTo(f, flows.TableTunnel) { // where it is not held
		for _, action := range f.Actions {
			if check, ok := action.(flows.CheckLarger); ok && len(p.Data) > int(check.Size) {
				state.Set(check.Dst, 1)
			}
		}
		t.step(of, p, flows.TableTunnel, header, &state)
	}
	if !t.soon {
		t.wake(traceSilence, true)
	}
	sequence := uint32(min(of.Sequence(), 0xff))
	t.resume(p, p.Flags&^(0xff<<flows.BitsSequence.Ofs)|sequence<<flows.BitsSequence.Ofs)
}

// step tells of a packet that comes to a table in a state, and returns the flow
// that it takes there.
func (t *tracer) step(of *trail, p ovs.Packet, table flows.Table, header trace.Header, state *flows.State) *flows.Flow {
	step := trace.Step{Table: table}
	f, ok := t.tables.Lookup(table, state)
	if ok {
		step.Priority = f.Flow.Priority
		rule, object, _ := t.a.engine.OwnerOf(f.Flow)
		step.Rule = rule
		if object.Kind != topology.KindNode {
			step.Object = object.String()
		}
		step.Ends = trace.Ends(f.Flow, state, packet.DontFragment(p.Data), t.output)
	}
	command := uint16(p.Flags >> flows.BitsCommand.Ofs)
	t.tell(command, of.Add(step, header, state, f.Flow, int(p.Flags>>flows.BitsSequence.Ofs&0xff)))
	return f.Flow
}

// leadsTo reports whether a flow hands packets on to a table.
func leadsTo(f *flows.Flow, table flows.Table) bool {
	return slices.ContainsFunc(f.Actions, func(a flows.Action) bool { g, ok := a.(flows.Goto); return ok && g.Table == table })
}

func (t *tracer) resume(p ovs.Packet, flags uint32) {
	if err := t.a.ovs.Resume(p, flags); err != nil {
		t.a.log.Debug("a traced packet is lost", "error", err)
	}
}

// output is the end of a packet that leaves by an OpenFlow port with a VLAN tag,
// or with none.
func (t *tracer) output(ofport uint32, tag uint16) trace.End {
	for chassis, tunnel := range t.a.tunnels {
		if tunnel.OFPort == ofport {
			return trace.End{Kind: trace.Tunnel, Chassis: chassis}
		}
	}
	if t.a.hostPort.OFPort == ofport && ofport != 0 {
		return trace.End{Kind: trace.Host}
	}
	for name, p := range t.a.plugs {
		if p.iface.OFPort == ofport {
			for _, child := range t.a.children(name) {
				if tag != 0 && child.Tag == tag {
					name = child.Name
				}
			}
			return trace.End{Kind: trace.Output, Iface: name}
		}
	}
	return trace.End{Kind: trace.Lost, Why: "it left by no port that is known"}
}

// wake has tick called in a while, for a trail that falls silent or to forget
// trails.
func (t *tracer) wake(in time.Duration, soon bool) {
	t.timer.Reset(in)
	t.due, t.soon = time.Now().Add(in), soon
}

// tick tells what is left of packets that have not been seen for a while.
func (t *tracer) tick() {
	now := time.Now()
	if late := now.Sub(t.due); late > traceSilence/4 || len(t.a.ovs.Packets()) > 0 {
		t.wake(traceSilence/2, t.soon) // the agent was busy, and has not looked
		return
	}
	soon := false
	for command, of := range t.trails {
		switch silent := now.Sub(of.seen); {
		case silent > traceMemory:
			delete(t.trails, command)
		case of.told:
		case silent >= traceSilence:
			of.told = true
			excused := of.dropped != t.a.ovs.Dropped() || !t.a.ovs.InSync()
			switch {
			case of.unseen && excused:
				t.end(command, trace.Lost, "the agent has not seen it, as it had too much to do, or Open vSwitch went away: trace it again")
			case of.unseen:
				t.end(command, trace.Lost, "no flow of the agent's has seen it: the bridge has lost its flows, or a flow of others takes the packet before them; "+
					"tuplenet doctor --only flows tells which")
			default:
				if excused {
					of.Excuse()
				}
				t.tell(command, of.Flush())
			}
		default:
			soon = true
		}
	}
	switch {
	case soon:
		t.wake(traceSilence/2, true)
	case len(t.trails) > 0:
		t.wake(traceMemory, false)
	default:
		t.soon, t.tables = false, nil // nobody asks any more
	}
}

// tell has records written; when those who write cannot keep up, some are lost.
func (t *tracer) tell(command uint16, records []trace.Record) {
	for _, r := range records {
		select {
		case t.queue <- store.Answer{Command: command, Sequence: r.Sequence, Chassis: r.Chassis, Properties: r.Properties()}:
		default:
			t.a.log.Debug("too many packets are traced at a time")
		}
	}
}
