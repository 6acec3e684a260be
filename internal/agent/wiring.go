package agent

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"tuplenet/internal/ovs"
)

// wires is what the integration bridge is to be connected to, and who is to be told
// of its packets.
type wires struct {
	tunnels   []ovs.TunnelSpec
	patches   []ovs.PatchSpec
	hostStack bool
	ipfix     ovs.IPFIX
}

// wiring makes all that of the bridge as it is wanted, beside the agent's
// loop: OVSDB may be away, and thousands of ports take their time.
type wiring struct {
	ovs  *ovs.Driver
	log  *slog.Logger
	wake chan struct{} // capacity 1

	mu     sync.Mutex // guards wanted
	wanted wires
}

// newWiring returns a wiring that works until ctx ends. It does nothing before
// want has been called.
func newWiring(ctx context.Context, driver *ovs.Driver, log *slog.Logger) *wiring {
	w := &wiring{ovs: driver, log: log, wake: make(chan struct{}, 1)}
	go w.work(ctx)
	return w
}

// want sets what there should be. The last call counts.
func (w *wiring) want(wanted wires) {
	w.mu.Lock()
	w.wanted = wanted
	w.mu.Unlock()
	w.signal()
}

func (w *wiring) work(ctx context.Context) {
	var failed string
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		}
		w.mu.Lock()
		wanted := w.wanted
		w.mu.Unlock()
		err := errors.Join(
			w.ovs.SetTunnels(ctx, wanted.tunnels),
			w.ovs.SetPatches(ctx, wanted.patches),
			w.ovs.SetHostStack(ctx, wanted.hostStack),
			w.ovs.SetIPFIX(ctx, wanted.ipfix),
		)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			if failed != "" {
				w.log.Info("the bridge is set up again")
			}
			failed = ""
			continue
		}
		if text := oneLine(err); text != failed {
			failed = text
			w.log.Warn("cannot set up the bridge, will try again", "error", text)
		}
		// An event of the driver wakes us when OVSDB is back; this is for
		// faults that pass without one.
		time.AfterFunc(time.Second, w.signal)
	}
}

// oneLine returns what an error says, joined ones by semicolons and each
// sentence once: one fault often fails many ports.
func oneLine(err error) string {
	var said []string
	for sentence := range strings.SplitSeq(err.Error(), "\n") {
		if !slices.Contains(said, sentence) {
			said = append(said, sentence)
		}
	}
	return strings.Join(said, "; ")
}

func (w *wiring) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}
