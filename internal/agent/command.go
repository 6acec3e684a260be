package agent

import (
	"context"

	"tuplenet/internal/status"
	"tuplenet/internal/store"
)

// command does what a tool asks this node for, through etcd. It must not wait:
// answers are written beside the loop.
func (a *agent) command(ctx context.Context, c store.Command) {
	switch c.Properties["cmd"] {
	case status.Command:
		a.reporter.answer(c.ID, a.report(status.WantsDetail(c.Properties)))
	case traceCommand:
		a.tracer.begin(c)
	default:
		a.log.Debug("ignoring a command that this version does not know", "command", c.Properties)
	}
}
