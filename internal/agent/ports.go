package agent

import (
	"tuplenet/internal/ovs"
	"tuplenet/internal/topology"
)

// plug is a local interface that names a switch port, and what became of it.
//
//	           store says here
//	claiming ─────────────────▶ bound
//	   ▲                          │ store says elsewhere
//	   │ interface comes anew,    ▼
//	   │ or nobody has the port yielded
//	   └──────────────────────────┘
//
// Who plugs in last has the port, as when a virtual machine moves: its old
// interface may stay for a while, but its old host does not take the port back.
// (An agent that starts takes every interface for one that has just come: the
// machine may have moved here while no agent ran.)
type plug struct {
	iface   ovs.Interface
	state   plugState
	written bool // our claim is in the store
}

type plugState uint8

const (
	claiming plugState = iota
	bound
	yielded
)

// String returns the state as `tpctl status` shows it.
func (s plugState) String() string { return [...]string{"claiming", "bound", "yielded"}[s] }

// readOVS takes in the interfaces and tunnels that the bridge has now.
func (a *agent) readOVS() {
	seen, twins := map[string]bool{}, map[string]bool{}
	for _, i := range a.ovs.Interfaces() {
		p := a.plugs[i.IfaceID]
		switch {
		case seen[i.IfaceID]:
			twins[i.Name] = true
			if !a.twins[i.Name] {
				a.log.Warn("two interfaces have the same iface-id, the second is ignored",
					"port", i.IfaceID, "interface", p.iface.Name, "ignored", i.Name)
			}
		case p != nil && p.iface.Name == i.Name && p.iface.OFPort == i.OFPort:
			wasDark := p.iface.Dark
			p.iface = i
			if port, ok := a.portNamed(i.IfaceID); ok && port.Outer() && wasDark != i.Dark {
				a.log.Info("the link behind an outer port has changed", "port", port.Key(), "up", !i.Dark)
				if !i.Dark {
					a.physical.linkBack(i.OFPort, port.Switch)
				}
			}
		default:
			a.plugs[i.IfaceID] = &plug{iface: i}
			a.log.Info("interface plugged in", "port", i.IfaceID, "interface", i.Name, "ofport", i.OFPort)
			a.portChanged(i.IfaceID)
		}
		seen[i.IfaceID] = true
	}
	for id, p := range a.plugs {
		if !seen[id] {
			delete(a.plugs, id)
			a.leave(id)
			a.log.Info("interface unplugged", "port", id, "interface", p.iface.Name)
			a.change(topology.Change{Key: topology.Interface{Port: id}.Key()})
			a.childChanged(id) // it may be a child whose name an interface should not have had
			a.childrenChanged(id)
		}
	}
	a.twins = twins
	a.readHostStack()
	a.readTunnels()
}

// readHostStack takes in the port to the host's own stack, and prepares that
// for what comes through it.
func (a *agent) readHostStack() {
	var now topology.HostStack
	if h, ok := a.ovs.HostStack(); ok && a.Untunnel {
		now = topology.HostStack{OFPort: h.OFPort, MAC: h.MAC}
	}
	if now == a.hostPort {
		return
	}
	was := a.hostPort
	a.hostPort = now
	switch {
	case now.OFPort == 0:
		a.change(topology.Change{Key: now.Key()})
	case !a.prepareHostStack():
		a.hostPort = was
	default:
		a.log.Info("untunnel mode is on: packets to the physical network leave by this host's own stack")
		a.change(topology.Change{Entity: now})
	}
}

// prepareHostStack makes the host's stack take packets from its port, if there
// is one. A port that was made again has lost its settings.
func (a *agent) prepareHostStack() bool {
	if a.hostPort.OFPort == 0 {
		return true
	}
	if err := enableUntunnel(a.RunDir); err != nil {
		if a.hostFault != err.Error() {
			a.log.Error("untunnel mode does not work", "error", err)
		}
		a.hostFault = err.Error()
		return false
	}
	a.hostFault = ""
	return true
}

// portChanged decides anew who has a port and its children, after its interface
// or its value in the store has changed.
func (a *agent) portChanged(name string) {
	p := a.plugs[name]
	if p != nil {
		a.plugChanged(name, p)
	}
	a.childChanged(name)
	if p != nil {
		a.childrenChanged(name)
	}
	a.unbind(name)
}

// plugChanged decides anew whether a port is that of its interface here.
func (a *agent) plugChanged(name string, p *plug) {
	port, ok := a.portNamed(name)
	switch {
	case ok && port.Parent != "":
		if p.state != yielded {
			a.log.Warn("an interface has the name of a child port, whose packets pass through its parent's; it is ignored",
				"port", port.Key(), "parent", port.Parent, "interface", p.iface.Name)
		}
		p.state = yielded
		return
	case ok && port.Outer() && port.Peer != "":
		// Where it is, the operator has said; an interface here may be what
		// is left of where it was.
		if p.state = bound; port.Chassis != a.self {
			p.state = yielded
			a.change(topology.Change{Key: topology.Interface{Port: name}.Key()})
			return
		}
	case !ok && p.state == yielded: // and stays so, should the port come back elsewhere
		return
	case !ok: // it may come, or come back
		p.state, p.written = claiming, false
	case port.Chassis == a.self:
		if p.state != bound {
			a.log.Info("port is bound", "port", port.Key(), "interface", p.iface.Name)
		}
		p.state = bound
	case port.Chassis != "" && (p.state == bound || p.written):
		if p.state == bound {
			a.log.Info("port has moved to another chassis", "port", port.Key(), "chassis", port.Chassis)
		} else {
			a.log.Warn("port is bound to another chassis, and this host has it as soon as it is unplugged there, or that chassis is deleted (tpctl ch del)", "port", port.Key(), "chassis", port.Chassis)
		}
		p.state = yielded
		a.binder.forget(name)
		a.change(topology.Change{Key: topology.Interface{Port: name}.Key()})
		return
	case p.state == yielded && port.Chassis != "":
		return
	default:
		p.state, p.written = claiming, false
		if a.member {
			a.binder.claim(name, port.Key())
		}
	}
	a.change(topology.Change{Entity: topology.Interface{Port: name, OFPort: p.iface.OFPort}})
}

// portNamed returns the switch port of a bare name.
func (a *agent) portNamed(name string) (topology.SwitchPort, bool) {
	p, ok := a.model.Get(topology.Key{Kind: topology.KindPortName, Name: name}).(topology.SwitchPort)
	return p, ok
}

// claimed follows up on a claim that has ended.
func (a *agent) claimed(c *claim) {
	if !a.binder.ended(c) {
		return
	}
	again := c.again
	if p := a.plugs[c.name]; p != nil && !c.release {
		p.written = c.ok && p.state == claiming
		again = again || p.written && a.waits(c.key)
	}
	if again {
		a.portChanged(c.name)
	}
}

// leaveUntunnel gives the host's stack back what untunnel mode has changed, if
// an agent before this one had it on.
func (a *agent) leaveUntunnel() {
	if a.Untunnel {
		return
	}
	restored, err := RestoreSysctls(a.RunDir)
	if err != nil {
		a.log.Warn("cannot restore what untunnel mode has changed", "error", err)
	}
	if len(restored) > 0 {
		a.log.Info("untunnel mode is off, its settings of the kernel are restored", "settings", restored)
	}
}
