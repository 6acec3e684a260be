package flows

import "tuplenet/internal/topology"

// reach is the part of the topology that packets from and for this node can
// come through: the switches of its interfaces, the routers that those are
// joined to, the switches behind these, and so on; not beyond a router that
// lives on another chassis, which does the rest itself. Rules make no flows for
// what is not reached. A node that a router is pinned to reaches everything, as
// others hand it what they cannot deliver themselves.
//
// The engine keeps it, not a rule: that one thing is reached because another is
// could not be taken back rule by rule once they form a circle.
type reach struct {
	model      *topology.Model
	all        bool
	interfaces map[topology.Key]bool
	devices    map[topology.Key]bool // switches and routers
}

func newReach(model *topology.Model) *reach {
	return &reach{model: model, interfaces: map[topology.Key]bool{}, devices: map[topology.Key]bool{}}
}

// kindReached is the kind, with that of the device added, of the keys that
// stand for whether a switch or router is reached. Name is the device's; one
// without a name stands for whether everything is.
const kindReached topology.Kind = 0x80

func reachedKey(device topology.Key) topology.Key {
	return topology.Key{Kind: kindReached + device.Kind, Name: device.Name}
}

// has reports whether a switch or router is reached.
func (h *reach) has(device topology.Key) bool { return h.all || h.devices[device] }

// update follows the model after keys have changed, and returns the keys of
// what is reached now and was not, or the other way round. It works only if
// interfaces, links or routers have changed, and then as long as the node
// reaches switches and routers.
func (h *reach) update(touched []topology.Key) []topology.Key {
	concerned := false
	for _, key := range touched {
		switch key.Kind {
		case topology.KindInterface:
			if h.model.Get(key) == nil {
				delete(h.interfaces, key)
			} else {
				h.interfaces[key] = true
			}
			concerned = true
		case topology.KindPortName:
			concerned = concerned || h.interfaces[topology.Interface{Port: key.Name}.Key()]
		case topology.KindNode, topology.KindSwitch, topology.KindRouter, topology.KindRouterPorts, topology.KindJoinedPorts:
			concerned = true
		}
	}
	if !concerned {
		return nil
	}
	all, was := h.all, h.devices
	h.devices = map[topology.Key]bool{}
	self, _ := h.model.Get(topology.Node{}.Key()).(topology.Node)
	h.all = len(h.model.List(topology.Pinned(self.Chassis))) > 0 && self.Chassis != ""
	if !h.all {
		h.walk(self)
	}
	var changed []topology.Key
	if all != h.all {
		changed = append(changed, reachedKey(topology.Key{}))
	}
	for device := range h.devices {
		if !was[device] {
			changed = append(changed, reachedKey(device))
		}
	}
	for device := range was {
		if !h.devices[device] {
			changed = append(changed, reachedKey(device))
		}
	}
	return changed
}

// walk finds all devices from the interfaces on.
func (h *reach) walk(self topology.Node) {
	var queue []topology.Key
	visit := func(device topology.Key) {
		if !h.devices[device] && h.model.Get(device) != nil {
			h.devices[device] = true
			queue = append(queue, device)
		}
	}
	for i := range h.interfaces {
		if port, ok := h.model.Get(topology.Key{Kind: topology.KindPortName, Name: i.Name}).(topology.SwitchPort); ok {
			visit(topology.Switch{Name: port.Switch}.Key())
		}
	}
	for len(queue) > 0 {
		device := queue[0]
		queue = queue[1:]
		if device.Kind == topology.KindSwitch {
			for _, e := range h.model.List(topology.Key{Kind: topology.KindJoinedPorts, Name: device.Name}) {
				sp := e.(topology.SwitchPort)
				rp, ok := h.model.Get(topology.Key{Kind: topology.KindRouterPortName, Name: sp.Peer}).(topology.RouterPort)
				if !ok || rp.Peer != sp.Name {
					continue
				}
				router, ok := h.model.Get(topology.Router{Name: rp.Router}.Key()).(topology.Router)
				if ok && (router.Chassis == "" || router.Chassis == self.Chassis) {
					visit(router.Key())
				}
			}
			continue
		}
		for _, e := range h.model.List(topology.Key{Kind: topology.KindRouterPorts, Name: device.Name}) {
			rp := e.(topology.RouterPort)
			sp, ok := h.model.Get(topology.Key{Kind: topology.KindPortName, Name: rp.Peer}).(topology.SwitchPort)
			if ok && sp.Peer == rp.Name && !sp.Outer() {
				visit(topology.Switch{Name: sp.Switch}.Key())
			}
		}
	}
}
