package ovs

import (
	"slices"
	"strings"
)

// ways is what leads on from the bridges of an Open vSwitch to other machines.
type ways struct {
	bridges map[string]*way
	patches map[string]patchEnd // by interface
}

type way struct {
	nics   []string // network devices
	linked bool     // a port has a link that is neither a patch port nor Open vSwitch's own
	host   bool     // a port to the host's own stack is up
}

type patchEnd struct{ bridge, peer string }

func newWays() *ways { return &ways{map[string]*way{}, map[string]patchEnd{}} }

// add takes in a bridge, and an interface of it unless that is nil.
func (w *ways) add(b *bridge, i *iface) {
	at := w.bridges[b.Name]
	if at == nil {
		at = &way{}
		w.bridges[b.Name] = at
	}
	switch {
	case i == nil:
	case i.Type == "internal":
		at.host = at.host || isUp(i)
	case i.Type == patchType:
		w.patches[i.Name] = patchEnd{b.Name, i.Options["peer"]}
	default:
		if isDevice(i.Type) {
			at.nics = append(at.nics, i.Name)
		}
		at.linked = at.linked || isUp(i)
	}
}

func isUp(i *iface) bool { return i.LinkState != nil && *i.LinkState == "up" }

// behind returns the bridge that a patch port leads to; empty if its other end
// is missing.
func (w *ways) behind(patch string) string {
	return w.patches[w.patches[patch].peer].bridge
}

// nics names the network devices of a bridge, with commas.
func (w *ways) nics(bridge string) string {
	at := w.bridges[bridge]
	if at == nil {
		return ""
	}
	slices.Sort(at.nics)
	return strings.Join(at.nics, ", ")
}

// dark reports whether nothing leads on from a bridge, nor from those behind its
// patch ports, but for what leads back to the bridge from.
func (w *ways) dark(bridge, from string) bool {
	seen := map[string]bool{from: true, "": true}
	var linked func(bridge string) bool
	linked = func(bridge string) bool {
		if seen[bridge] {
			return false
		}
		seen[bridge] = true
		// Without a NIC it may be the host that routes.
		if at := w.bridges[bridge]; at != nil && (at.linked || len(at.nics) == 0 && at.host) {
			return true
		}
		for name, end := range w.patches {
			if end.bridge == bridge && linked(w.behind(name)) {
				return true
			}
		}
		return false
	}
	return !linked(bridge)
}
