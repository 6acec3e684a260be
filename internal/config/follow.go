package config

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"strings"

	"tuplenet/internal/agent"
)

// Follower takes over what changes in the file of an agent that runs. What the agent
// was started with by flags and environment stays.
type Follower struct {
	Read    func(must bool) (*Resolved, error) // resolves the settings anew; with must, a file that is not there is an error
	Running *Resolved                          // what the agent was started with
	Level   *slog.LevelVar                     // of Log
	Changes chan<- agent.Settings              // of the agent
	Log     *slog.Logger

	now     *Resolved // what the file has said last, of what can be used
	said    string    // what was wrong with the file when it was read last
	waiting string    // the settings that have changed and need a restart, and how
}

// Run follows until ctx ends: hangup asks for the file to be read, and changed tells
// that it may say something else.
func (f *Follower) Run(ctx context.Context, hangup <-chan os.Signal, changed <-chan struct{}) {
	f.now = f.Running
	var out chan<- agent.Settings // nil while the agent has them all
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case out <- f.now.Settings:
			out = nil
			continue
		case <-hangup:
			asked = true
		case <-changed:
		}
		if f.reread(asked) {
			out = f.Changes
		}
	}
}

// reread takes over what the file says now, as far as that is possible, and reports
// whether the agent has something to take over, too. Who has asked gets an answer
// also if nothing has changed.
func (f *Follower) reread(asked bool) bool {
	// While an editor replaces a file it may not be there; nobody has deleted it.
	next, err := f.Read(!asked)
	if err != nil {
		if asked || err.Error() != f.said {
			for problem := range strings.SplitSeq(err.Error(), "\n") {
				f.Log.Error("the configuration cannot be used, the agent goes on as it was", "problem", problem)
			}
		}
		f.said = err.Error()
		return false
	}
	mended := f.said != ""
	f.said = ""
	before := f.now
	f.now = next

	var changes []any
	var waiting []string
	for i, v := range next.Values {
		switch was := before.Values[i]; {
		case v.Live && v.Text != was.Text:
			changes = append(changes, v.Key, arrow(was, v))
		case v.inFile() != was.inFile() && v.Origin.Source != FromFile && v.inFile() != "" && v.inFile() != v.Text:
			f.Log.Warn("what the file says of a setting has no effect, as something else counts before it", "setting", v.Key, "counts", v.Origin)
		}
		if running := f.Running.Values[i]; !v.Live && v.Text != running.Text {
			waiting = append(waiting, v.Key+": "+arrow(running, v))
		}
	}
	list := strings.Join(waiting, "; ")
	if list != "" && (asked || list != f.waiting) {
		f.Log.Warn("settings have changed that the agent takes over when it is started anew", "settings", list)
	}
	f.waiting = list

	// Told at the more talkative of the two levels, so that it is told at all.
	f.Level.Set(min(before.LogLevel, next.LogLevel))
	switch {
	case len(changes) > 0:
		f.Log.Info("the configuration has changed", append([]any{"file", cmp.Or(next.Path, "none")}, changes...)...)
	case asked || mended:
		f.Log.Info("the configuration was read; the agent has taken over all that it can while it runs", "file", cmp.Or(next.Path, "none"))
	}
	f.Level.Set(next.LogLevel)
	return len(changes) > 0
}

// arrow says what becomes of a value.
func arrow(from, to Value) string {
	return cmp.Or(from.Shown(), "none") + " -> " + cmp.Or(to.Shown(), "none")
}
