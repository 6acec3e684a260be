package agent

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"tuplenet/flows"
	"tuplenet/internal/explain"
	"tuplenet/internal/ovs"
	"tuplenet/internal/store"
)

// Explain reads the flows that this host's bridge holds and finds out what they
// are for, as Verify does and with the same of cfg, but for TunnelIP, which it
// finds in etcd. Where etcd does not answer, or no agent has noted how it runs,
// the flows come without that, and Unknown says why. A flow that nobody knows
// comes as ovs-ofctl(8) writes it, and with raw all do.
func Explain(ctx context.Context, open func(context.Context) (*store.Store, error), cfg Config, raw bool) (explain.Bridge, error) {
	now, err := ovs.Read(ctx, cfg.OVS)
	switch {
	case err != nil:
		return explain.Bridge{}, err
	case now.Bridge == "":
		return explain.Bridge{}, errors.New("there is no integration bridge; the agent makes it")
	}
	b := explain.Bridge{Names: explain.Names{Ports: portNames(now)}}
	var a *agent
	var wanted []flows.CookieFlow
	if now.Chassis == "" {
		b.Unknown = errors.New("this host has no system-id")
	} else if cfg.Settings, b.Unknown = ReadSettings(cfg.RunDir); b.Unknown == nil {
		a, wanted, b.Unknown = compileAnew(ctx, open, cfg, now, new(Difference))
	}
	known := map[uint64]explain.Flow{}
	if b.Unknown == nil {
		b.Names.Model = a.model
		if known, err = a.explained(ctx, now, wanted); err != nil {
			return b, err
		}
	}
	held := slices.Concat(slices.Collect(maps.Values(now.Flows)), now.Doubles, now.Foreign)
	var texts []ovs.HeldFlow // of which the text is wanted
	var of []int             // where they are in b.Flows
	for i, h := range held {
		f := explain.Flow{Origin: explain.Stale}
		if wants, ok := known[h.Cookie]; ok {
			f = wants
			delete(known, h.Cookie) // another one with this cookie is a double
		} else if h.Cookie&flows.CookieMask != flows.CookieTag {
			f.Origin = explain.Foreign
		} else if b.Unknown != nil {
			f.Origin = explain.Unknown
		}
		f.Table, f.Priority, f.Cookie = h.Table, h.Priority, h.Cookie
		f.Packets, f.Bytes, f.Age = h.Packets, h.Bytes, h.Age
		b.Flows = append(b.Flows, f)
		if raw || f.Origin != explain.Own {
			texts, of = append(texts, h), append(of, i)
		}
	}
	b.Missing = len(known)
	lines, err := ovs.Texts(ctx, texts)
	if err != nil {
		return b, err
	}
	for i, line := range lines {
		b.Flows[of[i]].Text = line
	}
	slices.SortFunc(b.Flows, func(f, g explain.Flow) int {
		return cmp.Or(cmp.Compare(f.Table, g.Table), cmp.Compare(g.Priority, f.Priority), f.Object.Compare(g.Object),
			strings.Compare(f.Text, g.Text), cmp.Compare(f.Cookie, g.Cookie))
	})
	return b, nil
}

// explained says by cookie what the flows are for that an agent wants, and which
// of them somebody has changed.
func (a *agent) explained(ctx context.Context, now ovs.Reading, wanted []flows.CookieFlow) (map[uint64]explain.Flow, error) {
	known := make(map[uint64]explain.Flow, len(wanted))
	for _, f := range wanted {
		is := explain.Flow{Origin: explain.Own, Flow: f.Flow}
		is.Rule, is.Object, _ = a.engine.OwnerOf(f.Flow)
		known[f.Cookie] = is
	}
	changed, err := now.Changed(ctx, wanted)
	for _, c := range changed {
		is := known[c.Cookie]
		is.Origin = explain.Changed
		known[c.Cookie] = is
	}
	return known, err
}

// portNames says what is behind the OpenFlow ports of a bridge.
func portNames(now ovs.Reading) map[uint32]string {
	names := map[uint32]string{}
	for _, i := range now.Interfaces {
		names[i.OFPort] = i.IfaceID
		if i.Name != i.IfaceID {
			names[i.OFPort] += " (" + i.Name + ")"
		}
	}
	for _, t := range now.Tunnels {
		names[t.OFPort] = "tunnel to " + t.Chassis
		if t.Chassis == ovs.FlowBased {
			names[t.OFPort] = "the tunnel of those without one"
		}
	}
	if now.HostStack.OFPort != 0 {
		names[now.HostStack.OFPort] = "the host's stack"
	}
	return names
}
