package agent

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/ovs"
	"tuplenet/internal/status"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// reportBacklog is how many reports may wait to be written. Who asks more often
// gets fewer answers.
const reportBacklog = 16

// reportPatience bounds how long Open vSwitch may take to tell of itself: who
// asks does not wait long.
const reportPatience = time.Second

// countPatience bounds how long the bridge may take to count its flows: what waits
// for Open vSwitch must not pass for an agent that does not answer.
const countPatience = 500 * time.Millisecond

// reporter writes what the agent's loop reports of the node to those who asked,
// beside the loop.
type reporter struct {
	store   *store.Store
	ovs     *ovs.Driver
	chassis string
	log     *slog.Logger
	queue   chan pendingReport
	amiss   chan struct{} // capacity 1: the bridge holds other flows than it was given
}

type pendingReport struct {
	command uint16
	age     uint64 // of the flows
	status.Report
}

// newReporter returns a reporter that works until ctx ends.
func newReporter(ctx context.Context, a *agent) *reporter {
	r := &reporter{store: a.Store, ovs: a.ovs, chassis: a.self, log: a.log, queue: make(chan pendingReport, reportBacklog),
		amiss: make(chan struct{}, 1)}
	go r.work(ctx)
	return r
}

// answer has a report written, and does not wait.
func (r *reporter) answer(command uint16, report status.Report) {
	select {
	case r.queue <- pendingReport{command, r.ovs.FlowAge(), report}:
	default:
		r.log.Debug("too many ask for the status of this node at a time, one gets no answer", "command", command)
	}
}

func (r *reporter) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-r.queue:
			r.count(ctx, &p)
			if p.Detail != nil {
				r.ask(ctx, p.Detail)
			}
			answer, err := p.Answer(p.command, r.chassis)
			if err == nil {
				err = r.store.Answer(ctx, []store.Answer{answer})
			}
			if err != nil {
				r.log.Debug("cannot tell the status of this node", "error", err)
			}
		}
	}
}

// count adds how many flows the bridge holds. That somebody has deleted or added
// some beside the agent is noticed in no other way, and what makes them right is the
// loop's.
func (r *reporter) count(ctx context.Context, p *pendingReport) {
	ctx, cancel := context.WithTimeout(ctx, countPatience)
	defer cancel()
	held, err := r.ovs.CountFlows(ctx, p.age)
	if err != nil {
		r.log.Debug("cannot tell how many flows the bridge holds", "error", err)
		return
	}
	if p.Held = &held; p.Amiss() {
		select {
		case r.amiss <- struct{}{}:
		default:
		}
	}
}

// ask adds what Open vSwitch has to be asked for. What it does not tell stays
// empty.
func (r *reporter) ask(ctx context.Context, d *status.Detail) {
	ctx, cancel := context.WithTimeout(ctx, reportPatience)
	defer cancel()
	about, err := r.ovs.About(ctx)
	d.OpenVSwitch, d.Datapath = about.Version, about.Datapath
	if err != nil {
		r.log.Debug("Open vSwitch does not tell its version", "error", err)
	}
	packets, err := r.ovs.Counters(ctx, flows.TableDrop)
	if err != nil {
		r.log.Debug("cannot count the packets that were dropped", "error", err)
	}
	for _, n := range packets {
		d.Dropped += n
	}
}

// report is what the loop knows of this node.
func (a *agent) report(detail bool) status.Report {
	r := status.Report{
		Version: a.Version, Time: time.Now(), Started: a.started, Synced: a.syncedAt, InSync: a.synced && a.ovs.InSync(),
		User: a.Store.User(), IP: a.TunnelIP.String(), MTU: a.mtu, Revision: a.revision,
		OnDemand: a.onDemand(), Edge: len(a.model.List(topology.Pinned(a.self))) > 0,
		Flows: a.engine.Len(), Refused: a.refused, Tunnels: len(a.tunnels), Problems: len(a.problems),
	}
	if a.member && a.compiled {
		r.Wanted = len(a.wires(false).tunnels)
	}
	for chassis, t := range a.tunnels {
		if t.Watched {
			r.Watched++
			if a.up[chassis] {
				r.Alive++
			}
		}
	}
	for _, t := range a.ovs.Tunnels() {
		if t.Watched && t.Refusing && a.tunnels[t.Chassis].OFPort == t.OFPort {
			r.Refusing = append(r.Refusing, t.Chassis)
		}
	}
	owners := map[string]string{} // by interface
	for _, at := range a.ovs.Attachments() {
		owners[at.Device] = at.Owner
	}
	for _, name := range slices.Sorted(maps.Keys(a.plugs)) {
		p := a.plugs[name]
		port, ok := a.portNamed(name)
		stray := status.Stray{Interface: p.iface.Name, Port: name, Chassis: port.Chassis, Parent: port.Parent, Owner: owners[p.iface.Name]}
		switch {
		case !ok || port.Parent != "":
			r.Strays = append(r.Strays, stray)
		case p.state == bound:
			r.Ports++
			for _, child := range a.children(name) {
				if _, here := a.throughParent(child); here && child.Chassis == a.self {
					r.Ports++
				}
			}
		case p.state == yielded && !port.Outer():
			r.Strays = append(r.Strays, stray)
		}
	}
	out, dark := a.waysOut()
	r.WaysOut = out
	for _, i := range dark {
		r.Dark = append(r.Dark, fmt.Sprintf("%s (%s, %s)", i.IfaceID, cmp.Or(i.Bridge, "no bridge"), cmp.Or(i.NICs, "no NIC")))
	}
	slices.Sort(r.Dark)
	if detail {
		r.Detail = a.detail()
	}
	return r
}

