package ovs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/ovs/openflow"
)

// Reading is what an Open vSwitch has at one moment of what a Driver looks after.
type Reading struct {
	Chassis    string      // the name of the host, its system-id; empty if it has none
	Bridge     string      // the integration bridge; empty if there is none
	Interfaces []Interface // as Driver.Interfaces returns them
	Tunnels    []Tunnel    // as Driver.Tunnels returns them
	HostStack  HostStack   // zero if there is none
	Held       bool        // traffic waits for flows, see Driver.HoldTraffic

	Flows   map[uint64]HeldFlow // TupleNet's, by their cookies
	Doubles []HeldFlow          // flows under a cookie of TupleNet's that another one in Flows has
	Foreign []HeldFlow          // flows of others
}

// HeldFlow is a flow that the bridge holds.
type HeldFlow struct {
	Table    flows.Table
	Priority uint16
	Cookie   uint64
	Packets  uint64 // that have taken it, and their bytes; Open vSwitch counts up to a second late
	Bytes    uint64
	Age      time.Duration
	made     []byte // the message that would make it
}

// Read reads an Open vSwitch and changes nothing, unlike a Driver, which makes
// the bridge. It does not wait for one that is away, and for one that hangs as
// long as ctx lasts. With an error about the flows it returns the rest.
func Read(ctx context.Context, cfg Config) (Reading, error) {
	cfg.setDefaults()
	s, err := newSession(ctx, cfg.Database, cfg.Log)
	if err != nil {
		return Reading{}, away(err)
	}
	defer s.close()
	v, err := s.wholeView(ctx, cfg)
	if err != nil {
		return Reading{}, err
	}
	r := Reading{Interfaces: v.interfaces, Tunnels: v.tunnels, HostStack: v.hostStack, Held: v.held}
	r.Chassis, _ = systemID(s)
	if findBridge(s.cache, cfg.Bridge) == nil {
		return r, nil
	}
	r.Bridge = cfg.Bridge
	if err := r.readFlows(ctx, filepath.Join(cfg.RunDir, cfg.Bridge+".mgmt")); err != nil {
		return r, fmt.Errorf("flows of bridge %s: %w (is ovs-vswitchd running?)", cfg.Bridge, err)
	}
	return r, nil
}

// away says what may be the matter with an Open vSwitch that cannot be reached.
func away(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w (are you root?)", err)
	}
	return fmt.Errorf("%w (is Open vSwitch running?)", err)
}

// wholeView waits for a view that no update is under way in.
func (s *session) wholeView(ctx context.Context, cfg Config) (view, error) {
	v, whole := readView(s.cache, cfg.Bridge)
	for !whole {
		select {
		case <-s.dirty:
			v, whole = readView(s.cache, cfg.Bridge)
		case <-ctx.Done():
			return view{}, fmt.Errorf("read OVSDB at %s: %w", cfg.Database, ctx.Err())
		}
	}
	return v, nil
}

func (r *Reading) readFlows(ctx context.Context, socket string) error {
	dial, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := openflow.Dial(dial, socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	r.Flows = map[uint64]HeldFlow{}
	for f, err := range conn.Dump(ctx, 0, 0) {
		if err != nil {
			return err
		}
		held := HeldFlow{Table: flows.Table(f.Table), Priority: f.Priority, Cookie: f.Cookie,
			Packets: f.Packets, Bytes: f.Bytes, Age: f.Age}
		if held.made, err = f.AppendFlowMod(nil); err != nil {
			return err
		}
		if f.Cookie&flows.CookieMask != flows.CookieTag {
			r.Foreign = append(r.Foreign, held)
			continue
		}
		if _, again := r.Flows[f.Cookie]; again {
			r.Doubles = append(r.Doubles, held)
		} else {
			r.Flows[f.Cookie] = held
		}
	}
	return nil
}

// ChangedFlow is a flow that is in the bridge under its cookie, and is not what
// it was made as. Both are in the words of ovs-ofctl(8).
type ChangedFlow struct {
	Cookie    uint64
	Want, Has string
}

// Changed returns which of the flows in the bridge somebody has changed, as
// ovs-ofctl mod-flows does: the cookie stays then, and with it the driver's
// belief that the flow is right. It has ovs-ofctl say what flows mean.
func (r *Reading) Changed(ctx context.Context, want []flows.CookieFlow) ([]ChangedFlow, error) {
	var wanted, held []byte
	var cookies []uint64
	for _, f := range want {
		has, there := r.Flows[f.Cookie]
		if !there {
			continue
		}
		made, err := openflow.AppendFlowMods(nil, []openflow.Mod{{Command: openflow.Add, Flow: f.Flow, Cookie: f.Cookie}})
		if err != nil {
			return nil, err
		}
		if bytes.Equal(made, has.made) {
			continue
		}
		wanted, held = append(wanted, made...), append(held, has.made...)
		cookies = append(cookies, f.Cookie)
	}
	if len(cookies) == 0 {
		return nil, nil
	}
	wantTexts, err := printFlows(ctx, wanted, len(cookies))
	if err != nil {
		return nil, err
	}
	hasTexts, err := printFlows(ctx, held, len(cookies))
	if err != nil {
		return nil, err
	}
	var changed []ChangedFlow
	for i, cookie := range cookies {
		want, has := wantTexts[i], hasTexts[i]
		// Where the datapath has no meters flows go without, see withoutLimit.
		if want != has && meterText.ReplaceAllString(want, "") != has {
			changed = append(changed, ChangedFlow{cookie, want, has})
		}
	}
	slices.SortFunc(changed, func(a, b ChangedFlow) int { return strings.Compare(a.Want, b.Want) })
	return changed, nil
}

// Texts returns flows in the words of ovs-ofctl(8), which it has print them.
func Texts(ctx context.Context, held []HeldFlow) ([]string, error) {
	if len(held) == 0 {
		return nil, nil
	}
	var messages []byte
	for _, f := range held {
		messages = append(messages, f.made...)
	}
	return printFlows(ctx, messages, len(held))
}

var meterText = regexp.MustCompile(`meter:\d+,?`)

// printFlows has ovs-ofctl print n messages that make flows.
func printFlows(ctx context.Context, messages []byte, n int) ([]string, error) {
	cmd := exec.CommandContext(ctx, "ovs-ofctl", "ofp-parse", "-")
	cmd.Stdin = bytes.NewReader(messages)
	out, err := cmd.Output()
	if err != nil {
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
		}
		return nil, fmt.Errorf("have ovs-ofctl print flows: %w", err)
	}
	var texts []string
	for line := range strings.Lines(string(out)) {
		// OFPT_FLOW_MOD (OF1.4) (xid=0x0): ADD table:7 priority=9,ip cookie:0x7e7 actions=drop
		if _, text, ok := strings.Cut(line, ": ADD "); ok && strings.HasPrefix(line, "OFPT_FLOW_MOD ") {
			texts = append(texts, strings.TrimSpace(text))
		}
	}
	if len(texts) != n {
		return nil, fmt.Errorf("have ovs-ofctl print flows: it printed %d of %d", len(texts), n)
	}
	return texts, nil
}
