package ovs

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"tuplenet/flows"
	"tuplenet/internal/ovs/openflow"
)

const (
	// bundleSize bounds the bundles of Sync and Apply: ovs-vswitchd does
	// nothing else while it commits one.
	bundleSize = 5000
	// wholeRetries is how many flows of a bundle may be refused before it is
	// cut into halves.
	wholeRetries = 4
)

// geneveOption is TupleNet's Geneve option: source port, destination port and
// flags of a packet, as tun_metadata0.
var geneveOption = openflow.TLV{Class: 0xffee, Type: 0, Length: 8, Index: 0}

// ErrNeedsSync is returned by Apply when the flows in the bridge are not those
// that the last calls left there.
var ErrNeedsSync = errors.New("the flows of the bridge have to be synchronised first")

// RefusedError says that Open vSwitch refused flows. All others are in.
type RefusedError struct{ Flows []RefusedFlow }

// RefusedFlow is a flow that Open vSwitch refused, and why.
type RefusedFlow struct {
	flows.CookieFlow
	Err error
}

func (e *RefusedError) Error() string {
	first := e.Flows[0]
	return fmt.Sprintf("Open vSwitch refused %d flows, the first (table %s, cookie %#x) with: %v",
		len(e.Flows), first.Flow.Table, first.Cookie, first.Err)
}

// SyncResult counts the flows that Sync found in place, added and deleted.
type SyncResult struct{ Kept, Added, Deleted int }

// flowConn is the OpenFlow connection:
//
//	away --dial--> up, not synced --Sync--> up, synced
//
// Any error but a refused flow leads back to away, as it leaves unknown what
// is in the bridge. There is no other way to lose synced.
type flowConn struct {
	busy     sync.Mutex // held while flows are changed; guards noMeters
	noMeters bool       // the datapath has none, as Sync found

	mu     sync.Mutex     // guards the fields below
	conn   *openflow.Conn // nil while away
	synced bool
	age    uint64 // counts the calls of Sync and Apply
}

// NeedsSync reports whether the bridge can be reached and waits for Sync: at
// the start, and whenever the connection was lost, by which the flows may be
// lost too.
func (d *Driver) NeedsSync() bool {
	d.flow.mu.Lock()
	defer d.flow.mu.Unlock()
	return d.flow.conn != nil && !d.flow.synced
}

// InSync reports whether the bridge can be reached and holds the flows that
// the last Sync and Apply left there.
func (d *Driver) InSync() bool {
	conn, synced := d.flow.current()
	return conn != nil && synced
}

// Sync makes the flows in the bridge those of all, which yields cookies and
// flows, and sends only the difference: first what is missing, in bundles,
// then the deletion of what is too much. Flows in place, their counters
// included, are not touched.
//
// Like Apply it takes as long as ovs-vswitchd does, which answers nothing
// while ovsdb-server is away, or until ctx ends. It returns a *RefusedError if
// flows were refused; the bridge is in sync all the same.
func (d *Driver) Sync(ctx context.Context, all iter.Seq2[uint64, *flows.Flow]) (SyncResult, error) {
	d.flow.busy.Lock()
	defer d.flow.busy.Unlock()
	var result SyncResult
	d.flow.grow()
	conn, _ := d.flow.current()
	if conn == nil {
		return result, fmt.Errorf("flows of bridge %s: %w", d.cfg.Bridge, ErrNotConnected)
	}
	if err := d.prepare(ctx, conn); err != nil {
		conn.Close()
		return result, err
	}
	extra := map[uint64]struct{}{} // cookies in the bridge that are not wanted
	for f, err := range conn.Dump(ctx, flows.CookieTag, flows.CookieMask) {
		if err != nil {
			conn.Close()
			return result, err
		}
		extra[f.Cookie] = struct{}{}
	}
	held := len(extra)
	b := bundler{ctx: ctx, conn: conn, noMeters: d.flow.noMeters}
	for cookie, f := range all {
		if _, there := extra[cookie]; there {
			delete(extra, cookie)
			continue
		}
		b.add(flows.CookieFlow{Cookie: cookie, Flow: f})
		result.Added++
	}
	result.Kept, result.Deleted = held-len(extra), len(extra)
	for cookie := range extra {
		b.delete(cookie)
	}
	err := d.finish(&b)
	result.Added -= len(b.refused)
	return result, err
}

