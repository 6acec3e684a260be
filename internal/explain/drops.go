package explain

import (
	"slices"

	"tuplenet/flows"
	"tuplenet/internal/trace"
)

// Drop says why the flow drops the packets that take it, in the words that a
// trace has for it; drops is false for a flow that drops nothing. What comes to
// the table drop was counted by the flow that sent it there, so that its own
// flow is no drop. Neither is the flow for what is too large for a tunnel: Open
// vSwitch counts what fits there, too.
func Drop(f *flows.Flow) (reason trace.Reason, drops bool) {
	if f == nil || f.Table == flows.TableDrop {
		return "", false
	}
	if !slices.Contains(f.Actions, flows.Action(flows.Goto{Table: flows.TableDrop})) && len(f.Actions) > 0 {
		return "", false
	}
	matches := func(field flows.Field) bool {
		return slices.ContainsFunc(f.Match, func(m flows.Match) bool { return m.Field == field })
	}
	switch f.Table {
	case flows.TableClassify:
		switch {
		case len(f.Match) == 0: // other frames than out of a tunnel have a flow before
			return trace.NoChassis, true
		case matches(flows.TunDst):
			return trace.NotBound, true
		}
		return trace.WrongTag, true // what comes by an interface with children
	case flows.TableSwitchSecurity:
		return trace.Spoofed, true
	case flows.TableSwitchARP, flows.TableSwitchTarget, flows.TableRouterConnected, flows.TableNeighbour:
		return trace.NoDestination, true
	case flows.TableSwitchLookup:
		if slices.ContainsFunc(f.Match, func(m flows.Match) bool { return m.Field == flows.EthDst && !m.IsExact() }) {
			return trace.NotRouted, true // multicast
		}
		return trace.NoDestination, true
	case flows.TableSwitchLoopback:
		return trace.Hairpin, true
	case flows.TableSwitchDeliver:
		if matches(flows.VLAN) {
			return trace.WrongTag, true
		}
		return trace.NotBound, true
	case flows.TableRouterAdmit, flows.TableRouterLocal:
		return trace.NotRouted, true
	case flows.TableRouterInside, flows.TableRouterTranslated, flows.TableRouterPool, flows.TableRouterOutside:
		return trace.NoNAT, true
	case flows.TableRouterRoute:
		if slices.Contains(f.Actions, flows.Action(flows.Punt{Why: flows.TTLExceeded})) {
			return trace.TTL, true
		}
		return trace.NoRoute, true
	case flows.TableRouterPath:
		return trace.BFD, true
	case flows.TableRouterForward:
		return trace.RouterGone, true
	case flows.TableRedirect:
		return trace.NoDestination, true
	}
	return trace.LostOnTheWay, true
}
