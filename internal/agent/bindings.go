package agent

import (
	"strings"

	"tuplenet/internal/topology"
)

// Where etcd lets an agent write under its own name alone, its claims on ports
// are bindings in keys of its own (store.Bind), and there is no taking of a port
// that another has: a claim waits until the one before it ends. So a binding is
// deleted as soon as nothing is plugged in for it any more, also if that happened
// while no agent ran.

// bindingChanged takes note of a binding of this chassis that has come or gone.
func (a *agent) bindingChanged(key topology.Key) {
	_, name, _ := strings.Cut(key.Name, "/")
	if binding, ok := a.model.Get(key).(topology.Binding); ok {
		a.bindings[name] = binding
	} else if a.bindings[name].Key() == key {
		delete(a.bindings, name)
	}
	a.portChanged(name) // the port itself does not tell of a binding that waits
}

// leave ends what the store says, or is about to say, of a port that is not
// plugged in here any more.
func (a *agent) leave(name string) {
	if c := a.binder.claims[name]; c != nil && !c.release {
		a.binder.release(name, c.key)
		return
	}
	a.unbind(name)
}

// unbind ends the binding of a port that is not plugged in here any more.
func (a *agent) unbind(name string) {
	binding, ok := a.bindings[name]
	if !ok || !a.synced { // before, it is not known what is plugged in
		return
	}
	port, _ := a.portNamed(name)
	_, plugged := a.plugs[name]
	if port.Parent != "" {
		_, plugged = a.throughParent(port)
	}
	if !plugged || port.Key() != binding.PortKey() {
		a.binder.release(name, binding.PortKey())
	} else if c := a.binder.claims[name]; c != nil && c.release && c.key == binding.PortKey() {
		a.binder.forget(name) // it is plugged in again
	}
}

// waits reports whether this chassis' binding of a port was known before, while
// the port is elsewhere. Then no event tells that a claim has come to nothing.
func (a *agent) waits(key topology.Key) bool {
	port, _ := a.model.Get(key).(topology.SwitchPort)
	return a.bindings[key.Name].PortKey() == key && port.Chassis != "" && port.Chassis != a.self
}

// unbindAll is unbind of all ports.
func (a *agent) unbindAll() {
	for name := range a.bindings {
		a.unbind(name)
	}
}