// Apply adds flows, which replaces those with the same identity, and deletes
// those with the cookies. Up to some thousands of both are one bundle, which
// takes effect at once. It returns ErrNeedsSync when there is nothing to build
// on, and a *RefusedError as Sync does.
func (d *Driver) Apply(ctx context.Context, add []flows.CookieFlow, del []uint64) error {
	d.flow.busy.Lock()
	defer d.flow.busy.Unlock()
	d.flow.grow()
	conn, synced := d.flow.current()
	if conn == nil || !synced {
		return ErrNeedsSync
	}
	b := bundler{ctx: ctx, conn: conn, noMeters: d.flow.noMeters}
	for _, f := range add {
		b.add(f)
	}
	for _, cookie := range del {
		b.delete(cookie)
	}
	return d.finish(&b)
}

// prepare makes the bridge have what flows refer to.
func (d *Driver) prepare(ctx context.Context, conn *openflow.Conn) error {
	if err := conn.EnsureTLV(ctx, geneveOption); err != nil {
		return err
	}
	err := conn.EnsureMeters(ctx, flows.Meters)
	noMeters := errors.Is(err, openflow.ErrNoMeters)
	if err != nil && !noMeters {
		return err
	}
	if noMeters && !d.flow.noMeters {
		d.log.Warn("the datapath has no meters, so packets for the agent come without a limit of their rate; a newer kernel has them",
			"error", err)
	}
	d.flow.noMeters = noMeters
	return nil
}

// finish sends what is left and settles the state.
func (d *Driver) finish(b *bundler) error {
	b.flush()
	if b.err != nil {
		b.conn.Close()
		return fmt.Errorf("change flows of bridge %s: %w", d.cfg.Bridge, b.err)
	}
	d.flow.markSynced(b.conn)
	if len(b.refused) > 0 {
		return &RefusedError{b.refused}
	}
	return nil
}

func (f *flowConn) current() (conn *openflow.Conn, synced bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.conn, f.synced
}

func (f *flowConn) grow() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.age++
}

// markSynced says that the flows are in sync, if the connection that they went
// over is still the one in use.
func (f *flowConn) markSynced(conn *openflow.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.synced = f.conn == conn
}

// set changes the connection and returns whether the last one was in sync.
func (f *flowConn) set(conn *openflow.Conn) (wasSynced bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	wasSynced = f.synced
	f.conn, f.synced = conn, false
	return wasSynced
}

// renew leads back to away, and from there up again.
func (f *flowConn) renew() {
	if conn, _ := f.current(); conn != nil {
		conn.Close()
	}
}

// bundler sends changes of flows in bundles. After an error it does nothing.
type bundler struct {
	ctx      context.Context
	conn     *openflow.Conn
	noMeters bool
	mods     []openflow.Mod
	refused  []RefusedFlow
	err      error
}

func (b *bundler) add(f flows.CookieFlow) {
	if b.noMeters {
		f.Flow = withoutLimit(f.Flow)
	}
	b.push(openflow.Mod{Command: openflow.Add, Flow: f.Flow, Cookie: f.Cookie})
}

// withoutLimit returns the flow as it can be without meters, for where there
// are none: a flow that names one would be refused, and what it does is worth
// more than its limit.
func withoutLimit(f *flows.Flow) *flows.Flow {
	if len(f.Actions) == 0 {
		return f
	}
	if _, limited := f.Actions[0].(flows.LimitTo); !limited {
		return f
	}
	unlimited := *f
	unlimited.Actions = f.Actions[1:]
	return &unlimited
}

func (b *bundler) delete(cookie uint64) {
	b.push(openflow.Mod{Command: openflow.Delete, Cookie: cookie})
}

func (b *bundler) push(m openflow.Mod) {
	if b.mods = append(b.mods, m); len(b.mods) == bundleSize {
		b.flush()
	}
}

func (b *bundler) flush() {
	b.commit(b.mods)
	b.mods = b.mods[:0]
}

// commit sends a bundle, and again without the flow that was refused. When
// many are, it goes on with halves: a bundle that is refused as a whole then
// costs its logarithm, not its square.
func (b *bundler) commit(mods []openflow.Mod) {
	for try := 1; len(mods) > 0 && b.err == nil; try++ {
		err := b.conn.Commit(b.ctx, mods)
		if err == nil {
			return
		}
		var refusal *openflow.FlowError
		if !errors.As(err, &refusal) {
			b.err = err
			return
		}
		bad := mods[refusal.Index]
		if bad.Command == openflow.Delete {
			b.err = err
			return
		}
		b.refused = append(b.refused, RefusedFlow{flows.CookieFlow{Cookie: bad.Cookie, Flow: bad.Flow}, refusal.Err})
		mods = slices.Delete(mods, refusal.Index, refusal.Index+1)
		if try == wholeRetries {
			half := len(mods) / 2
			b.commit(mods[:half])
			b.commit(mods[half:])
			return
		}
	}
}
