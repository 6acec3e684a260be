package agent

import (
	"context"
	"encoding/hex"
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
	// traceMemory is how long a packet is remembered that may come back.
	traceMemory = 30 * time.Second
	// maxTrails bounds the packets that are followed at a time; others go on
	// without being told of.
	maxTrails = 4096
)

// tracer follows traced packets through this node's tables (flows/rules_trace.go)
// and tells those who asked, through etcd. The agent's loop owns it.
type tracer struct {
	a      *agent
	tables *trace.Tables     // of the present flows; nil: they have changed
	trails map[uint16]*trail // by command
	timer  *time.Timer       // fires when tick is to be called
	soon   bool              // it does so for a trail that falls silent
	queue  chan store.Answer
}

// trail is one packet's.
type trail struct {
	*trace.Trail
	seen time.Time
	told bool // nothing is left to tell
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
	case !t.a.synced || !t.a.ovs.InSync():
		why = "the flows are not in yet"
	}
	if why == "" {
		err = t.a.ovs.Inject(frame,
			flows.Load{Dst: flows.All(flows.InPort), Value: uint64(i.OFPort)},
			flows.Load{Dst: flows.All(flows.RegFlags), Value: uint64(c.ID)<<flows.BitsCommand.Ofs | flows.FlagTraced},
			flows.Resubmit{Table: flows.TableClassify})
		if err != nil {
			why = "Open vSwitch is away"
		}
	}
	if why != "" {
		t.tell(c.ID, []trace.Record{{Chassis: t.a.self, Sequence: 1,
			Steps: []trace.Step{{Ends: []trace.End{{Kind: trace.Refused, Why: why}}}}}})
	}
}

// changed says that the flows are not those of before.
func (t *tracer) changed() { t.tables = nil }

// packet takes a packet that waits in a table, tells of it, and lets it go on.
func (t *tracer) packet(p ovs.Packet) {
	command := uint16(p.Flags >> flows.BitsCommand.Ofs)
	of := t.trails[command]
	if of == nil && len(t.trails) < maxTrails {
		of = &trail{Trail: trace.NewTrail(t.a.self)}
		t.trails[command] = of
	}
	if of == nil || of.Endless() {
		t.resume(p, p.Flags&^flows.FlagTraced)
		return
	}
	if t.tables == nil {
		t.tables = trace.NewTables(t.a.engine.All())
	}
	state, header := trace.StateOf(p.Data, p.Carried)
	of.seen, of.told = time.Now(), false
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
		t.soon = true
		t.timer.Reset(traceSilence)
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

// output is the end of a packet that leaves by an OpenFlow port.
func (t *tracer) output(ofport uint32) trace.End {
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
			return trace.End{Kind: trace.Output, Iface: name}
		}
	}
	return trace.End{Kind: trace.Lost, Why: "it left by no port that is known"}
}

// tick tells what is left of packets that have not been seen for a while.
func (t *tracer) tick() {
	now := time.Now()
	t.soon = false
	for command, of := range t.trails {
		switch silent := now.Sub(of.seen); {
		case silent > traceMemory:
			delete(t.trails, command)
		case of.told:
		case silent >= traceSilence:
			of.told = true
			t.tell(command, of.Flush())
		default:
			t.soon = true
		}
	}
	if t.soon {
		t.timer.Reset(traceSilence / 2)
	} else if len(t.trails) > 0 {
		t.timer.Reset(traceMemory)
	} else {
		t.tables = nil // nobody asks any more
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
