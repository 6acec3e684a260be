package doctor

import (
	"context"
	"fmt"
)

// checkBFD tells which tunnels lead nowhere, of those that Open vSwitch watches.
func checkBFD(ctx context.Context, env *Env) []Finding {
	if env.silent(ctx) {
		return nil
	}
	found, _ := env.read(ctx)
	var findings []Finding
	alive := 0
	for _, t := range found.Tunnels {
		switch {
		case !t.Watched:
		case t.Up:
			alive++
		case t.Refusing:
			findings = append(findings, bad(fmt.Sprintf("%s (%s)", t.Chassis, t.RemoteIP), "lives, and says that it cannot forward: its ways out have no link, or its flows are not in",
				fmt.Sprintf("see why: tpctl status %s, or tuplenet doctor there", t.Chassis)))
		case t.Heard:
			findings = append(findings, bad(fmt.Sprintf("%s (%s)", t.Chassis, t.RemoteIP), "its BFD packets come in, and it does not hear this host's",
				"let UDP port 6081 through from here to there, and see tuplenet doctor there"))
		case env.answers[t.RemoteIP]:
			findings = append(findings, bad(fmt.Sprintf("%s (%s)", t.Chassis, t.RemoteIP), "answers pings, and nothing comes through the tunnel",
				"let UDP port 6081 through, both ways, and see whether ovs-vswitchd runs there and its agent has BFD on: tpctl status "+t.Chassis))
		default:
			findings = append(findings, bad(fmt.Sprintf("%s (%s)", t.Chassis, t.RemoteIP), "finds no way to it",
				"see whether that host is up, and let UDP port 6081 through, both ways"))
		}
	}
	if alive > 0 {
		findings = append(findings, good("", "finds %d chassis alive that it watches", alive))
	}
	return findings
}
