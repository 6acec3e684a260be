package audit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// carried is what depends on one chassis.
type carried struct {
	ports   []topology.SwitchPort // that its agent has bound
	patches []topology.SwitchPort // that an operator has bound
	routers []topology.Router     // that are pinned to it
}

func (c *carried) String() string {
	var parts []string
	port := func(p topology.SwitchPort) string { return p.Switch + "/" + p.Name }
	if len(c.ports) > 0 {
		parts = append(parts, count(c.ports, "port", port))
	}
	if len(c.patches) > 0 {
		parts = append(parts, count(c.patches, "patch port", port))
	}
	if len(c.routers) > 0 {
		parts = append(parts, count(c.routers, "router", func(r topology.Router) string { return r.Name }))
	}
	return strings.Join(parts, ", ")
}

// chassis finds what depends on hosts that are not there, and what is said of
// hosts that is not so.
func (a *audit) chassis() {
	all := map[string]*carried{}
	of := func(chassis string) *carried {
		if all[chassis] == nil {
			all[chassis] = &carried{}
		}
		return all[chassis]
	}
	for _, item := range a.items {
		switch item.Key.Kind {
		case topology.KindChassis, topology.KindPresence, topology.KindAbsence, topology.KindContender:
			of(item.Key.Name)
		}
	}
	for _, p := range a.switchPorts {
		switch {
		case p.Chassis == "":
		case p.Outer() && p.Peer != "":
			of(p.Chassis).patches = append(of(p.Chassis).patches, p)
		default:
			of(p.Chassis).ports = append(of(p.Chassis).ports, p)
		}
	}
	for _, r := range a.routers {
		if r.Chassis != "" {
			of(r.Chassis).routers = append(of(r.Chassis).routers, r)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		a.oneChassis(name, all[name])
	}
	a.mtu()
}

// oneChassis checks what the store says of one chassis against what depends on
// it.
func (a *audit) oneChassis(name string, has *carried) {
	key := topology.Chassis{Name: name}.Key()
	record := a.byKey[key]
	contact := a.byKey[topology.Presence{Chassis: name}.Key()]
	down := a.byKey[topology.Absence{Chassis: name}.Key()]
	contender := a.byKey[topology.Contender{Chassis: name}.Key()]
	alive := contact != nil && (contact.Err != nil || !contact.Entity.(topology.Presence).Stopped)
	stale := func(item *store.Item, what string) {
		a.found(StaleLiveness, item.Key, Finding{What: what, Remedy: []string{repairOnly(item.Path)}, Repair: &Repair{Action: RemoveKey, Item: *item}})
	}
	if contact != nil && contact.Err == nil && !contact.Leased {
		stale(contact, "it has no lease, so it would stay when the agent is gone")
	}
	switch {
	case contender == nil || contender.Err != nil:
	case !contender.Leased:
		stale(contender, "it has no lease, so it stays though that host is gone")
	default:
		a.found(SystemIDTwice, key, Finding{
			What: fmt.Sprintf("a second host, at %s, has the same system-id", contender.Value),
			Cure: "on that host, set another one and restart its agent: ovs-vsctl set Open_vSwitch . external_ids:system-id=NAME"})
	}
	if down != nil && down.Err == nil {
		switch {
		case alive && contact.Leased:
			a.found(DownContradicted, down.Key, Finding{What: "it is declared down, but its agent runs",
				Remedy: []string{repairOnly(down.Path)}, Repair: &Repair{Action: RemoveKey, Item: *down, While: contact}})
		case record == nil:
			a.found(DownLeftover, down.Key, Finding{What: "it is declared down, but has no record any more", Remedy: []string{a.del(key)},
				Repair: &Repair{Action: RemoveKey, Item: *down}})
		}
	}
	switch {
	case record == nil && alive && !contact.Leased:
		// Nobody knows before that is gone.
	case record == nil && alive:
		a.found(ChassisUnregistered, key, Finding{What: "its agent runs, but it has no record", Cure: "restart the agent there: it registers when it starts"})
	case record == nil:
		a.gone(key, has)
	case record.Err != nil || a.model.Get(key) == nil:
		// Told of by itself.
	case alive || contact != nil:
		// Up, or stopped a moment ago.
	case down != nil || record.Entity.(topology.Chassis).MTU > 0:
		since := "it is not heard of any more"
		if down != nil && down.Err == nil {
			since = "it is down since " + time.Unix(down.Entity.(topology.Absence).Since, 0).UTC().Format(time.RFC3339)
		}
		f := Finding{What: since, Cure: startAgent, Remedy: []string{a.del(key)}, Advice: ifGone}
		kind := ChassisDownIdle
		if text := has.String(); text != "" {
			kind = ChassisDown
			f.What += " and carries " + text
		}
		a.found(kind, key, f)
	}
}

// gone finds what is bound to a chassis without a record.
func (a *audit) gone(key topology.Key, has *carried) {
	if len(has.ports) > 0 {
		a.found(ChassisGone, key, Finding{What: "it has no record, and nobody hears of it, but it still has " + (&carried{ports: has.ports}).String(),
			Cure: startAgent, Remedy: []string{a.del(key)}, Advice: ifGone, Repair: &Repair{Action: ReleasePorts, Key: key}})
	}
	for _, p := range has.patches {
		a.found(PatchPortGone, p.Key(), Finding{What: "chassis " + key.Name + ", whose bridge " + p.Peer + " it leads to, has no record",
			Cure: startAgent, Remedy: []string{Command(append([]string{"tpctl", "patchport", "del"}, operands(p.Switch, p.Name)...)...)}, Advice: ifGone}, key)
	}
	for _, r := range has.routers {
		f := Finding{What: "chassis " + key.Name + ", which it is pinned to, has no record",
			Cure: startAgent, Remedy: []string{delAll(r.Key())}, Advice: ifGone}
		for _, p := range a.pluggedOf[r.Name] {
			if sp, ok := a.plugged(p); ok && a.leadsOut(sp.Switch) {
				f.Remedy = []string{Command("tpctl", "edge", "remove", "--vip", p.Net.Addr().String())}
				break
			}
		}
		a.found(RouterPinnedGone, r.Key(), f, key)
	}
}

// mtuSpan is by how many bytes the room for workloads' packets may differ from
// host to host without being worth a word: that of other tunnels and tags.
const mtuSpan = 100

// mtu finds hosts whose tunnels have much less, or much more, room than most.
func (a *audit) mtu() {
	hosts := map[int]int{}
	var all []topology.Chassis
	for c := range a.model.Chassis() {
		if c.MTU > 0 {
			hosts[c.MTU]++
			all = append(all, c)
		}
	}
	if len(hosts) < 2 {
		return
	}
	usual := slices.MaxFunc(slices.Collect(maps.Keys(hosts)), func(x, y int) int { return cmp.Or(cmp.Compare(hosts[x], hosts[y]), cmp.Compare(x, y)) })
	for _, c := range all {
		if c.MTU > usual+mtuSpan || c.MTU < usual-mtuSpan {
			a.found(MTUDiffers, c.Key(), Finding{
				What: fmt.Sprintf("its tunnels have room for packets of %d bytes, those of most hosts for %d", c.MTU, usual),
				Cure: fmt.Sprintf("on that host, give the NIC of %s an MTU of %d: ip link set NIC mtu %[2]d", c.IP, usual+62)})
		}
	}
}
