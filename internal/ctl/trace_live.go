package ctl

import (
	"context"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"tuplenet/internal/status"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
	"tuplenet/internal/trace"
)

// tracing is one run of the command. Its methods that trace may be called at the
// same time.
type tracing struct {
	*session
	traceOptions
	changes []topology.Change // what the store holds
	model   *topology.Model   // of it; it is not changed

	network func() *trace.Network // for dry traces
	talk    func() (*talk, error) // for live ones
	end     func()                // ends the talk, if there is one
}

// newTracing reads the store.
func (s *session) newTracing(opts traceOptions) (*tracing, error) {
	t := &tracing{session: s, traceOptions: opts, model: topology.NewModel()}
	err := s.bounded(func(s *session) error {
		items, err := s.store.Everything(s.ctx)
		t.changes = withUnheard(changes(items))
		return err
	})
	if err != nil {
		return nil, err
	}
	t.model.Replace(t.changes)
	if err := t.nameWhole(&t.probe.Port, &t.probe.To); err != nil {
		return nil, err
	}
	t.network = sync.OnceValue(func() *trace.Network {
		if t.compare {
			return trace.NewNetwork(t.changes, t.settings)
		}
		return trace.NewNetwork(t.changes, nil)
	})
	var started *talk
	t.talk = sync.OnceValues(func() (*talk, error) {
		var err error
		started, err = converse(s.ctx, s.store)
		return started, err
	})
	t.end = func() {
		if started != nil {
			started.end()
		}
	}
	return t, nil
}

// nameWhole makes names of ports whole that are the beginning of an id of Docker.
func (t *tracing) nameWhole(names ...*string) (err error) {
	var known []string
	for e := range t.model.All() {
		if p, ok := e.(topology.SwitchPort); ok {
			known = append(known, p.Name)
		}
	}
	for _, name := range names {
		if *name, err = portNamed(*name, known); err != nil {
			return err
		}
	}
	return nil
}

// settings asks the agent of a chassis how it runs; one that does not answer runs
// as by default.
func (t *tracing) settings(chassis string) trace.Settings {
	if t.model.Get(topology.Presence{Chassis: chassis}.Key()) == nil {
		return trace.Settings{}
	}
	reports, err := status.Ask(t.ctx, t.store, []string{chassis}, true, t.patience)
	r := reports[chassis]
	if err != nil || r.Detail == nil {
		return trace.Settings{}
	}
	s := r.Detail.Settings
	return trace.Settings{AllFlows: !s.OnDemand, NoRedirect: !s.Redirect, Untunnel: s.Untunnel, Hash: s.Hash}
}

// packet makes the packet that is to be traced.
func (t *tracing) packet(p trace.Probe) (traced, error) {
	r := traced{From: p.Port, To: p.To, Dry: t.dry, frame: t.frame}
	if _, err := trace.SourcePort(t.model, p.Port); err != nil {
		return r, err
	}
	if r.frame == nil {
		var err error
		if r.frame, r.Note, err = p.Frame(t.model); err != nil {
			return r, err
		}
	}
	_, header, err := trace.Read(r.frame)
	r.Packet = header.String()
	if err != nil {
		r.Note = err.Error() // it is sent as it is
	}
	return r, nil
}

// computed finds the ways of the packet from the store.
func (t *tracing) computed(r traced) ([]traced, error) {
	if v, ok := trace.CanSend(t.model, r.From); !ok {
		r.End = v
		return []traced{r}, nil
	}
	ways, err := t.network().Trace(r.From, r.frame)
	if err != nil {
		return nil, err
	}
	var out []traced
	for _, records := range ways {
		r.records, r.Path = records, t.path(records)
		out = append(out, r)
	}
	return out, nil
}

func (t *tracing) path(records []trace.Record) trace.Path {
	p := trace.Assemble(records, t.model)
	if t.damage != "" {
		p.Spoil(t.damage)
	}
	return p
}

// Where agents only make flows when a packet comes, it is sent again before it
// is judged: so often, and after such a while.
const (
	secondChances = 3
	secondChance  = 200 * time.Millisecond
)

// sent sends the packet, and says what became of it. Of an agent that should have
// told and did not, it finds out how it is.
func (t *tracing) sent(r traced) (traced, error) {
	r, err := t.followed(r)
	if err == nil && r.End.Silent != "" {
		r.End.Heard(t.condition(r.End.Silent))
	}
	return r, err
}

// conditionPatience bounds how long an agent is waited for that is asked how it is.
const conditionPatience = 2 * time.Second

