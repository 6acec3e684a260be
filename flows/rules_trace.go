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
	bit := uint64(1)
	for _, t := range Tables {
		switch t.Table {
		case TableClassify:
			continue // there the flags of what comes by a tunnel are not known yet
		case TableTunnel:
			// Behind CheckLarger Open vSwitch cannot hold a packet without losing
			// what else there is to do with it. The agent knows what happens there.
			continue
		}
		out = append(out, Flow{t.Table, prioTrace, []Match{Masked(RegSeen, 0, bit), Masked(RegFlags, FlagTraced, FlagTraced)}, []Action{
			LimitTo{MeterTraced},
			Load{All(RegSeen), bit},
			Hold{Traced, t.Table},
			Resubmit{t.Table},
		}})
		bit <<= 1
	}
	return out
}
