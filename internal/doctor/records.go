package doctor

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"tuplenet/internal/topology"
)

// checkStore tells whether etcd answers and the chassis in it can be read.
func checkStore(ctx context.Context, env *Env) []Finding {
	chassis, err := env.Chassis(ctx)
	if err != nil {
		return []Finding{bad("", err.Error(), "see whether etcd runs and can be reached from here")}
	}
	findings := []Finding{good("", "answers, and knows %d chassis", len(chassis))}
	for _, b := range env.unfit {
		findings = append(findings, bad(b.Key.Name, fmt.Sprintf("the chassis' record cannot be used: %v", b.Err),
			fmt.Sprintf("delete it with tpctl ch del %s and restart the agent of that host", b.Key.Name)))
	}
	return findings
}

// checkOwnChassis tells whether other hosts know this one by the address that
// its tunnels have.
func checkOwnChassis(ctx context.Context, env *Env) []Finding {
	all, err := env.Chassis(ctx)
	if err != nil {
		return nil
	}
	all = latest(all)
	i := slices.IndexFunc(all, func(c topology.Chassis) bool { return c.IP == env.TunnelIP })
	if i < 0 {
		return []Finding{bad("", fmt.Sprintf("none in etcd has this host's address %s, so that nobody sends to it", env.TunnelIP),
			"start the agent here, or name the interface of the tunnels with --interface")}
	}
	return []Finding{good(named(all[i]), "is this host")}
}

// checkRecordedMTU tells when packets that some hosts' workloads may send do
// not fit into the tunnels of others.
func checkRecordedMTU(ctx context.Context, env *Env) []Finding {
	all, _ := env.Chassis(ctx)
	chassis := latest(all)
	byMTU := map[int][]string{}
	for _, c := range chassis {
		if c.MTU != 0 { // agents that do not tell it know of none
			byMTU[c.MTU] = append(byMTU[c.MTU], c.Name)
		}
	}
	sizes := slices.Sorted(maps.Keys(byMTU))
	switch len(sizes) {
	case 0:
		return nil
	case 1:
		return []Finding{good("", "%d bytes on every host that tells it (%d of %d)", sizes[0], len(byMTU[sizes[0]]), len(chassis))}
	}
	groups := make([]string, len(sizes))
	for i, mtu := range sizes {
		groups[i] = fmt.Sprintf("%d bytes on %s", mtu, strings.Join(byMTU[mtu], ", "))
	}
	return []Finding{bad("", "hosts differ: "+strings.Join(groups, "; "),
		fmt.Sprintf("give the NICs of all tunnels one MTU, or set all workloads to %d", sizes[0]))}
}

// latest returns the chassis without records that a newer one with the same
// address has replaced.
func latest(chassis []topology.Chassis) []topology.Chassis {
	newest := map[netip.Addr]topology.Chassis{}
	for _, c := range chassis {
		if was, ok := newest[c.IP]; !ok || c.Tick > was.Tick {
			newest[c.IP] = c
		}
	}
	return slices.DeleteFunc(slices.Clone(chassis), func(c topology.Chassis) bool { return newest[c.IP] != c })
}
