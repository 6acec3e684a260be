package audit

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// Finding is one inconsistency.
type Finding struct {
	Kind   Kind
	Object string   // what it is about, as topology.Key, a Docker network by its title, or etcd's key
	Names  []string // that it is chosen by
	What   string   // is wrong, beginning with a small letter

	// Follows is the Object whose own finding this one goes with; then there is
	// nothing below.
	Follows string

	Cure   string   // what mends it and keeps everything, to be tried before Remedy; may be empty
	Remedy []string // commands, in their order, that mend it; may be none if there is a Cure
	Advice string   // when Remedy is right, or what belongs to it; may be empty
	Repair *Repair  // what mends it without asking anybody; nil if there is no such thing
}

// Check returns what is inconsistent among all keys of a store, which were read
// now, the worst first, and of what is equally bad that which follows from
// something else last.
func Check(items []store.Item, now time.Time) []Finding {
	a := newAudit(items)
	a.keys()
	a.books()
	a.duplicates()
	a.links()
	a.children()
	a.attachments()
	a.networks()
	a.external()
	a.routes()
	a.translations()
	a.chassis()
	a.docker(now)
	slices.SortStableFunc(a.findings, func(x, y Finding) int {
		return cmp.Or(cmp.Compare(y.Severity(), x.Severity()), cmp.Compare(min(len(x.Follows), 1), min(len(y.Follows), 1)),
			cmp.Compare(x.Kind, y.Kind), strings.Compare(x.Object, y.Object))
	})
	return a.findings
}

// Severity tells how bad it is.
func (f Finding) Severity() Severity { return f.Kind.about().Severity }

// Effect tells what it does to traffic.
func (f Finding) Effect() string { return f.Kind.about().Effect }

// About reports whether the finding is about something of that name: the object
// itself, or what it hangs on.
func (f Finding) About(name string) bool { return f.Object == name || slices.Contains(f.Names, name) }

// audit is a Check under way: the store as the checks read it.
type audit struct {
	items     []store.Item
	byKey     map[topology.Key]*store.Item // Objects
	model     *topology.Model
	conflicts []topology.Conflict
	problems  map[topology.Key]string // of what cannot work as it is stored

	// What counts, in the order of keys.
	switches    []topology.Switch
	routers     []topology.Router
	switchPorts []topology.SwitchPort
	routerPorts []topology.RouterPort
	statics     []topology.StaticRoute
	nats        []topology.NAT

	portsOf   map[string][]topology.SwitchPort  // by switch
	pluggedOf map[string][]topology.RouterPort  // by router, those that are plugged in
	staticsOf map[string][]topology.StaticRoute // by router
	natsOf    map[string][]topology.NAT         // by router
	parents   map[string]bool                   // names of ports that have children, counting or not

	named    map[topology.Key]topology.Key // ports that there are, counting or not, by kind and bare name
	dockered dockered
	findings []Finding
}

func newAudit(items []store.Item) *audit {
	a := &audit{items: items, model: topology.NewModel(), byKey: make(map[topology.Key]*store.Item, len(items)),
		problems: map[topology.Key]string{}, named: map[topology.Key]topology.Key{},
		portsOf: map[string][]topology.SwitchPort{}, pluggedOf: map[string][]topology.RouterPort{},
		staticsOf: map[string][]topology.StaticRoute{}, natsOf: map[string][]topology.NAT{}, parents: map[string]bool{}}
	changes := make([]topology.Change, 0, len(items))
	for i := range items {
		item := &items[i]
		if item.Role == store.Docker {
			a.dockered.add(item)
		}
		if item.Role != store.Object {
			continue
		}
		a.byKey[item.Key] = item
		a.named[topology.Key{Kind: item.Key.Kind, Name: item.Key.Name}] = item.Key
		change := topology.Change{Key: item.Key, Created: item.Created, Err: item.Err}
		if item.Err == nil {
			change.Entity = item.Entity
			if p, ok := item.Entity.(topology.SwitchPort); ok && p.Parent != "" {
				a.parents[p.Parent] = true
			}
		}
		changes = append(changes, change)
	}
	a.conflicts = a.model.Replace(changes).Conflicts
	for _, p := range flows.Problems(a.model) {
		a.problems[p.Object] = p.What
	}
	for _, e := range slices.SortedFunc(a.model.All(), func(x, y topology.Entity) int { return x.Key().Compare(y.Key()) }) {
		switch e := e.(type) {
		case topology.Switch:
			a.switches = append(a.switches, e)
		case topology.Router:
			a.routers = append(a.routers, e)
		case topology.SwitchPort:
			a.switchPorts = append(a.switchPorts, e)
			a.portsOf[e.Switch] = append(a.portsOf[e.Switch], e)
		case topology.RouterPort:
			a.routerPorts = append(a.routerPorts, e)
		case topology.StaticRoute:
			a.statics = append(a.statics, e)
			a.staticsOf[e.Router] = append(a.staticsOf[e.Router], e)
		case topology.NAT:
			a.nats = append(a.nats, e)
			a.natsOf[e.Router] = append(a.natsOf[e.Router], e)
		}
	}
	for _, p := range a.routerPorts {
		if _, ok := a.plugged(p); ok {
			a.pluggedOf[p.Router] = append(a.pluggedOf[p.Router], p)
		}
	}
	return a
}

