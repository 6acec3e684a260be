package status

import (
	"context"
	"time"

	"tuplenet/internal/store"
)

// Ask asks the agents of some chassis for their reports, and returns those that
// came within patience, by chassis; it does not wait longer than for the last of
// them. An agent of the original TupleNet does not answer.
func Ask(ctx context.Context, st *store.Store, chassis []string, detail bool, patience time.Duration) (map[string]Report, error) {
	reports := map[string]Report{}
	if len(chassis) == 0 {
		return reports, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conversation, err := st.Converse(ctx)
	if err != nil {
		return nil, err
	}
	// Whoever has not read the question by then need not.
	defer conversation.End(context.WithoutCancel(ctx))
	asked := map[string]bool{}
	for _, name := range chassis {
		asked[name] = true
	}
	id, err := conversation.Ask(ctx, chassis, Question(detail))
	if err != nil {
		return nil, err
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	for len(reports) < len(asked) {
		select {
		case a, open := <-conversation.Answers():
			if !open {
				return reports, ctx.Err()
			}
			// Another tool's command may have the same id.
			if a.Command != id || !asked[a.Chassis] || a.Properties["cmd_type"] != Command {
				continue
			}
			if r, err := ReportOf(a); err == nil {
				reports[a.Chassis] = r
			}
		case <-late.C:
			return reports, nil
		}
	}
	return reports, nil
}
