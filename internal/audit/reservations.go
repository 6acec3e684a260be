package audit

import (
	"fmt"
	"net/netip"
	"time"

	"tuplenet/internal/store"
)

// How long what is reserved for Docker may be without anything that has it, or
// stay reserved when something has it.
const (
	reservedForNetwork = time.Hour
	reservedForPort    = 24 * time.Hour
	reservedBeside     = time.Minute
)

// reserved is what reservations have in common of which the same is to be said.
type reserved struct {
	subnet  netip.Prefix
	chassis string
	kind    Kind
	what    string
}

// reservations finds what is reserved for Docker and not needed any more.
func (a *audit) reservations(now time.Time) {
	bySubnet := map[netip.Prefix][]*store.Network{}
	for _, item := range a.dockered.networks {
		bySubnet[item.Network.Subnet] = append(bySubnet[item.Network.Subnet], item.Network)
	}
	var order []reserved
	members := map[reserved][]*store.Item{}
	for _, item := range a.dockered.reservations {
		r := item.Reservation
		kind, what := a.judge(r, bySubnet[r.Subnet], now.Sub(time.Unix(r.Since, 0)))
		if kind == 0 {
			continue
		}
		key := reserved{r.Subnet, r.Chassis, kind, what}
		if members[key] == nil {
			order = append(order, key)
		}
		members[key] = append(members[key], item)
	}
	for _, key := range order {
		a.foundReserved(key, members[key])
	}
}

// judge says what is wrong with a reservation of some age in the subnet of
// networks; 0: nothing.
func (a *audit) judge(r *store.Reservation, networks []*store.Network, age time.Duration) (Kind, string) {
	isSwarm := false // where virtual addresses of services are reserved as long as these last
	for _, n := range networks {
		isSwarm = isSwarm || n.Scope == store.ScopeSwarm
		// A local network of another host has addresses of its own.
		if !r.IP.IsValid() || age < reservedBeside || n.Scope == store.ScopeLocal && n.Chassis != r.Chassis {
			continue
		}
		if _, ok := a.portAt(n.Switch, r.IP); ok {
			return DockerReservationLeft, "a port has it by now"
		}
	}
	switch {
	case a.isGone(r.Chassis):
		return DockerReservationLeft, "that chassis has no record, and nobody hears of it"
	case !r.IP.IsValid() && len(networks) > 0 && age > reservedBeside:
		return DockerReservationLeft, "a Docker network has it by now"
	case len(networks) == 0 && age > reservedForNetwork:
		return DockerReservationOld, "no Docker network has that subnet"
	case len(networks) > 0 && age > reservedForPort && !isSwarm:
		return DockerReservationOld, "no port has it"
	}
	return 0, ""
}

// foundReserved adds one finding for reservations of which the same is to be said.
func (a *audit) foundReserved(key reserved, list []*store.Item) {
	first := list[0].Reservation
	object := first.Subnet.String()
	if first.IP.IsValid() {
		object = first.IP.String()
	}
	since := time.Unix(first.Since, 0).UTC().Format(time.RFC3339)
	f := Finding{What: fmt.Sprintf("%s is reserved for the Docker of %s since %s, and %s", object, key.chassis, since, key.what)}
	if more := len(list) - 1; more > 0 {
		f.What += fmt.Sprintf("; so with %d more of %s", more, key.subnet)
	}
	if key.kind == DockerReservationLeft {
		f.Remedy = []string{repairOnly(list[0].Path)}
		f.Repair = &Repair{Action: RemoveKey, Item: *list[0]}
		for _, item := range list[1:] {
			f.Repair.More = append(f.Repair.More, *item)
		}
	} else {
		f.Cure = "see what Docker lists there (docker network inspect); if its plugin runs there, it ends what Docker does not know"
		for _, item := range list {
			f.Remedy = append(f.Remedy, forget(item))
		}
		f.Advice = "if Docker does not list it"
	}
	a.foundKey(key.kind, *list[0], f)
	found := &a.findings[len(a.findings)-1]
	found.Names = append(found.Names, key.chassis, key.subnet.String())
	for _, item := range list[1:] {
		found.Names = append(found.Names, namesOf(item.Path)...)
	}
}