func (a *agent) detail() *status.Detail {
	d := &status.Detail{
		Settings: status.Settings{OnDemand: a.OnDemand, Redirect: a.Redirect, Untunnel: a.Untunnel,
			Hash: flows.Hashes[a.Hash].String(), MinRx: a.BFDMinRx, MinTx: a.BFDMinTx, Idle: int(a.IdleTimeout.Seconds()),
			IPFIX: a.IPFIX(a.TunnelIP).String()},
		Demands: len(a.demands.ports),
	}
	for _, t := range flows.Tables {
		if n := a.engine.Held(t.Table); n > 0 {
			d.Tables = append(d.Tables, status.Table{Number: int(t.Table), Name: t.Name, Flows: n})
		}
	}
	for _, t := range a.ovs.Tunnels() {
		d.TunnelList = append(d.TunnelList, tunnelStatus(t))
	}
	for _, name := range slices.Sorted(maps.Keys(a.plugs)) {
		d.PortList = append(append(d.PortList, a.portStatus(name)), a.childrenStatus(name)...)
	}
	d.Interfaces = len(d.PortList)
	known := a.physical.neighbours.all()
	slices.SortFunc(known, func(m, n topology.Neighbour) int {
		return cmp.Or(strings.Compare(m.Switch, n.Switch), m.IP.Compare(n.IP))
	})
	d.Neighbours = len(known)
	for _, n := range known {
		d.NeighbourList = append(d.NeighbourList, status.Neighbour{Switch: n.Switch, IP: n.IP.String(), MAC: n.MAC.String()})
	}
	for port := range a.demands.ports {
		d.DemandList = append(d.DemandList, port.Switch+"/"+port.Port)
	}
	slices.Sort(d.DemandList)
	for p := range a.problems {
		d.ProblemList = append(d.ProblemList, p.Object.String()+": "+p.What)
	}
	slices.Sort(d.ProblemList)
	return d
}

func tunnelStatus(t ovs.Tunnel) status.Tunnel {
	s := status.Tunnel{Chassis: t.Chassis, Name: t.Name, OFPort: t.OFPort}
	if t.RemoteIP.IsValid() {
		s.IP = t.RemoteIP.String()
	}
	switch {
	case !t.Watched:
	case t.Refusing:
		s.BFD = "cannot forward"
	case t.Up:
		s.BFD = "up"
	default:
		s.BFD = "down"
	}
	return s
}

func (a *agent) portStatus(name string) status.Port {
	p := a.plugs[name]
	s := status.Port{Name: name, Interface: p.iface.Name, OFPort: p.iface.OFPort, State: p.state.String()}
	port, ok := a.portNamed(name)
	if !ok {
		s.State = "no such port"
	} else {
		s.Switch, s.Outer, s.Dark = port.Switch, port.Outer(), port.Outer() && p.iface.Dark
		if !port.Outer() {
			s.IP = port.IP.String()
		}
	}
	return s
}

// childrenStatus tells of the children whose packets pass through the interface of
// a port.
func (a *agent) childrenStatus(parent string) []status.Port {
	var out []status.Port
	for _, child := range a.children(parent) {
		i, here := a.throughParent(child)
		if !here {
			continue
		}
		s := status.Port{Name: child.Name, Switch: child.Switch, IP: child.IP.String(), Interface: a.plugs[parent].iface.Name,
			OFPort: i.OFPort, Tag: i.Tag, State: bound.String()}
		if child.Chassis != a.self {
			s.State = claiming.String()
		}
		out = append(out, s)
	}
	return out
}
