package ovs

import "sync/atomic"

// Link is one of the driver's connections to Open vSwitch.
type Link struct {
	Name       string // ovsdb; flows and packets, which are OpenFlow
	Up         bool
	Reconnects uint64 // how often it was made again
}

// link is what is known of a connection.
type link struct {
	up   atomic.Bool
	made atomic.Uint64
}

// set notes that the connection was made or lost.
func (l *link) set(up bool) {
	if l.up.Swap(up) != up && up {
		l.made.Add(1)
	}
}

func (l *link) named(name string) Link {
	return Link{Name: name, Up: l.up.Load(), Reconnects: max(l.made.Load(), 1) - 1}
}

// Links returns the driver's connections, always in the same order. It waits for
// nothing.
func (d *Driver) Links() []Link {
	return []Link{d.links.ovsdb.named("ovsdb"), d.links.flows.named("flows"), d.links.packets.named("packets")}
}
