package ctl

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"tuplenet/internal/manifest"
	"tuplenet/internal/topology"
)

// step is one command of a plan, and what exists once it is carried out.
type step struct {
	object, verb string
	args         []string
	flag         *Flag // the one that it takes, if any
	makes        []topology.Stored
}

// String returns the command as a person would type it.
func (st step) String() string {
	words := []string{"tpctl", st.object, st.verb}
	switch {
	case st.flag == nil:
	case len(st.flag.Aliases) > 0:
		words = append(words, "-"+st.flag.Aliases[0])
	default:
		words = append(words, "--"+st.flag.Name)
	}
	for _, arg := range st.args {
		if strings.ContainsAny(arg, " \t'\"\\$`&|;<>()*?[]#~!{}") {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		words = append(words, arg)
	}
	return strings.Join(words, " ")
}

// plan is what a command about an edge's road does. Between its two parts it
// waits: what comes after is not good for traffic at once, or what is before
// has to leave first.
type plan struct {
	edge        string // the edge router; empty if only remains of a road are there
	first, then []step
	notes       []string // for the operator
}

// wanted is a road that shall be built.
type wanted struct {
	vip     netip.Prefix // the edge's address in the physical network
	inner   netip.Prefix // the edge's address towards the central router
	central string       // router
	chassis string
	bridge  string
	force   bool         // the chassis has no record
	snat    []netip.Addr // external addresses that the virtual networks leave under
	noSNAT  bool         // none is wanted, although the other edge has some

	out    []topology.StaticRoute // the edge's routes to the physical network, of which Net and NextHop count
	back   []netip.Prefix         // virtual networks
	ways   []netip.Prefix         // what the central router sends through the edge
	shared []topology.NAT         // floating IPs of the edge that is copied
}

// initArgs is what the first road is told.
type initArgs struct {
	wanted
	virt    netip.Prefix
	gateway netip.Addr
}

// planInit plans the first road.
func (n *network) planInit(a initArgs) (plan, error) {
	var err error
	if a.central, err = n.centralRouter(a.central); err != nil {
		return plan{}, err
	}
	network := a.vip.Masked()
	if !topology.IsUnicast(a.gateway) || !network.Contains(a.gateway) || !topology.IsHost(a.gateway, network) || a.gateway == a.vip.Addr() {
		return plan{}, fmt.Errorf("invalid --ext-gw %s: want the address of another machine in %s, the network of --vip", a.gateway, network)
	}
	if a.inner.Overlaps(a.vip) {
		return plan{}, fmt.Errorf("invalid --inner %s: it overlaps %s, the network of --vip", a.inner, network)
	}
	everything := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	a.out = []topology.StaticRoute{{Net: everything, NextHop: a.gateway}}
	a.back, a.ways = []netip.Prefix{a.virt}, []netip.Prefix{everything}
	p, own, err := n.build(a.wanted)
	if err != nil {
		return p, err
	}
	if user := n.userOf(a.gateway, own); user != "" {
		return plan{}, fmt.Errorf("invalid --ext-gw %s: %s has it; want the address of a machine of the physical network", a.gateway, user)
	}
	for _, port := range n.routerPorts(a.central) {
		if port.Net.Overlaps(a.inner) && !own[port.Key()] {
			return plan{}, fmt.Errorf("invalid --inner %s: router %s port %s is in network %s; choose another network", a.inner, port.Router, port.Name, port.Net.Masked())
		}
	}
	for _, r := range of(n, func(r topology.StaticRoute) bool { return r.Router == a.central && r.Net.Bits() == 0 && !own[r.Key()] }) {
		return plan{}, fmt.Errorf(`router %s has a default route already, %s; "tpctl edge add" builds another road beside the first`, a.central, r.Name)
	}
	return p, nil
}

// planAdd plans a road like one that is there.
func (n *network) planAdd(w wanted) (plan, error) {
	roads := n.roads()
	if w.central != "" {
		if err := n.checkCentral(w.central); err != nil {
			return plan{}, err
		}
		roads = slices.DeleteFunc(roads, func(r road) bool { return r.central.Router != w.central })
	}
	var routers []string
	for _, r := range roads {
		routers = append(routers, r.central.Router)
	}
	slices.Sort(routers)
	var err error
	if w.central, err = only(slices.Compact(routers), `there is no road to copy: "tpctl edge init" builds the first one`, "roads lead to several routers"); err != nil {
		return plan{}, err
	}
	// That of this chassis is the one to copy only if it is the last: then it
	// is complete, or different from what is wanted.
	like := roads[0]
	if i := slices.IndexFunc(roads, func(r road) bool { return n.chassisOf(r.edge) != w.chassis }); i >= 0 {
		like = roads[i]
	}
	if w.bridge == "" {
		if w.bridge = like.outer.Peer; w.bridge == "" {
			return plan{}, fmt.Errorf("the patch port of router %s was made by hand and tells no bridge: say with --phy-br which bridge on chassis %s leads to the physical network", like.edge, w.chassis)
		}
	}
	w.inner = like.in.Net
	for _, r := range n.ways(like) {
		w.ways = append(w.ways, r.Net)
	}
	for _, r := range n.routesBy(like.in) {
		if r.NextHop == like.central.Net.Addr() {
			w.back = append(w.back, r.Net)
		}
	}
	w.out = n.routesBy(like.out)
	for _, r := range w.out {
		if !w.vip.Masked().Contains(r.NextHop) || r.NextHop == w.vip.Addr() {
			return plan{}, fmt.Errorf("invalid --vip %s: %s, the gateway of router %s, is no other machine of its network", w.vip, r.NextHop, like.edge)
		}
	}
	if err := n.copyNAT(&w, like.edge); err != nil {
		return plan{}, err
	}
	p, _, err := n.build(w)
	if err != nil || len(p.first)+len(p.then) == 0 {
		return p, err
	}
	p.notes = append(p.notes, n.natNotes(w, like.edge, p.edge)...)
	return p, nil
}

// build plans a road, or what an earlier run has left to do of it, and
// returns the keys of all that belongs to it.
func (n *network) build(w wanted) (plan, map[topology.Key]bool, error) {
	number, pinned := 1, of(n, func(r topology.Router) bool { return r.Chassis == w.chassis })
	if len(pinned) > 0 {
		var ok bool
		if number, ok = numberOf(pinned[0].Name, edgeName); !ok || len(pinned) > 1 {
			return plan{}, nil, n.isEdge(pinned[0], "")
		}
	}
	var steps, missing []step
	for ; ; number++ {
		var err error
		if steps, err = n.construct(w, number); err != nil {
			return plan{}, nil, err
		}
		var differs string
		if missing, differs = n.missing(steps); differs == "" {
			break
		}
		if len(pinned) > 0 {
			return plan{}, nil, n.isEdge(pinned[0], ", and its road differs from this one in "+differs)
		}
	}
	own := map[topology.Key]bool{}
	for _, st := range steps {
		for _, e := range st.makes {
			own[e.Key()] = true
		}
	}
	if user := n.userOf(w.vip.Addr(), own); user != "" {
		return plan{}, nil, fmt.Errorf("invalid --vip %s: %s has the address; an edge needs one of its own", w.vip, user)
	}
	if err := n.checkExternals(w, own); err != nil {
		return plan{}, nil, err
	}
	p := plan{edge: numbered(edgeName, number)}
	for _, st := range missing {
		if st.args[0] == w.central && st.object == "lsr" {
			p.then = append(p.then, st)
		} else {
			p.first = append(p.first, st)
		}
	}
	if done := len(steps) - len(missing); done > 0 && len(missing) > 0 {
		p.notes = append(p.notes, fmt.Sprintf("%d of %d steps were done by an earlier run, these go on from there", done, len(steps)))
	}
	return p, own, nil
}

// isEdge says that a router's chassis cannot get another road.
func (n *network) isEdge(r topology.Router, but string) error {
	remedy := ""
	if vip := n.vipOf(r.Name); vip.IsValid() {
		remedy = fmt.Sprintf(`; "tpctl edge remove --vip %s" takes its road away`, vip)
	}
	return fmt.Errorf("chassis %s is an edge already: router %s is pinned to it%s%s", r.Chassis, r.Name, but, remedy)
}

// Names of what a road is built of, counted up.
const (
	outsideName = "tp_LS_outside"
	edgeName    = "tp_LR_edge"
	innerName   = "tp_LS_m"
)

func numbered(base string, number int) string { return base + strconv.Itoa(number) }

// numberOf is numbered's inverse.
func numberOf(name, base string) (int, bool) {
	digits, ok := strings.CutPrefix(name, base)
	number, err := strconv.Atoi(digits)
	return number, ok && err == nil && number > 0 && numbered(base, number) == name
}

// vipOf returns the address of an edge in the physical network, if it has one.
func (n *network) vipOf(edge string) netip.Addr {
	for _, p := range n.routerPorts(edge) {
		if _, ok := n.outerPort(n.switchOf(p)); ok {
			return p.Net.Addr()
		}
	}
	return netip.Addr{}
}

// construct returns all steps of a road's building, in the order in which no
// packet takes the road before it is whole.
func (n *network) construct(w wanted, number int) ([]step, error) {
	outside, edge, inner := numbered(outsideName, number), numbered(edgeName, number), numbered(innerName, number)
	var forced *Flag
	if w.force {
		forced = &forceFlag
	}
	link := func(router, sw string, network netip.Prefix) step {
		sp, rp := manifest.Link(router, sw, network)
		return step{object: "lr", verb: "link", args: []string{router, sw, network.String()}, makes: []topology.Stored{sp, rp}}
	}
	route := func(router, sw string, network netip.Prefix, nextHop netip.Addr) step {
		r := topology.StaticRoute{Router: router, Net: network, NextHop: nextHop, OutPort: router + "_to_" + sw}
		r.Name = fmt.Sprintf("%s_%s-%d_to_%s_%s", router, network.Addr(), network.Bits(), nextHop, r.OutPort)
		return step{object: "lsr", verb: "add", args: []string{router, r.Name, network.String(), nextHop.String(), r.OutPort}, makes: []topology.Stored{r}}
	}
	patch := patchPort(topology.Key{Parent: outside, Name: "tp_lsp_" + outside + "-patchport1"}, w.chassis, w.bridge)

	central, err := n.centralAddress(w, inner)
	if err != nil {
		return nil, err
	}
	steps := []step{
		{object: "ls", verb: "add", args: []string{outside}, makes: []topology.Stored{topology.Switch{Name: outside}}},
		{object: "lr", verb: "add", flag: forced, args: []string{edge, w.chassis}, makes: []topology.Stored{topology.Router{Name: edge, Chassis: w.chassis}}},
		{object: "ls", verb: "add", args: []string{inner}, makes: []topology.Stored{topology.Switch{Name: inner}}},
		{object: "patchport", verb: "add", flag: forced, args: []string{outside, patch.Name, w.chassis, w.bridge}, makes: []topology.Stored{patch}},
		link(edge, outside, w.vip),
		link(edge, inner, w.inner),
		link(w.central, inner, netip.PrefixFrom(central, w.inner.Bits())),
	}
	for _, r := range w.out {
		steps = append(steps, route(edge, outside, r.Net, r.NextHop))
	}
	for _, network := range w.back {
		steps = append(steps, route(edge, inner, network, central))
	}
	for _, rule := range n.natRules(w, edge) {
		steps = append(steps, addNATStep(rule))
	}
	for _, network := range w.ways {
		steps = append(steps, route(w.central, inner, network, w.inner.Addr()))
	}
	return steps, nil
}

// centralAddress returns the address of the central router in an edge's inner
// network: the one that it has there, or the highest that is free.
func (n *network) centralAddress(w wanted, inner string) (netip.Addr, error) {
	_, port := manifest.Link(w.central, inner, w.inner)
	if has, ok := n.byKey[port.Key()].(topology.RouterPort); ok {
		return has.Net.Addr(), nil
	}
	return n.highestFree(w.inner, w.central)
}

// missing returns the steps that are not done yet, or what is there but is not
// what they make.
func (n *network) missing(steps []step) (todo []step, differs string) {
	own := map[topology.Key]bool{}
	for _, st := range steps {
		there := 0
		for _, e := range st.makes {
			own[e.Key()] = true
			has := n.byKey[e.Key()]
			if has == nil {
				continue
			}
			if bare(has) != bare(e) {
				return nil, e.Key().String()
			}
			there++
		}
		if there < len(st.makes) { // half a link is completed
			todo = append(todo, st)
		}
	}
	for _, p := range of(n, func(p topology.SwitchPort) bool {
		return own[topology.Key{Kind: topology.KindSwitch, Name: p.Switch}] && !own[p.Key()]
	}) {
		return nil, p.Key().String()
	}
	return todo, ""
}

// bare returns an entity without what a plan leaves open.
func bare(e topology.Stored) topology.Stored {
	switch e := e.(type) {
	case topology.Switch:
		e.ID, e.Extra = 0, ""
		return e
	case topology.Router:
		e.ID, e.Extra = 0, ""
		return e
	case topology.SwitchPort:
		e.Extra = ""
		return e
	case topology.RouterPort:
		e.Extra = ""
		return e
	case topology.StaticRoute:
		e.Extra = ""
		return e
	case topology.NAT:
		e.Extra = ""
		return e
	}
	return e
}
