package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"tuplenet/internal/ovs"
	"tuplenet/internal/topology"
)

// minVersion is the oldest Open vSwitch that an agent works with.
var minVersion = [2]int{2, 10}

// checkOVS tells whether Open vSwitch answers and has what an agent needs.
func checkOVS(ctx context.Context, env *Env) []Finding {
	h, err := env.examined(ctx)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return []Finding{bad("", err.Error(), "run it as root")}
	case err != nil:
		return []Finding{bad("", err.Error(), "start Open vSwitch, or name the directory of its sockets by OVS_RUNDIR")}
	}
	var findings []Finding
	var major, minor int
	switch n, _ := fmt.Sscanf(h.Version, "%d.%d", &major, &minor); {
	case h.VersionErr != nil:
		findings = append(findings, bad("", "ovsdb-server answers, and ovs-vswitchd does not: "+h.VersionErr.Error(), "start ovs-vswitchd, or see its log"))
	case n == 2 && (major < minVersion[0] || major == minVersion[0] && minor < minVersion[1]):
		findings = append(findings, bad("", fmt.Sprintf("is version %s", h.Version), fmt.Sprintf("install %d.%d or later", minVersion[0], minVersion[1])))
	}
	if h.Chassis == "" {
		findings = append(findings, bad("", "has no system-id, so that this host has no name",
			"give it one: ovs-vsctl set Open_vSwitch . external_ids:system-id=NAME"))
	} else if err := topology.CheckName(h.Chassis); err != nil {
		findings = append(findings, bad("", fmt.Sprintf("its system-id is an %v", err),
			"set another one: ovs-vsctl set Open_vSwitch . external_ids:system-id=NAME"))
	}
	findings = append(findings, checkBridge(env, h)...)
	if len(findings) == 0 {
		findings = append(findings, good("", "%s answers; its system-id is %s, and %s is there, with datapath %s", h.Version, h.Chassis, h.Bridge, h.Datapath))
	}
	return findings
}

func checkBridge(env *Env, h ovs.Health) (findings []Finding) {
	if h.Bridge == "" {
		return []Finding{bad("", "has no integration bridge "+cmp.Or(env.OVS.Bridge, "br-int"), "start the agent, which makes it")}
	}
	if h.FailMode != "secure" {
		findings = append(findings, bad(h.Bridge, "its fail mode is standalone, in which it forwards without flows, as an ordinary switch does",
			"set it: ovs-vsctl set-fail-mode "+h.Bridge+" secure"))
	}
	if len(h.Protocols) > 0 && !slices.Contains(h.Protocols, "OpenFlow14") {
		findings = append(findings, bad(h.Bridge, "does not speak OpenFlow 1.4, but "+strings.Join(h.Protocols, ", "),
			"let it: ovs-vsctl add bridge "+h.Bridge+" protocols OpenFlow14"))
	}
	return findings
}