// condition asks the agent of a chassis how it is.
func (t *tracing) condition(chassis string) trace.Condition {
	reports, _ := status.Ask(t.ctx, t.store, []string{chassis}, false, min(t.patience, conditionPatience)) // without an answer it is the same
	r, answers := reports[chassis]
	return trace.Condition{Answers: answers, InSync: r.InSync, Amiss: r.Amiss()}
}

// followed sends the packet, and if it is to be compared, holds its path against
// what it ought to be.
func (t *tracing) followed(r traced) (traced, error) {
	if v, ok := trace.CanSend(t.model, r.From); !ok {
		r.End = v
		return r, nil
	}
	talk, err := t.talk()
	if err != nil {
		return r, err
	}
	for again := 0; ; again++ {
		if r.records, err = talk.follow(t.ctx, t.model, r.From, r.frame, t.patience); err != nil {
			return r, err
		}
		if r.Path = t.path(r.records); len(r.records) == 0 {
			r.End = trace.Silent(t.model, r.From, t.patience)
		}
		if !t.compare {
			return r, nil
		}
		ways, err := t.network().Trace(r.From, r.frame)
		if err != nil {
			return r, err
		}
		d, differs := trace.Compare(r.records, ways, t.model)
		if !differs {
			r.Compared = &compared{Agree: true}
			return r, nil
		}
		if !d.Pending || again == secondChances {
			r.Compared = &compared{Difference: &d, ought: t.path(ways[0])}
			return r, nil
		}
		if err := t.session.wait(secondChance); err != nil {
			return r, err
		}
	}
}

// talk is a conversation with agents in which many packets are followed at a time.
type talk struct {
	*store.Conversation
	stop context.CancelFunc

	mu      sync.Mutex
	inboxes map[uint16]*inbox // by command
	over    chan struct{}     // closed when there is nothing more to hear
}

// inbox holds what agents have answered to one command.
type inbox struct {
	answers []store.Answer
	news    chan struct{} // has room for one
}

func converse(ctx context.Context, st *store.Store) (*talk, error) {
	ctx, cancel := context.WithCancel(ctx)
	c, err := st.Converse(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	t := &talk{Conversation: c, stop: cancel, inboxes: map[uint16]*inbox{}, over: make(chan struct{})}
	go func() {
		defer close(t.over)
		for a := range c.Answers() {
			in := t.inbox(a.Command)
			t.mu.Lock()
			in.answers = append(in.answers, a)
			t.mu.Unlock()
			select {
			case in.news <- struct{}{}:
			default: // it is known that there are some
			}
		}
	}()
	return t, nil
}

// inbox returns that of a command. An agent may be faster with its answer than
// etcd with telling which command it was.
func (t *talk) inbox(command uint16) *inbox {
	t.mu.Lock()
	defer t.mu.Unlock()
	in := t.inboxes[command]
	if in == nil {
		in = &inbox{news: make(chan struct{}, 1)}
		t.inboxes[command] = in
	}
	return in
}

// forget throws away what was answered to a command: its id may be drawn again.
func (t *talk) forget(command uint16) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.inboxes, command)
}

// end takes back what was asked. Whatever the outcome, leases end by themselves.
func (t *talk) end() {
	_ = t.End(context.Background())
	t.stop()
}

// follow has a packet sent from a port, and returns what agents tell of it until
// it has come to its end, or for as long as patience lasts.
func (t *talk) follow(ctx context.Context, m *topology.Model, port string, frame []byte, patience time.Duration) ([]trace.Record, error) {
	from, err := trace.SourcePort(m, port)
	if err != nil {
		return nil, err
	}
	id, err := t.Ask(ctx, []string{from.Chassis}, store.Properties{"cmd": "pkt_trace", "packet": hex.EncodeToString(frame), "port": port})
	if err != nil {
		return nil, err
	}
	in := t.inbox(id)
	defer t.forget(id)
	late := time.NewTimer(patience)
	defer late.Stop()
	var records []trace.Record
	for {
		select {
		case <-in.news:
		case <-late.C:
			return records, nil
		case <-t.over:
			return nil, fmt.Errorf("the conversation with the agents has broken off: etcd is away")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		t.mu.Lock()
		answers := in.answers
		in.answers = nil
		t.mu.Unlock()
		for _, a := range answers {
			// Another tool's command may have the same id.
			if r, err := trace.ParseRecord(a.Chassis, a.Sequence, a.Properties); err == nil {
				records = append(records, r)
			}
		}
		if trace.Assemble(records, m).Complete() {
			return records, nil
		}
	}
}
