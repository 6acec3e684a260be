package trace

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"tuplenet/flows"
	"tuplenet/internal/topology"
)

// Path is the way of one packet, as people read it.
type Path struct {
	Hops     []Hop    `json:"hops"`
	Loop     *Loop    `json:"loop,omitempty"` // in which the hops end; only its first round is among them
	End      Verdict  `json:"end"`
	Warnings []string `json:"warnings,omitempty"` // what is wrong on the way, whether or not the packet arrived

	complete bool
}

// Hop is the part of a path that lies in one switch or router on one chassis.
type Hop struct {
	Chassis string `json:"chassis"`
	Device  string `json:"device,omitempty"` // "switch LS-A"; empty if the packet came to none
	From    string `json:"from,omitempty"`   // the device's ports, as far as known
	To      string `json:"to,omitempty"`
	// The table that decided where the packet went, and the object that made the
	// flow; empty if the flow is for all packets alike.
	Table  string `json:"table,omitempty"`
	Object string `json:"object,omitempty"`
	// Changes are what was done to the packet: "TTL 64 -> 63".
	Changes []string `json:"changes,omitempty"`
	// Redirected is a sentence about why the packet went to an edge instead of its
	// destination.
	Redirected string     `json:"redirected,omitempty"`
	Wanted     bool       `json:"wanted,omitempty"`   // the agent was asked to make flows
	Tunnel     string     `json:"tunnel,omitempty"`   // chassis that the packet was sent to from here
	TunnelIP   netip.Addr `json:"tunnel_ip,omitzero"` // and its address
	Original   bool       `json:"original,omitempty"` // told by an agent of the original TupleNet: without objects and reasons
	Assumed    []string   `json:"assumed,omitempty"`  // what a dry trace takes for granted
	Visits     []Visit    `json:"tables,omitempty"`   // all tables, in order

	steps []seen
	name  string // of the device
}

// Visit is a table that the packet came to.
type Visit struct {
	Table    string `json:"table"`
	Priority uint16 `json:"priority"`
	Rule     string `json:"rule,omitempty"`
	Object   string `json:"object,omitempty"`
	Astray   bool   `json:"astray,omitempty"` // Open vSwitch has another flow than this one
}

// seen is a step with where it was told and what the packet looked like.
type seen struct {
	Step
	chassis string
	header  Header
	stage   Stage  // of a record of an original agent, which has no steps
	iface   string // of the same
	nothing bool   // no step: a record tells of none
}

// is reports whether the step is told by an agent of this project, of a table.
func (s seen) is(t flows.Table) bool { return s.stage == 0 && !s.nothing && s.Table == t }

// end returns the end of a kind that the packet came to in the step.
func (s seen) end(kind EndKind) (End, bool) {
	if i := slices.IndexFunc(s.Ends, func(e End) bool { return e.Kind == kind }); i >= 0 {
		return s.Ends[i], true
	}
	return End{}, false
}

// Assemble makes a path of what chassis have told of a packet, in whatever
// order. The model, which is only read, says what ids and objects are, and why
// a chassis has told nothing.
func Assemble(records []Record, m *topology.Model) Path {
	steps, whole := chain(records)
	a := assembly{m: m}
	for _, s := range steps {
		a.add(s)
	}
	p := Path{Hops: a.hops}
	for i := range p.Hops {
		a.finish(i)
	}
	a.say(&p)
	p.fold()
	p.complete = whole && a.final() && !slices.ContainsFunc(records, func(r Record) bool { return r.Original })
	// An agent that did not send the packet, or did not see it at all, makes no hop.
	p.Hops = slices.DeleteFunc(p.Hops, func(h Hop) bool { return h.decision().is(flows.TableClassify) })
	return p
}

// Complete reports whether nothing more is to be expected: the packet has come to
// an end, and every piece of its way before that is there.
func (p Path) Complete() bool { return p.complete }

// assembly is an Assemble under way.
type assembly struct {
	m    *topology.Model
	hops []Hop
}

// add puts a step into the hop that it belongs to, a new one if it is none of
// the last.
func (a *assembly) add(s seen) {
	switch s.stage {
	case OutputPacket:
		s.Ends = []End{{Kind: Output, Iface: s.iface}}
		if a.m.Get(topology.Chassis{Name: s.iface}.Key()) != nil {
			s.Ends = []End{{Kind: Tunnel, Chassis: s.iface}}
		}
	case DropPacket:
		s.Ends = []End{{Kind: Drop}}
	}
	if s.is(flows.TableWanted) { // a copy: the packet itself is elsewhere
		for i := len(a.hops) - 1; i >= 0; i-- {
			if a.hops[i].Chassis == s.chassis {
				a.hops[i].Wanted = true
				break
			}
		}
		if n := len(a.hops); n > 0 && a.hops[n-1].Chassis == s.chassis {
			a.hops[n-1].steps = append(a.hops[n-1].steps, s)
		}
		return
	}
	if n := len(a.hops); n > 0 && a.hops[n-1].holds(s) {
		h := &a.hops[n-1]
		if h.steps[0].Datapath == 0 && s.Datapath != 0 { // it came to the chassis, and now to a device
			h.Device, h.name = deviceOf(a.m, s.Datapath)
		}
		h.steps = append(h.steps, s)
		return
	}
	h := Hop{Chassis: s.chassis, Original: s.stage != 0, steps: []seen{s}}
	h.Device, h.name = deviceOf(a.m, s.Datapath)
	a.hops = append(a.hops, h)
}

