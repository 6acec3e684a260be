package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tuplenet/internal/status"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// expiryNotice is how long before its end a certificate is worth a note.
const expiryNotice = 30 * 24 * time.Hour

// checkStore tells whether each member of etcd answers, and whether the chassis
// in it can be read.
func checkStore(ctx context.Context, env *Env) []Finding {
	deployment, err := env.snapshot(ctx)
	if err != nil {
		return []Finding{bad("", err.Error(), "see the settings that name etcd")}
	}
	var findings []Finding
	if left := time.Until(env.expiry); !env.expiry.IsZero() && left < expiryNotice {
		say := note
		if left < 0 {
			say = bad
		}
		findings = append(findings, say("", "the certificate that it is shown expires at "+env.expiry.UTC().Format(time.RFC3339), "put another one with the same name in its place"))
	}
	for _, m := range deployment.Members {
		if m.Err == nil && len(m.Alarms) == 0 {
			role := ""
			if m.Leader {
				role = ", leads"
			}
			findings = append(findings, good(memberName(m.Name, m.Endpoint), "%s%s, answers in %s", m.Version, role, m.Took.Round(100*time.Microsecond)))
		}
	}
	for _, p := range deployment.EtcdProblems() {
		if len(p.Who) == 0 {
			findings = append(findings, bad("", p.What, p.Remedy))
		}
		for _, who := range p.Who {
			findings = append(findings, bad(who, p.What, p.Remedy))
		}
	}
	if deployment.StoreErr != nil {
		return findings
	}
	if err := env.fits(ctx); errors.Is(err, store.ErrVersion) {
		findings = append(findings, bad("", err.Error(), "use the programs of one version"))
	}
	if f, is := env.denied(ctx); is {
		findings = append(findings, f)
	}
	findings = append(findings, good("", "knows %d chassis", len(env.chassis(ctx))))
	for _, b := range deployment.Unfit {
		if b.Key.Kind == topology.KindChassis {
			findings = append(findings, bad(b.Key.Name, fmt.Sprintf("the chassis' record cannot be used: %v", b.Err),
				fmt.Sprintf("delete it with tpctl ch del %s and restart the agent of that host", b.Key.Name)))
		}
	}
	return findings
}

func memberName(name, endpoint string) string {
	if name == "" {
		return endpoint
	}
	return fmt.Sprintf("%s (%s)", name, endpoint)
}

// fits returns store.ErrVersion if the store is not one that this program knows.
func (e *Env) fits(ctx context.Context) error {
	st, err := e.Reach()
	if err != nil {
		return err
	}
	defer st.Close()
	ctx, cancel := context.WithTimeout(ctx, e.Wait)
	defer cancel()
	return st.Init(ctx)
}

// denied finds that etcd does not let this host's agent, if it asks as the doctor
// does, write what there is of its chassis.
func (e *Env) denied(ctx context.Context) (f Finding, is bool) {
	h, err := e.examined(ctx)
	if err != nil || h.Chassis == "" {
		return Finding{}, false
	}
	st, err := e.Reach()
	if err != nil {
		return Finding{}, false // told before
	}
	defer st.Close()
	ctx, cancel := context.WithTimeout(ctx, e.Wait)
	defer cancel()
	if !errors.Is(st.MayBe(ctx, store.Party{Duty: store.DutyNode, Of: h.Chassis}), store.ErrDenied) {
		return Finding{}, false
	}
	return bad("", fmt.Sprintf("%s may not write what there is of this host, chassis %s", st.Who(), h.Chassis),
		fmt.Sprintf("if the agent asks as that one, too, give it its own user, or let this one be it: tpctl auth add USER --node %s", h.Chassis)), true
}

// own returns what etcd says of this host: of the chassis with its system-id, or
// while that cannot be told of the one with its tunnel address.
func (e *Env) own(ctx context.Context) (status.Chassis, bool) {
	deployment, _ := e.snapshot(ctx)
	name := ""
	if h, err := e.examined(ctx); err == nil {
		name = h.Chassis
	}
	if name == "" {
		for _, c := range latest(e.chassis(ctx)) {
			if c.IP == e.TunnelIP {
				name = c.Name
			}
		}
	}
	i := slices.IndexFunc(deployment.Chassis, func(c status.Chassis) bool { return c.Name == name })
	if i < 0 {
		return status.Chassis{}, false
	}
	return deployment.Chassis[i], true
}

