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