// holds reports whether a step that follows belongs to the hop.
func (h *Hop) holds(s seen) bool {
	last := h.steps[len(h.steps)-1]
	if _, sent := last.end(Tunnel); sent || h.Chassis != s.chassis || h.Original != (s.stage != 0) {
		return false
	}
	if last.is(flows.TableWanted) { // the agent has kept it, and sends it on
		return false
	}
	// What a switch cannot deliver goes back to the router that it came from
	// before it is redirected: that is no way that the packet takes.
	return h.datapath() == s.Datapath || h.datapath() == 0 || s.Datapath == 0 ||
		s.is(flows.TableRedirect) || h.redirected() || s.is(flows.TableDrop)
}

func (h *Hop) redirected() bool {
	return slices.ContainsFunc(h.steps, func(s seen) bool { return s.is(flows.TableRedirect) })
}

// datapath is the id of the hop's device.
func (h *Hop) datapath() uint32 {
	for _, s := range h.steps {
		if s.Datapath != 0 {
			return s.Datapath
		}
	}
	return 0
}

// finish fills in what people read of a hop.
func (a *assembly) finish(i int) {
	h := &a.hops[i]
	id := h.datapath()
	redirected := false
	for _, s := range h.steps {
		redirected = redirected || s.is(flows.TableRedirect)
		if s.Datapath == id && s.From != 0 && h.From == "" {
			h.From = portOf(a.m, id, s.From)
		}
		if s.Datapath == id && s.To != 0 && !redirected && s.knowsTo() {
			h.To = portOf(a.m, id, s.To)
		}
		if s.Assumed != "" {
			h.Assumed = append(h.Assumed, s.Assumed)
		}
		if end, ok := s.end(Tunnel); ok {
			h.Tunnel = end.Chassis
			if c, known := a.m.Get(topology.Chassis{Name: end.Chassis}.Key()).(topology.Chassis); known {
				h.TunnelIP = c.IP
			}
		}
		if s.stage != 0 {
			h.Visits = append(h.Visits, Visit{Table: s.stage.String()})
		} else {
			h.Visits = append(h.Visits, Visit{s.Table.String(), s.Priority, s.Rule, s.Object, s.Astray})
		}
	}
	d := h.decision()
	if d.stage != 0 {
		h.Table = d.stage.String()
	} else {
		h.Table, h.Object = d.Table.String(), d.Object
	}
	if h.To == "" {
		h.To = a.ledTo(d)
	}
	h.Redirected = a.redirection(h)
	h.Changes = a.changes(i)
}

// knowsTo reports whether the port that the packet will leave by was known when
// it came to the step.
func (s seen) knowsTo() bool {
	if s.stage != 0 {
		return s.stage != SwitchIngressIn && s.stage != RouterIngressIn && s.stage != RouterEgressOut
	}
	switch s.Table {
	case flows.TableSwitchOutput, flows.TableTunnel, flows.TableSwitchLoopback, flows.TableSwitchDeliver,
		flows.TableRouterReply, flows.TableRouterNAT, flows.TableRouterPool, flows.TableRouterOutside, flows.TableRouterForward:
		return true
	}
	return false
}

// ledTo returns the port that the flow of a deciding step is for, if it names one:
// where the packet did not come there.
func (a *assembly) ledTo(d seen) string {
	kind, name := split(d.Object)
	switch d.Table {
	case flows.TableSwitchLookup:
		if kind == topology.KindSwitchPort {
			return name
		}
	case flows.TableRouterRoute, flows.TableRouterPath:
		router, name, _ := strings.Cut(name, "/")
		if kind == topology.KindRouterPort {
			return name
		}
		route, _ := a.m.Get(topology.StaticRoute{Router: router, Name: name}.Key()).(topology.StaticRoute)
		return route.OutPort
	}
	return ""
}

// deciding lists the tables that decide where a packet goes, those that say most
// in front.
var deciding = []flows.Table{
	flows.TableRouterPath, flows.TableRouterRoute, flows.TableRouterLocal,
	flows.TableSwitchLookup, flows.TableSwitchDirect, flows.TableNeighbour, flows.TableSwitchTarget, flows.TableSwitchDeliver,
}

// decision returns the step that says most of where the packet went.
func (h *Hop) decision() seen {
	for _, t := range deciding {
		if i := slices.IndexFunc(h.steps, func(s seen) bool { return s.is(t) && !s.passes() }); i >= 0 {
			return h.steps[i]
		}
	}
	return h.culprit()
}