// checkOwnChassis tells whether other hosts know this one, by the address that
// its tunnels have, and take it for alive.
func checkOwnChassis(ctx context.Context, env *Env) []Finding {
	deployment, err := env.snapshot(ctx)
	if err != nil || deployment.StoreErr != nil {
		return nil
	}
	own, known := env.own(ctx)
	if !known || !own.Registered {
		return []Finding{env.unregistered(ctx, own)}
	}
	subject := named(topology.Chassis{Name: own.Name, IP: own.IP})
	var findings []Finding
	if env.TunnelIP.IsValid() && own.IP != env.TunnelIP {
		findings = append(findings, bad(subject, fmt.Sprintf("others send to %s, and this host's tunnels end at %s", own.IP, env.TunnelIP),
			"start the agent anew, or name the interface of the tunnels with --interface"))
	}
	for _, other := range env.chassis(ctx) {
		switch {
		case other.IP != own.IP || other.Name == own.Name:
		case other.Tick > own.Tick:
			findings = append(findings, bad(subject, fmt.Sprintf("chassis %s has the same address and a newer record, so that this one does not count", other.Name),
				fmt.Sprintf("give one of the hosts another address; if %[1]s is no more, tpctl ch del %[1]s", other.Name)))
		default:
			findings = append(findings, bad(subject, fmt.Sprintf("chassis %s has the same address, and an older record, which does not count", other.Name),
				fmt.Sprintf("delete it: tpctl ch del %s", other.Name)))
		}
	}
	if own.State == status.Down {
		findings = append(findings, bad(subject, "was declared down at "+own.Since.Format(time.RFC3339),
			"start the agent, which takes that back; if it runs, see in its log why it does not reach etcd"))
	}
	if own.Contender.IsValid() {
		findings = append(findings, bad(subject, fmt.Sprintf("another host, at %s, has the same system-id, and was refused", own.Contender),
			"give it its own, there: ovs-vsctl set Open_vSwitch . external_ids:system-id=NAME"))
	}
	if len(findings) == 0 {
		findings = append(findings, good(subject, "is this host"))
	}
	return findings
}

// unregistered says that this host has no record.
func (e *Env) unregistered(ctx context.Context, own status.Chassis) Finding {
	const start = "start the agent here, or name the interface of the tunnels with --interface"
	what := ", so that nobody sends to it"
	if len(own.Routers) > 0 {
		what += " nor by the routers that are pinned to it: " + strings.Join(own.Routers, ", ")
	}
	h, err := e.examined(ctx)
	for _, c := range e.chassis(ctx) {
		if err == nil && h.Chassis != "" && c.IP == e.TunnelIP {
			return bad("", fmt.Sprintf("none in etcd has this host's system-id %s%s; %s has its address %s", h.Chassis, what, c.Name, c.IP),
				fmt.Sprintf("start the agent here; if the host was called %[1]s before, tpctl ch del %[1]s", c.Name))
		}
	}
	if !e.TunnelIP.IsValid() {
		return bad("", fmt.Sprintf("none in etcd has this host's system-id %s%s", h.Chassis, what), start)
	}
	return bad("", fmt.Sprintf("none in etcd has this host's address %s%s", e.TunnelIP, what), start)
}

// checkRecordedMTU tells when packets that some hosts' workloads may send do
// not fit into the tunnels of others.
func checkRecordedMTU(ctx context.Context, env *Env) []Finding {
	chassis := latest(env.chassis(ctx))
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
	groups, details := make([]string, len(sizes)), make([]string, len(sizes))
	for i, mtu := range sizes {
		groups[i] = fmt.Sprintf("%d bytes on %s", mtu, some(byMTU[mtu]))
		details[i] = fmt.Sprintf("%d bytes on %s", mtu, strings.Join(byMTU[mtu], ", "))
	}
	verdict := bad("", "hosts differ: "+strings.Join(groups, "; "),
		fmt.Sprintf("give the NICs of all tunnels one MTU, or set all workloads to %d", sizes[0]))
	verdict.Details = details
	return []Finding{verdict}
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
