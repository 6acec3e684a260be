package ctl

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"tuplenet/internal/audit"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

var networksFlag = Flag{Name: forceFlag.Name, Usage: "do it although Docker networks need it"}

// listSwitches is what ls show lists: switches, with the Docker networks that are
// on them.
func listSwitches(s *session, args []string) ([]object, error) {
	switches, err := s.devices(topology.KindSwitch, args)
	if err != nil || len(switches) == 0 {
		return nil, err
	}
	networks, err := s.read.Networks(s.ctx)
	if err != nil {
		return nil, err
	}
	on := map[string]shownNetworks{}
	for _, n := range networks {
		on[n.Switch] = append(on[n.Switch], shownNetwork{n.ID, n.Name, n.Chassis, n.Scope, n.Subnet.String(), n.Freed})
	}
	objects := objectsOf(switches)
	for i, o := range objects {
		if list := on[o.name]; len(list) > 0 {
			objects[i].fields = append(o.fields, field{name: "docker", value: list, ours: true})
		}
	}
	return objects, nil
}

// shownNetworks are the Docker networks on a switch, as it is shown.
type shownNetworks []shownNetwork

type shownNetwork struct {
	ID      string      `json:"id"`
	Name    string      `json:"name,omitempty"`
	Chassis string      `json:"chassis,omitempty"`
	Scope   store.Scope `json:"scope"`
	Subnet  string      `json:"subnet"`
	Removed bool        `json:"removed,omitempty"` // by Docker; what is left of it is in use
}

// String names a network, and says where it is and whether it still is.
func (n shownNetwork) String() string {
	var about []string
	if n.Chassis != "" {
		about = append(about, n.Chassis)
	}
	if n.Removed {
		about = append(about, "removed")
	}
	title := topology.ShortDockerID(cmp.Or(n.Name, n.ID))
	if len(about) > 0 {
		title += " (" + strings.Join(about, ", ") + ")"
	}
	return title
}

// String implements fmt.Stringer, for plain output.
func (l shownNetworks) String() string {
	titles := make([]string, len(l))
	for i, n := range l {
		titles[i] = n.String()
	}
	return strings.Join(titles, ", ")
}

// texts implements severalTexts: a condition is met by one of the names, or ids.
func (l shownNetworks) texts() []string {
	var texts []string
	for _, n := range l {
		texts = append(texts, n.ID)
		if n.Name != "" {
			texts = append(texts, n.Name)
		}
	}
	return texts
}

// listSwitchPorts is what lsp show lists: ports, those of Docker's containers with
// the networks' names.
func listSwitchPorts(s *session, args []string) ([]object, error) {
	entities, err := s.children(topology.KindSwitchPort, args)
	if err != nil {
		return nil, err
	}
	list := ports(entities)
	whose, err := s.owners(list...)
	if err != nil {
		return nil, err
	}
	objects := objectsOf(entities)
	for i, p := range list {
		if id := p.DockerNetwork(); id != "" {
			objects[i].fields = append(objects[i].fields, field{name: "docker", value: whose.network(id), ours: true})
		}
	}
	return objects, nil
}

// owners names what ports belong to: Docker's networks by their ids.
type owners map[string]store.Network

// owners returns the owners of ports. It reads networks only for those of Docker.
func (s *session) owners(list ...topology.SwitchPort) (owners, error) {
	if !slices.ContainsFunc(list, func(p topology.SwitchPort) bool { return p.DockerNetwork() != "" }) {
		return nil, nil
	}
	all, err := s.read.Networks(s.ctx)
	o := owners{}
	for _, n := range all {
		o[n.ID] = n
	}
	return o, err
}

// network names a Docker network as a person knows it, as far as that is known.
func (o owners) network(id string) string {
	if n, ok := o[id]; ok {
		id = n.String()
	}
	return topology.ShortDockerID(id)
}

// of names what a port belongs to, and where that is.
func (o owners) of(p topology.SwitchPort) string {
	owner := p.Owner
	if id := p.DockerNetwork(); id != "" {
		owner = "a container of Docker network " + o.network(id)
	}
	if p.Chassis == "" {
		return owner
	}
	return owner + " on " + p.Chassis
}

// meant returns the name of the switch or router that there is of a name. A switch
// may be called as Docker calls the network on it.
func (s *session) meant(device topology.Key) (string, error) {
	err := s.exists(device)
	if device.Kind != topology.KindSwitch || !errors.Is(err, store.ErrNotFound) {
		return device.Name, err
	}
	return s.switchOfNetwork(device.Name, err)
}

