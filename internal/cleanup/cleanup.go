// Package cleanup takes what TupleNet has made off a host: flows, ports and
// sysctls of an agent that is to run there no more, and the files of its run
// directory. It knows what there is from the packages that have made it, and
// keeps no list of its own.
//
// It does not touch the store: other hosts send to this one until its chassis
// record is deleted there. modes/cleanup.go is the only caller.
package cleanup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"tuplenet/internal/agent"
	"tuplenet/internal/ovs"
)

// Config says what to clean.
type Config struct {
	OVS    ovs.Config
	RunDir string // of the agent
	Bridge bool   // the integration bridge goes, too, with all ports in it
}

// Item is a thing of TupleNet on this host.
type Item struct {
	Kind string `json:"kind"` // flows, port, ipfix, hold, bridge, sysctl or file
	Name string `json:"name"` // for flows and ipfix, that of their bridge
	Note string `json:"note,omitempty"`
}

// Report is what there is, or what was removed.
type Report struct {
	Chassis string // the host's name in the store; empty if it has none
	Items   []Item
}

// Find looks for what Remove would remove, and changes nothing. With an error
// it reports what it has found all the same.
func Find(ctx context.Context, cfg Config) (Report, error) {
	remains, ovsErr := ovs.FindRemains(ctx, cfg.OVS)
	r := Report{remains.Chassis, items(remains, cfg.Bridge)}
	changed, err := agent.ChangedSysctls(cfg.RunDir)
	for _, s := range changed {
		r.Items = append(r.Items, Item{"sysctl", s.Name, fmt.Sprintf("%s, to be %s again", s.Set, s.Was)})
	}
	for _, path := range agent.RunFiles(cfg.RunDir) {
		r.Items = append(r.Items, Item{Kind: "file", Name: path})
	}
	return r, errors.Join(ovsErr, err)
}

// Remove takes away what there is and reports that. What cannot be removed
// keeps nothing else in place; the error names all of it, and the next Remove
// tries again. It must run in the host's network namespace, and while
// agent.HoldRunDir keeps agents away.
func Remove(ctx context.Context, cfg Config) (Report, error) {
	remains, ovsErr := ovs.RemoveRemains(ctx, cfg.OVS, cfg.Bridge)
	r := Report{remains.Chassis, items(remains, cfg.Bridge)}
	files := agent.RunFiles(cfg.RunDir)
	restored, sysctlErr := agent.RestoreSysctls(cfg.RunDir)
	for _, name := range restored {
		r.Items = append(r.Items, Item{"sysctl", name, "as it was before"})
	}
	fileErr := agent.RemoveRunFiles(cfg.RunDir)
	left := agent.RunFiles(cfg.RunDir)
	for _, path := range files {
		if !slices.Contains(left, path) {
			r.Items = append(r.Items, Item{Kind: "file", Name: path})
		}
	}
	return r, errors.Join(ovsErr, sysctlErr, fileErr)
}

// items tells what is in an Open vSwitch; the bridge is an item only if it is to
// go.
func items(r ovs.Remains, bridgeToo bool) (list []Item) {
	if r.Flows > 0 {
		list = append(list, Item{"flows", r.Bridge, fmt.Sprintf("%d of TupleNet's", r.Flows)})
	}
	for _, p := range r.Ports {
		note := fmt.Sprintf("%s, in %s", p.Type, p.Bridge)
		if p.Owner != "" {
			note = fmt.Sprintf("in %s, used by container %s", p.Bridge, p.Owner)
		}
		list = append(list, Item{"port", p.Name, note})
	}
	if r.IPFIX != "" {
		list = append(list, Item{"ipfix", r.Bridge, r.IPFIX})
	}
	if r.Held {
		list = append(list, Item{"hold", "flow-restore-wait", "an ovs-vswitchd that starts forwards nothing until an agent runs"})
	}
	if r.Bridge != "" && bridgeToo {
		note := "without other ports"
		if len(r.Others) > 0 {
			note = "with the other ports " + strings.Join(r.Others, ", ")
		}
		list = append(list, Item{"bridge", r.Bridge, note})
	}
	return list
}
