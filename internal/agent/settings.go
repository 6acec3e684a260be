package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"tuplenet/internal/ovs"
	"tuplenet/internal/topology"
)

// Settings are what may change while an agent runs, see Config. All else takes a
// restart.
type Settings struct {
	OnDemand bool   // flows to ports on other chassis are made when traffic goes there
	Redirect bool   // edges forward what this node cannot deliver itself
	Untunnel bool   // what goes to the physical network leaves by the host's own stack
	Hash     string // what chooses among equal routes: a name of flows.Hashes; empty for the default
	// BFDMinRx and BFDMinTx are the shortest intervals between the BFD packets
	// that this node wants to receive and to send, in milliseconds; 0 leaves
	// Open vSwitch's defaults.
	BFDMinRx, BFDMinTx int
	IdleTimeout        time.Duration // after which flows on demand go that no packet has met

	// Collectors are told by IPFIX of one packet of so many as Sampling says, at
	// least 1; without any, Open vSwitch tells nobody.
	Collectors []netip.AddrPort
	Sampling   uint32
}

// IPFIX returns what a node with this tunnel address asks Open vSwitch for.
func (s Settings) IPFIX(tunnelIP netip.Addr) ovs.IPFIX {
	return ovs.IPFIX{Collectors: s.Collectors, Sampling: s.Sampling, Node: tunnelIP}
}

// attrs are the settings as the log has them.
func (s Settings) attrs() []any {
	return []any{"on_demand", s.OnDemand, "redirect", s.Redirect, "untunnel", s.Untunnel, "hash", s.Hash,
		"idle", s.IdleTimeout, "bfd_min_rx", s.BFDMinRx, "bfd_min_tx", s.BFDMinTx, "ipfix", s.Collectors, "ipfix_sampling", s.Sampling}
}

// reconfigure goes on with other settings, as an agent would that starts with them
// now.
func (a *agent) reconfigure(s Settings) {
	if reflect.DeepEqual(s, a.Settings) {
		return
	}
	a.log.Info("the settings have changed", s.attrs()...)
	a.Settings = s
	a.noteSettings()
	a.demands.ticker.Reset(a.demands.period())
	a.change(topology.Change{Entity: a.node()})
	a.leaveUntunnel()
	a.readOVS() // what it makes of ports depends on settings, too
}

// settingsFile is where an agent notes its Settings, in the run directory, for
// Verify.
const settingsFile = "settings.json"

// ErrNotNoted is in the error of Verify when no agent has noted how it runs: none
// ever ran there, or one of an earlier version.
var ErrNotNoted = errors.New("no agent has noted how it runs")

// noteSettings writes down how this agent runs.
func (a *agent) noteSettings() {
	content, err := json.Marshal(a.Settings)
	if err == nil {
		err = replaceFile(filepath.Join(a.RunDir, settingsFile), content)
	}
	if err != nil {
		a.log.Warn("cannot note how this agent runs; tuplenet doctor cannot tell whether the flows are as they should be", "error", err)
	}
}

// ReadSettings returns what the agent that runs with a run directory, or did last,
// has noted of itself.
func ReadSettings(runDir string) (Settings, error) {
	var s Settings
	content, err := os.ReadFile(filepath.Join(runDir, settingsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("%w in %s", ErrNotNoted, runDir)
	}
	if err == nil {
		err = json.Unmarshal(content, &s)
	}
	if err != nil {
		return s, fmt.Errorf("how the agent runs: %w", err)
	}
	return s, nil
}
