package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// settingsFile is where an agent notes how it runs, in the run directory, for
// Verify.
const settingsFile = "settings.json"

// ErrNotNoted is in the error of Verify when no agent has noted how it runs: none
// ever ran there, or one of an earlier version.
var ErrNotNoted = errors.New("no agent has noted how it runs")

// settings are those of Config that bear on flows and ports.
type settings struct {
	OnDemand, Redirect, Untunnel bool
	Hash                         string
}

// noteSettings writes down how this agent runs.
func (a *agent) noteSettings() {
	content, err := json.Marshal(settings{a.OnDemand, a.Redirect, a.Untunnel, a.Hash})
	if err == nil {
		err = replaceFile(filepath.Join(a.RunDir, settingsFile), content)
	}
	if err != nil {
		a.log.Warn("cannot note how this agent runs; tuplenet doctor cannot tell whether the flows are as they should be", "error", err)
	}
}

// noted returns cfg with what the agent that runs with its run directory, or
// did last, has noted of itself.
func (cfg Config) noted() (Config, error) {
	content, err := os.ReadFile(filepath.Join(cfg.RunDir, settingsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return cfg, fmt.Errorf("%w in %s", ErrNotNoted, cfg.RunDir)
	}
	var s settings
	if err == nil {
		err = json.Unmarshal(content, &s)
	}
	if err != nil {
		return cfg, fmt.Errorf("how the agent runs: %w", err)
	}
	cfg.OnDemand, cfg.Redirect, cfg.Untunnel, cfg.Hash = s.OnDemand, s.Redirect, s.Untunnel, s.Hash
	return cfg, nil
}
