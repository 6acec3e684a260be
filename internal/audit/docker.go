package audit

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// dockered is what the plugin for Docker keeps, as the checks read it.
type dockered struct {
	networks     []*store.Item            // those that can be read
	byID         map[string]*store.Item   // those that cannot, too
	bySwitch     map[string][]*store.Item // those that can be read
	reservations []*store.Item            // those that can be read
	unreadable   []*store.Item
}

func (d *dockered) add(item *store.Item) {
	if d.byID == nil {
		d.byID, d.bySwitch = map[string]*store.Item{}, map[string][]*store.Item{}
	}
	switch {
	case item.Network != nil:
		d.networks = append(d.networks, item)
		d.byID[item.Network.ID] = item
		d.bySwitch[item.Network.Switch] = append(d.bySwitch[item.Network.Switch], item)
	case item.Reservation != nil:
		d.reservations = append(d.reservations, item)
	default:
		d.unreadable = append(d.unreadable, item)
		if dir, id := cutLast(item.Path); strings.HasSuffix(dir, "/network") {
			d.byID[id] = item
		}
	}
}

// cutLast cuts a path before its last element.
func cutLast(path string) (dir, name string) {
	at := strings.LastIndexByte(path, '/')
	return path[:max(at, 0)], path[at+1:]
}

// namesAt returns the names of the Docker networks on a switch, or on that of a
// port.
func (d *dockered) namesAt(key topology.Key) (names []string) {
	sw := key.Name
	switch key.Kind {
	case topology.KindSwitch:
	case topology.KindSwitchPort:
		sw = key.Parent
	default:
		return nil
	}
	for _, item := range d.bySwitch[sw] {
		names = append(names, item.Network.Name, item.Network.ID)
	}
	return names
}

// owner names what a port belongs to.
func (d *dockered) owner(p topology.SwitchPort) string {
	id := p.DockerNetwork()
	switch item := d.byID[id]; {
	case id == "":
		return p.Owner
	case item != nil && item.Network != nil:
		id = item.Network.String()
	}
	return "a container of Docker network " + topology.ShortDockerID(id)
}

// object names a network as the object of a finding.
func object(n *store.Network) string { return "Docker network " + n.Title() }

// foundNetwork adds a finding about a network of Docker.
func (a *audit) foundNetwork(kind Kind, item *store.Item, f Finding) {
	n := item.Network
	f.Kind, f.Object = kind, object(n)
	f.Names = append(namesOf(item.Path), n.Name, n.Switch, n.Router, n.Chassis)
	a.findings = append(a.findings, f)
}

// docker checks what the plugin for Docker keeps against what there is.
func (a *audit) docker(now time.Time) {
	for _, item := range a.dockered.unreadable {
		f := Finding{What: fmt.Sprintf("its value %q cannot be used: %v", item.Value, item.Err), Remedy: []string{forget(item)}}
		if _, id := cutLast(item.Path); a.dockered.byID[id] != item {
			f.Remedy, f.Repair = []string{repairOnly(item.Path)}, &Repair{Action: RemoveKey, Item: *item}
		}
		a.foundKey(DockerRecordUnreadable, *item, f)
	}
	for _, item := range a.dockered.networks {
		n := item.Network
		if a.byKey[topology.Switch{Name: n.Switch}.Key()] == nil {
			a.switchless(item)
			continue
		}
		if missing := a.lostLink(n); len(missing) > 0 {
			a.foundNetwork(DockerLinkMissing, item, a.relinkNetwork(n, missing))
		} else {
			a.gateway(item)
		}
		switch {
		case n.Scope == store.ScopeLocal && a.isGone(n.Chassis):
			a.abandonedNetwork(DockerNetworkLeaked, item, Finding{What: "only the Docker of " + n.Chassis + " knew it, and that chassis has no record, and nobody hears of it",
				Cure: startAgent + ", and remove it " + removeInDocker(n), Advice: ifGone})
		case n.Scope == store.ScopeLocal && n.Name == "" && !slices.ContainsFunc(a.portsOf[n.Switch], isWorkload):
			a.abandonedNetwork(DockerNetworkUnlisted, item, Finding{What: "Docker on " + n.Chassis + " has not said that it has it, and no container is on it",
				Cure: "see whether it is there, on " + n.Chassis + ": " + Command("docker", "network", "inspect", n.ID), Advice: "if it is not there"})
		case n.Freed && !slices.ContainsFunc(a.portsOf[n.Switch], isWorkload):
			a.abandonedNetwork(DockerNetworkLeaked, item, Finding{What: "Docker has removed it, and no port of it is left", Cure: "start the plugin for Docker on any host, which ends it"})
		}
	}
	a.unrecorded()
	a.reservations(now)
}

// forget is the command that deletes what the plugin keeps.
func forget(item *store.Item) string { return Command("etcdctl", "del", item.Path) }

