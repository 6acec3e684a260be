package flows

import "tuplenet/internal/topology"

// prioTrace is before all else, third parties' flows included.
const prioTrace = 0xffff

// tracePoints shows a traced packet to the agent as it comes to each table.
// Then the table's other flows have it: RegSeen has one bit for every table,
// and holds that of the last one. A packet that comes to a table a second time,
// behind others, is shown again.
func tracePoints(*Reader, topology.Node) []Flow {
	var out []Flow
	for i, t := range traced() {
		bit := uint64(1) << i
		out = append(out, Flow{t, prioTrace, []Match{Masked(RegSeen, 0, bit), Masked(RegFlags, FlagTraced, FlagTraced)}, []Action{
			LimitTo{MeterTraced},
			Load{All(RegSeen), bit},
			Hold{Traced, t},
			Resubmit{t},
		}})
	}
	return out
}

// traced returns the tables that show packets, in the order of their bits.
func traced() []Table {
	var out, later []Table
	for _, t := range Tables {
		switch t.Table {
		case TableClassify:
			// There the flags of what comes by a tunnel are not known yet.
		case TableTunnel:
			// Behind CheckLarger Open vSwitch cannot hold a packet without losing
			// what else there is to do with it. The agent knows what happens there.
		case TableSwitchSecurity:
			// Came when the others had their bits, which they keep: a restarted
			// agent of a later version replaces none of their flows.
			later = append(later, t.Table)
		default:
			out = append(out, t.Table)
		}
	}
	return append(out, later...)
}
