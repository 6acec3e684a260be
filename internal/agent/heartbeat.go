package agent

import (
	"context"
	"time"
)

// firstHeartbeats is how often Heartbeat is called until the node does all that is
// asked of it for the first time: others may wait for that.
const firstHeartbeats = 200 * time.Millisecond

// beat calls Heartbeat as often as the agent's loop turns, until ctx ends. As long
// as the agent waits for etcd or Open vSwitch to begin with, there is no loop to
// wait for.
func (a *agent) beat(ctx context.Context) {
	wait := firstHeartbeats
	for {
		missing := a.missing(a.figures(ctx)) // which the loop answers
		if ctx.Err() != nil {
			return
		}
		a.Heartbeat(missing)
		if len(missing) == 0 {
			wait = a.HeartbeatEvery
		}
		if !pause(ctx, wait) {
			return
		}
	}
}
