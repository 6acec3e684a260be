package doctor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"tuplenet/internal/agent"
)

// checkFlows tells whether the integration bridge holds the flows, and has the
// ports, that an agent would give it that starts now.
func checkFlows(ctx context.Context, env *Env) []Finding {
	found, err := env.read(ctx)
	switch {
	case found.Bridge == "":
		return nil
	case err != nil:
		return []Finding{bad("", err.Error(), "start ovs-vswitchd")}
	case len(found.Flows) == 0:
		return []Finding{bad("", found.Bridge+" holds no flows of TupleNet, so that no workload here is reached", "start the agent, or see its log if it runs")}
	}
	holds := fmt.Sprintf("%s holds %d flows of TupleNet; what they should be cannot be told: ", found.Bridge, len(found.Flows))
	if !env.TunnelIP.IsValid() {
		return []Finding{bad("", holds+"the tunnel address is not known", "see what is bad of it")}
	}
	d, err := env.verify(ctx)
	switch {
	case errors.Is(err, agent.ErrNotNoted):
		return []Finding{bad("", holds+err.Error(), "name the agent's run directory with --rundir, or start the agent anew if it is of an earlier version")}
	case err != nil:
		return []Finding{bad("", holds+err.Error(), "see what else is bad")}
	}
	// The verdict comes first: others read that line alone.
	verdict := good("", "%s holds %s", found.Bridge, d)
	if !d.None() {
		verdict = bad("", found.Bridge+" holds "+d.String(), mendFlows(d, found.Bridge))
		verdict.Details = d.Details()
	}
	findings := []Finding{verdict}
	if d.Unsaid != nil {
		findings = append(findings, note("", "whether somebody has changed flows by hand cannot be told: "+d.Unsaid.Error(), "see that ovs-ofctl is installed"))
	}
	if len(d.Foreign) > 0 {
		var tables []string
		for _, t := range slices.Sorted(maps.Keys(d.Foreign)) {
			tables = append(tables, fmt.Sprintf("%d in table %d (%s)", d.Foreign[t], t, t))
		}
		findings = append(findings, note("", "flows of others stand before those of TupleNet and may take packets from them: "+strings.Join(tables, ", "),
			"table 201 is there for them; see which: tpctl flows, or ovs-ofctl -O OpenFlow14 dump-flows "+found.Bridge))
	}
	return findings
}

// mendFlows returns what makes the flows right.
func mendFlows(d agent.Difference, bridge string) string {
	remedy := "see the agent's log; starting it anew makes them right"
	if len(d.Stuck) == 0 {
		return remedy
	}
	first := fmt.Sprintf("ovs-ofctl -O OpenFlow14 del-flows %s cookie=%#x/-1", bridge, d.Stuck[0])
	if n := len(d.Stuck) - 1; n > 0 {
		first += fmt.Sprintf(" (and so for %d more, see --verbose)", n)
	}
	return "delete what was changed by hand: " + first + "; " + remedy
}

// verifyPatience bounds how long etcd and Open vSwitch may take to be read.
const verifyPatience = 10 * time.Second

// verify compares Open vSwitch with what an agent that starts would make of it.
func (e *Env) verify(ctx context.Context) (agent.Difference, error) {
	ctx, cancel := context.WithTimeout(ctx, verifyPatience)
	defer cancel()
	return agent.Verify(ctx, e.Open, agent.Config{OVS: e.OVS, TunnelIP: e.TunnelIP, RunDir: e.RunDir, Log: slog.New(slog.DiscardHandler)})
}