// removeInDocker is what removes a network as a whole.
func removeInDocker(n *store.Network) string {
	where := "in Docker"
	if n.Chassis != "" {
		where = "on " + n.Chassis
	}
	return where + ": " + Command("docker", "network", "rm", n.String())
}

// isGone reports whether a chassis has neither a record nor an agent that runs.
func (a *audit) isGone(chassis string) bool {
	return chassis != "" && a.byKey[topology.Chassis{Name: chassis}.Key()] == nil && a.byKey[topology.Presence{Chassis: chassis}.Key()] == nil
}

// switchless finds a network without its switch.
func (a *audit) switchless(item *store.Item) {
	n := item.Network
	sw := topology.Switch{Name: n.Switch}.Key()
	f := Finding{What: "its switch " + n.Switch + " does not exist"}
	if a.hasChildren(sw) {
		f.Follows = sw.String()
		a.foundNetwork(DockerSwitchMissing, item, f)
		return
	}
	f.Cure = "remove it " + removeInDocker(n) + ", and make it again"
	if !n.Made {
		f.Cure = "make that again: " + tpctl(sw.Kind, "add", n.Switch) + "; or " + f.Cure
	}
	if key := linkKey(n); a.byKey[key] != nil {
		f.Remedy = []string{a.del(key)}
	}
	f.Remedy = append(f.Remedy, forget(item))
	f.Advice = "if Docker does not know it any more"
	a.foundNetwork(DockerSwitchMissing, item, f)
}

// hasChildren reports whether anything is kept under the name of a switch or
// router.
func (a *audit) hasChildren(device topology.Key) bool {
	return slices.ContainsFunc(a.items, func(item store.Item) bool { return item.Role == store.Object && item.Key.ParentKey() == device })
}

// linkKey is the key of the router's port in the link of a network, see
// store.Network.Link.
func linkKey(n *store.Network) topology.Key {
	return topology.RouterPort{Router: n.Router, Name: "to_" + n.ID}.Key()
}

// EndsLink reports whether a port is an end of the link of a network to its
// router, see store.Network.Link: tpctl deletes it by force only.
func EndsLink(n store.Network, port topology.Stored) bool {
	switch p := port.(type) {
	case topology.SwitchPort:
		return p.Switch == n.Switch && p.Peer == "to_"+n.ID
	case topology.RouterPort:
		return p.Router == n.Router && p.Name == "to_"+n.ID
	}
	return false
}

// endsLink reports whether a port is an end of the link of any network.
func (a *audit) endsLink(key topology.Key) bool {
	item := a.byKey[key]
	return item != nil && slices.ContainsFunc(a.dockered.networks, func(n *store.Item) bool { return EndsLink(*n.Network, item.Entity) })
}

// lostLink returns which ends of the link of a network to its router are gone. An
// end that is there and does not count, or belongs to another, is told of by itself.
func (a *audit) lostLink(n *store.Network) (missing []topology.Kind) {
	if n.Router == "" || !n.Gateway.IsValid() {
		return nil
	}
	key := linkKey(n)
	end := a.linkEnd(n)
	rp, ok := a.model.Get(key).(topology.RouterPort)
	if end == "" && (!ok || !a.isNamed(topology.KindSwitchPort, rp.Peer)) {
		missing = append(missing, topology.KindSwitchPort)
	}
	if !ok && !a.isNamed(topology.KindRouterPort, key.Name) {
		missing = append(missing, topology.KindRouterPort)
	}
	return missing
}

// linkEnd returns the name of the switch's port in the link of a network, if
// there is one.
func (a *audit) linkEnd(n *store.Network) string {
	peer := linkKey(n).Name
	for _, p := range a.portsOf[n.Switch] {
		if p.Peer == peer {
			return p.Name
		}
	}
	return ""
}

// relinkNetwork tells how the ends of a link that are missing are made again.
func (a *audit) relinkNetwork(n *store.Network, missing []topology.Kind) Finding {
	f := Finding{What: "its link to router " + n.Router + " is gone"}
	if len(missing) == 1 {
		f.What = fmt.Sprintf("of its link to router %s the %s is gone", n.Router, missing[0])
	}
	port := a.linkEnd(n)
	if rp, ok := a.model.Get(linkKey(n)).(topology.RouterPort); ok && port == "" {
		port = rp.Peer
	}
	if port == "" {
		port = "to_" + n.Router
		if a.isNamed(topology.KindSwitchPort, port) {
			port = n.ID + "_" + port
		}
	}
	sp, rp := n.Link(port)
	if has, ok := a.portAt(n.Switch, n.Gateway); ok && has.Name != port {
		f.Cure = fmt.Sprintf("%s has the gateway's address %s: delete that, and look again", has.Key(), n.Gateway)
		return f
	}
	if a.byKey[rp.Key().ParentKey()] == nil {
		f.What += ", and so is the router"
		f.Remedy = append(f.Remedy, tpctl(topology.KindRouter, "add", n.Router))
	}
	for _, kind := range missing {
		if kind == topology.KindSwitchPort {
			f.Remedy = append(f.Remedy, addPort(sp))
		} else {
			f.Remedy = append(f.Remedy, addRouterPort(rp))
		}
	}
	return f
}