// switchOfNetwork returns the switch that the Docker networks of a name, or an id,
// are on; if there are none, notFound, the error that says that there is no switch
// of that name.
func (s *session) switchOfNetwork(name string, notFound error) (string, error) {
	all, err := s.read.Networks(s.ctx)
	if err != nil {
		return "", err
	}
	var switches, places []string
	for _, n := range all {
		isID := n.ID == name || topology.StartsDockerID(name) && strings.HasPrefix(n.ID, name)
		if n.Name != name && !isID || slices.Contains(switches, n.Switch) {
			continue
		}
		switches = append(switches, n.Switch)
		places = append(places, fmt.Sprintf("%s of %s", n.Switch, n.Chassis))
	}
	switch len(switches) {
	case 0:
		return "", notFound
	case 1:
		return switches[0], nil
	}
	return "", fmt.Errorf("%d Docker networks are named %s, on different switches (%s): name the switch", len(switches), name, few(places))
}

// networksOf returns the Docker networks that are on a switch, or linked to a
// router.
func (s *session) networksOf(device topology.Key) ([]store.Network, error) {
	all, err := s.read.Networks(s.ctx)
	return slices.DeleteFunc(all, func(n store.Network) bool {
		if device.Kind == topology.KindSwitch {
			return n.Switch != device.Name
		}
		return n.Router != device.Name
	}), err
}

// errInUse refuses to delete what Docker networks need.
func errInUse(what string, networks []store.Network) error {
	i := slices.IndexFunc(networks, func(n store.Network) bool { return !n.Freed })
	if i < 0 {
		return fmt.Errorf("%s is in use by %s, which Docker has removed already: the rest goes with the last port on switch %s, or with --%s",
			what, listNetworks(networks), networks[0].Switch, networksFlag.Name)
	}
	where := ""
	if networks[i].Chassis != "" {
		where = " on " + networks[i].Chassis
	}
	return fmt.Errorf(`%s is in use by %s: remove that first ("%s"%s), or use --%s`,
		what, listNetworks(networks), removal(networks[i].String()), where, networksFlag.Name)
}

// removal is the command that removes a network, whose name may be any text.
func removal(network string) string { return audit.Command("docker", "network", "rm", network) }

// listNetworks returns "Docker networks a (hv1), b (hv2)".
func listNetworks(networks []store.Network) string {
	titles := make([]string, len(networks))
	for i, n := range networks {
		titles[i] = n.Title()
	}
	noun := "Docker network "
	if len(networks) > 1 {
		noun = "Docker networks "
	}
	return noun + few(titles)
}

// forgetNetworks deletes the records of networks whose switch is gone, and returns
// what there is to know then: their Dockers know them still.
func (s *session) forgetNetworks(networks []store.Network) (notes []string, err error) {
	for _, n := range networks {
		if err := s.store.DeleteNetwork(s.ctx, n.ID); err != nil && !errors.Is(err, store.ErrNotFound) {
			return notes, err
		}
		if n.Freed {
			continue
		}
		where := "Docker"
		if n.Chassis != "" {
			where = "the Docker of " + n.Chassis
		}
		notes = append(notes, fmt.Sprintf(`%s may still know network %s: "%s" there ends that`, where, n, removal(n.String())))
	}
	return notes, nil
}

// notThere returns notFound, the error that says that there is no switch of a
// name, with how the Docker network of that name is removed, if there is one.
func (s *session) notThere(name string, notFound error) error {
	sw, err := s.switchOfNetwork(name, nil)
	if sw == "" || err != nil {
		return notFound
	}
	return fmt.Errorf(`%w; the Docker network of that name is on switch %s: "%s" removes it`, notFound, sw, removal(name))
}

// switchesOf returns the names of the switches that networks are on.
func switchesOf(networks []store.Network) map[string]bool {
	on := map[string]bool{}
	for _, n := range networks {
		on[n.Switch] = true
	}
	return on
}

// partsOf returns what tells whether an entity is one of some switches, hangs on
// one, or is a router's port that is plugged into one.
func partsOf(entities map[topology.Key]topology.Stored, switches map[string]bool) func(topology.Key) bool {
	peers := map[string]bool{}
	for sw := range switches {
		peers["to_"+sw] = true // of a link of which the other half is gone, see store.Network.Link
	}
	for _, e := range entities {
		if p, ok := e.(topology.SwitchPort); ok && switches[p.Switch] && !p.Outer() {
			peers[p.Peer] = true
		}
	}
	return func(key topology.Key) bool {
		switch key.Kind {
		case topology.KindSwitch:
			return switches[key.Name]
		case topology.KindSwitchPort:
			return switches[key.Parent]
		}
		return key.Kind == topology.KindRouterPort && peers[key.Name]
	}
}