// found adds a finding about an entity, in which others take part.
func (a *audit) found(kind Kind, key topology.Key, f Finding, others ...topology.Key) {
	f.Object = key.String()
	for _, k := range append([]topology.Key{key}, others...) {
		f.Names = append(f.Names, k.Name)
		if k.Parent != "" {
			f.Names = append(f.Names, k.Parent, k.Parent+"/"+k.Name)
		}
		if item := a.byKey[k]; item != nil {
			f.Names = append(f.Names, namesOf(item.Path)...)
		}
		f.Names = append(f.Names, a.dockered.namesAt(k)...)
	}
	f.Kind = kind
	a.findings = append(a.findings, f)
}

// foundKey adds a finding about an etcd key that holds no entity.
func (a *audit) foundKey(kind Kind, item store.Item, f Finding) {
	f.Kind, f.Object = kind, item.Path
	f.Names = namesOf(item.Path)
	a.findings = append(a.findings, f)
}

// namesOf returns what an etcd key is called for short: itself, and its end.
func namesOf(path string) []string {
	names := []string{path}
	for rest, n := path, 0; n < 2 && rest != ""; n++ {
		at := strings.LastIndexByte(rest, '/')
		if at < 0 {
			break
		}
		rest = rest[:at]
		names = append(names, path[at+1:])
	}
	return names
}

// portNamed returns the switch port of a bare name that counts.
func (a *audit) portNamed(name string) (topology.SwitchPort, bool) {
	p, ok := a.model.Get(topology.Key{Kind: topology.KindPortName, Name: name}).(topology.SwitchPort)
	return p, ok
}

// routerPortNamed returns the router port of a bare name that counts.
func (a *audit) routerPortNamed(name string) (topology.RouterPort, bool) {
	p, ok := a.model.Get(topology.Key{Kind: topology.KindRouterPortName, Name: name}).(topology.RouterPort)
	return p, ok
}

// plugged returns the switch port that a router port is plugged into: both name
// each other.
func (a *audit) plugged(p topology.RouterPort) (topology.SwitchPort, bool) {
	if p.Peer == "" {
		return topology.SwitchPort{}, false
	}
	sp, ok := a.portNamed(p.Peer)
	return sp, ok && sp.Peer == p.Name && !sp.Outer()
}

// portAt returns the port of a switch that has an address.
func (a *audit) portAt(sw string, ip netip.Addr) (topology.SwitchPort, bool) {
	p, ok := a.model.Get(topology.PortAt(sw, topology.PortID(ip))).(topology.SwitchPort)
	return p, ok && p.IP == ip
}

// leadsOut reports whether a switch has a port to the physical network.
func (a *audit) leadsOut(sw string) bool {
	return a.model.Get(topology.Key{Kind: topology.KindOuterPorts, Name: sw}) != nil
}

// isWorkload reports whether a host, and no router, is plugged into a port.
func isWorkload(p topology.SwitchPort) bool { return p.Peer == "" && !p.Outer() }

// some names a few of many things.
func some[T any](list []T, name func(T) string) string {
	const few = 3
	var b strings.Builder
	for i, e := range list {
		if i == few && len(list) > few+1 {
			fmt.Fprintf(&b, " and %d more", len(list)-few)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(name(e))
	}
	return b.String()
}

// count says how many of something there are, and names a few.
func count[T any](list []T, noun string, name func(T) string) string {
	if len(list) != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s (%s)", len(list), noun, some(list, name))
}