// partOfLink returns the finding about an end of a link whose other end is gone,
// given the name of the router's port: what is f without Docker, follows from its
// network's if that has one.
func (a *audit) partOfLink(routerPort string, f Finding) Finding {
	id, ok := strings.CutPrefix(routerPort, "to_")
	if item := a.dockered.byID[id]; ok && item != nil && item.Network != nil {
		n := item.Network
		switch sw := (topology.Switch{Name: n.Switch}).Key(); {
		case a.byKey[sw] == nil && a.hasChildren(sw):
			return Finding{What: f.What, Follows: sw.String()}
		case a.byKey[sw] == nil, len(a.lostLink(n)) > 0:
			return Finding{What: f.What, Follows: object(n)}
		}
	}
	return f
}

// gateway finds a network whose containers are to send to nobody.
func (a *audit) gateway(item *store.Item) {
	n := item.Network
	if n.Internal || !n.Gateway.IsValid() {
		return
	}
	if _, ok := a.portAt(n.Switch, n.Gateway); ok {
		return
	}
	var routers []topology.RouterPort
	for _, p := range a.portsOf[n.Switch] {
		if rp, ok := a.routerPortNamed(p.Peer); ok && rp.Peer == p.Name {
			routers = append(routers, rp)
		}
	}
	if len(routers) == 0 {
		return // nobody was promised a way out
	}
	a.foundNetwork(DockerGatewayMissing, item, Finding{
		What: fmt.Sprintf("nobody has its gateway's address %s in switch %s, where %s", n.Gateway, n.Switch,
			some(routers, func(p topology.RouterPort) string { return "router " + p.Router + " has " + p.Net.String() })),
		Cure: "give a router that address there; or remove it " + removeInDocker(n) + ", and make it again with the gateway that there is"})
}

// abandonedNetwork adds a finding about a network that no Docker may know.
func (a *audit) abandonedNetwork(kind Kind, item *store.Item, f Finding) {
	n := item.Network
	f.Remedy = []string{forget(item)}
	if n.Made && len(a.dockered.bySwitch[n.Switch]) == 1 {
		f.Remedy = []string{Command(append([]string{"tpctl", "ls", "del", "-r", "--force"}, operands(n.Switch)...)...)}
	}
	a.foundNetwork(kind, item, f)
}

// unrecorded finds what belongs to networks that there is no record of.
func (a *audit) unrecorded() {
	for _, sw := range a.switches {
		if topology.IsDockerID(sw.Name) && a.dockered.bySwitch[sw.Name] == nil && a.dockered.byID[sw.Name] == nil &&
			!slices.ContainsFunc(a.portsOf[sw.Name], isWorkload) {
			a.abandoned(sw)
		}
	}
	var leaked families
	for _, p := range a.switchPorts {
		// One that is on no chassis is told of by itself.
		if id := p.DockerNetwork(); id != "" && id != p.Switch && p.Chassis != "" && a.dockered.byID[id] == nil {
			leaked.add(p, id)
		}
	}
	for _, f := range leaked.order {
		list := leaked.members[f]
		finding := Finding{What: a.dockered.owner(list[0]) + ", of which there is no record, has it",
			Cure: "as long as the container runs on " + list[0].Chassis + ", leave it"}
		if more := len(list) - 1; more > 0 {
			finding.What += fmt.Sprintf("; so with %d more of the switch's ports", more)
		}
		var others []topology.Key
		for i, p := range list {
			finding.Remedy = append(finding.Remedy, a.del(p.Key()))
			if i > 0 {
				others = append(others, p.Key())
			}
		}
		a.found(DockerEndpointLeaked, list[0].Key(), finding, others...)
	}
}

// abandoned finds a switch that nobody may need.
func (a *audit) abandoned(sw topology.Switch) {
	var remedy []string
	for _, p := range a.portsOf[sw.Name] {
		if rp, ok := a.routerPortNamed(p.Peer); ok && rp.Peer == p.Name {
			remedy = append(remedy, a.del(rp.Key()))
		}
	}
	a.found(DockerNetworkUnrecorded, sw.Key(), Finding{What: "it has the name of a Docker network that there is no record of, and no workloads",
		Cure: "if a Docker knows it (docker network ls --no-trunc), leave it", Remedy: append(remedy, delAll(sw.Key()))})
}
