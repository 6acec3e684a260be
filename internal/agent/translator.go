package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/ovs"
	"tuplenet/internal/topology"
)

// portsPerAddress is how many connections an address of an snat rule has ports
// for; a port serves several if they go to different places, which is not
// counted on.
const portsPerAddress = 65536 - 1024

// translationFile is where the rules are kept, in the run directory: of those
// that go while no agent runs, the next one removes the connections.
const translationFile = "translated.json"

// translator looks after the connections of NAT rules, beside the agent's loop:
// it bounds them to what the addresses of a router have ports for, and removes
// those of a rule that is gone.
type translator struct {
	ovs  *ovs.Driver
	path string // of translationFile
	log  *slog.Logger
	wake chan struct{} // capacity 1

	mu    sync.Mutex
	rules map[flows.Translated]bool
	ready bool // rules are all there are
}

// newTranslator returns a translator that begins to work with renew, and ends
// with ctx.
func newTranslator(ctx context.Context, driver *ovs.Driver, rundir string, log *slog.Logger) *translator {
	t := &translator{ovs: driver, path: filepath.Join(rundir, translationFile), log: log, wake: make(chan struct{}, 1),
		rules: map[flows.Translated]bool{}}
	go t.work(ctx)
	return t
}

func (t *translator) begun(n flows.Translated) { t.change(func() { t.rules[n] = true }) }

func (t *translator) ended(n flows.Translated) {
	t.change(func() { delete(t.rules, n) })
}

// renew is called when all flows, and so all rules, are in: ovs-vswitchd has
// forgotten the bounds if it was restarted.
func (t *translator) renew() { t.change(func() { t.ready = true }) }

func (t *translator) change(f func()) {
	t.mu.Lock()
	f()
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// limits returns how many connections each zone may have.
func (t *translator) limits() map[uint16]uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	type address struct {
		zone uint16
		ip   netip.Addr
	}
	counted := map[address]bool{}
	limits := map[uint16]uint32{}
	for n := range t.rules {
		// A dnat rule's connections need no ports of ours; it gets as much
		// room, so that one guest cannot take all that the host has.
		if at := (address{n.Zone, n.Addr}); !counted[at] {
			counted[at] = true
			limits[n.Zone] += portsPerAddress
		}
	}
	return limits
}

// zone names the zone of a router's connections of one type.
type zone struct {
	id     uint16
	router string
	typ    topology.NATType
}

// zones returns the zones in use.
func (t *translator) zones() map[zone]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	zones := map[zone]bool{}
	for n := range t.rules {
		zones[zone{n.Zone, n.Router, n.Type}] = true
	}
	return zones
}

func (t *translator) work(ctx context.Context) {
	before, err := t.load() // rules whose connections there may be
	if err != nil {
		t.log.Warn("connections of NAT rules that went while no agent ran stay until they end", "error", err)
	}
	bounded := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		}
		t.mu.Lock()
		ready, now := t.ready, maps.Clone(t.rules)
		t.mu.Unlock()
		if !ready {
			continue
		}
		changed := len(now) != len(before)
		for n := range before {
			if now[n] {
				continue
			}
			changed = true
			if err := t.forget(ctx, n); err != nil {
				now[n] = true // to be tried again, by the next agent if need be
				if ctx.Err() == nil {
					t.log.Warn("cannot remove the connections of a NAT rule that is gone, will try again when Open vSwitch is back",
						"router", n.Router, "type", n.Type, "address", n.Addr, "error", err)
				}
			}
		}
		if changed {
			if err := t.save(slices.Collect(maps.Keys(now))); err != nil {
				t.log.Warn("cannot keep which NAT rules there are", "error", err)
			}
		}
		before = now
		limits := t.limits()
		if len(limits) == 0 && !bounded {
			continue
		}
		bounded = true
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := t.ovs.LimitConnections(try, limits)
		cancel()
		if err != nil && ctx.Err() == nil {
			t.log.Warn("cannot bound the number of translated connections", "zones", slices.Sorted(maps.Keys(limits)), "error", err)
		}
	}
}

// load returns the rules that the last agent saved.
func (t *translator) load() (map[flows.Translated]bool, error) {
	content, err := os.ReadFile(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var rules []flows.Translated
	if err == nil {
		err = json.Unmarshal(content, &rules)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.path, err)
	}
	saved := map[flows.Translated]bool{}
	for _, n := range rules {
		saved[n] = true
	}
	return saved, nil
}

func (t *translator) save(rules []flows.Translated) error {
	content, err := json.Marshal(rules)
	if err != nil {
		return err
	}
	return replaceFile(t.path, content)
}

func (t *translator) forget(ctx context.Context, n flows.Translated) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return t.ovs.FlushConnections(ctx, n.Zone, n.Type, n.Addr)
}
