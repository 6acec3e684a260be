package doctor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"tuplenet/internal/agent"
	"tuplenet/internal/ovs"
)

// checkAgent tells whether an agent runs on this host.
func checkAgent(_ context.Context, env *Env) []Finding {
	pid, err := agent.RunningIn(env.RunDir)
	if err != nil {
		return []Finding{bad("", err.Error(), "run it as root")}
	}
	if pid == 0 {
		return []Finding{bad("", fmt.Sprintf("none holds the run directory %s; flows and tunnels stay as they were", env.RunDir),
			"start it, or name its run directory with --rundir")}
	}
	return []Finding{good("", "runs with pid %d in %s", pid, env.RunDir)}
}

// checkOVS tells whether Open vSwitch answers and has what an agent needs.
func checkOVS(ctx context.Context, env *Env) []Finding {
	found, err := env.inOVS(ctx)
	switch {
	case err != nil && found == (ovsState{}):
		return []Finding{bad("", err.Error(), "start Open vSwitch, or name the directory of its sockets with --ovs-rundir")}
	case found.chassis == "":
		return []Finding{bad("", "has no system-id, so that this host has no name",
			"give it one: ovs-vsctl set Open_vSwitch . external_ids:system-id=NAME")}
	case found.bridge == "":
		return []Finding{bad("", "answers, and has no integration bridge br-int", "start the agent, which makes it")}
	}
	return []Finding{good("", "answers; its system-id is %s, and %s is there", found.chassis, found.bridge)}
}

// checkFlows tells whether the integration bridge holds the flows, and has the
// ports, that an agent would give it that starts now.
func checkFlows(ctx context.Context, env *Env) []Finding {
	found, err := env.inOVS(ctx)
	switch {
	case found.bridge == "":
		return nil
	case err != nil:
		return []Finding{bad("", err.Error(), "start ovs-vswitchd")}
	case found.flows == 0:
		return []Finding{bad("", found.bridge+" holds none of TupleNet's, so that no workload here is reached", "start the agent, or see its log if it runs")}
	}
	difference, err := env.verify(ctx)
	switch {
	case errors.Is(err, agent.ErrNotNoted):
		return []Finding{good("", "%s holds %d of TupleNet's", found.bridge, found.flows)}
	case err != nil:
		return []Finding{bad("", fmt.Sprintf("%s holds %d of TupleNet's; what they should be cannot be told: %v", found.bridge, found.flows, err),
			"see what else is bad")}
	case !difference.None():
		return []Finding{bad("", found.bridge+" holds "+difference.String(), "see the agent's log; starting it anew makes them right")}
	}
	return []Finding{good("", "%s holds %s", found.bridge, difference)}
}

// verifyPatience bounds how long etcd and Open vSwitch may take to be read.
const verifyPatience = 10 * time.Second

// verify compares Open vSwitch with what an agent that starts would make of it.
func (e *Env) verify(ctx context.Context) (agent.Difference, error) {
	ctx, cancel := context.WithTimeout(ctx, verifyPatience)
	defer cancel()
	return agent.Verify(ctx, e.Open, agent.Config{OVS: e.OVS, TunnelIP: e.TunnelIP, RunDir: e.RunDir, Log: slog.New(slog.DiscardHandler)})
}

// ovsState is what the checks look at in this host's Open vSwitch.
type ovsState struct {
	chassis, bridge string
	flows           int
}

// inOVS looks into this host's Open vSwitch, once. With an error about the
// flows it returns the rest.
func (e *Env) inOVS(ctx context.Context) (ovsState, error) {
	if !e.ovsRead {
		e.ovsRead = true
		var r ovs.Remains
		r, e.ovsErr = ovs.FindRemains(ctx, e.OVS)
		e.ovsFound = ovsState{r.Chassis, r.Bridge, r.Flows}
	}
	return e.ovsFound, e.ovsErr
}