// passes reports whether the step says nothing of where the packet goes in the
// switch: it stays in the virtual network, or has come from a router.
func (s seen) passes() bool {
	return s.Table == flows.TableSwitchDirect && s.Rule != "host-stack" || s.Table == flows.TableNeighbour && s.header.ARP == 0
}

// culprit returns the step whose flow was the last to choose a way, before the
// packet was handed from one table to the next to be dropped or redirected.
func (h *Hop) culprit() seen {
	for i := len(h.steps) - 1; i > 0; i-- {
		s := h.steps[i]
		if s.stage != 0 {
			return s
		}
		switch s.Table {
		case flows.TableDrop, flows.TableForeign, flows.TableRedirect, flows.TableWanted:
			continue
		case flows.TableSwitchOutput:
			if s.Rule == "nobody" { // BFD finds no way; who is not to be reached stands before
				continue
			}
		}
		return s
	}
	return h.steps[0]
}

// redirection says why a packet was sent to an edge.
func (a *assembly) redirection(h *Hop) string {
	at := slices.IndexFunc(h.steps, func(s seen) bool { return s.is(flows.TableRedirect) })
	if at < 0 || h.Tunnel == "" {
		return ""
	}
	behind := a.chassisBehind(h)
	noWay := at > 0 && h.steps[at-1].is(flows.TableSwitchOutput)
	if noWay && h.Tunnel == behind {
		return "BFD finds no way to " + behind + "; sent there all the same, as no edge can do better"
	}
	by := "redirected by way of " + h.Tunnel + ": "
	switch {
	case noWay:
		return by + "BFD finds no way to " + cmp.Or(behind, "its destination")
	case h.Wanted:
		return by + "there are no flows to its destination here, and the agent was asked for them"
	}
	return by + "its destination is not known here"
}

// chassisBehind returns the chassis that the port which the packet is to leave
// by is on.
func (a *assembly) chassisBehind(h *Hop) string {
	port, _ := a.m.Get(topology.Key{Kind: topology.KindPortName, Name: h.To}).(topology.SwitchPort)
	if rp, ok := a.m.Get(topology.Key{Kind: topology.KindRouterPortName, Name: port.Peer}).(topology.RouterPort); ok && port.Peer != "" {
		router, _ := a.m.Get(topology.Router{Name: rp.Router}.Key()).(topology.Router)
		return router.Chassis
	}
	return port.Chassis
}

// answers is what a change begins with that turns a packet into the answer.
const answers = "answers: "

// changes tells what was done to the packet in a hop: what it looks like where
// it comes next, against how it came in.
func (a *assembly) changes(i int) []string {
	steps := a.hops[i].steps
	if i+1 < len(a.hops) {
		steps = append(slices.Clone(steps), a.hops[i+1].steps[0])
	}
	var out []string
	for j := 1; j < len(steps); j++ {
		from, to := steps[j-1].header, steps[j].header
		by := ""
		if steps[j-1].Rule == "nat" {
			by = " by " + steps[j-1].Object
		}
		if steps[j-1].is(flows.TableRouterLocal) && from.IPSrc == to.IPDst && from.IPDst == to.IPSrc && from.IPSrc != from.IPDst ||
			from.ARP == arpRequest && to.ARP == arpReply {
			out = append(out, answers+to.String())
			continue
		}
		change := func(what string, from, to any) {
			if from != to {
				out = append(out, fmt.Sprintf("%s %v -> %v%s", what, from, to, by))
			}
		}
		change("source", from.IPSrc, to.IPSrc)
		change("destination", from.IPDst, to.IPDst)
		if from.Proto == protoTCP || from.Proto == protoUDP {
			if to.SrcPrt == 0 && from.SrcPrt != 0 { // dry: nobody knows which
				out = append(out, fmt.Sprintf("source port %d -> any that is free%s", from.SrcPrt, by))
				to.SrcPrt = from.SrcPrt
			}
			change("source port", from.SrcPrt, to.SrcPrt)
			change("destination port", from.DstPrt, to.DstPrt)
		}
		change("TTL", from.TTL, to.TTL)
	}
	return out
}

// deviceOf names the switch or router with an id.
func deviceOf(m *topology.Model, id uint32) (device, name string) {
	if id == 0 {
		return "", ""
	}
	if e := m.Get(topology.Datapath(id)); e != nil {
		return e.Key().String(), e.Key().Name
	}
	return fmt.Sprintf("device %d", id), ""
}

// portOf names the port with an id in the switch or router with an id.
func portOf(m *topology.Model, device uint32, id uint16) string {
	var port topology.Entity
	switch d := m.Get(topology.Datapath(device)).(type) {
	case topology.Switch:
		port = m.Get(topology.PortAt(d.Name, id))
	case topology.Router:
		port = m.Get(topology.RouterPortAt(d.Name, id))
	}
	if port == nil {
		return fmt.Sprintf("port %d", id)
	}
	return port.Key().Name
}
