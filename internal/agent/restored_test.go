package agent

import (
	"net/netip"
	"testing"

	"tuplenet/internal/ovs"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// A port that the store says is elsewhere has moved there, but not if a backup
// says so: that is where it once was.
func TestRestoredStore(t *testing.T) {
	ip := netip.MustParseAddr("10.0.0.1")
	port := topology.SwitchPort{Switch: "LS", Name: "vm", IP: ip, MAC: topology.MACFromIP(ip), Chassis: "hv-b"}
	for restored, want := range map[bool]plugState{false: yielded, true: claiming} {
		a := newAgent(Config{Log: logTo(t)})
		a.self, a.binder = "hv-a", newBinder(t.Context(), nil, "hv-a", a.log)
		a.liveness = newLiveness(t.Context(), a)
		a.plugs["vm"] = &plug{state: bound}
		a.readUpdate(t.Context(), store.Update{Snapshot: true, Restored: restored,
			Changes: []topology.Change{{Key: port.Key(), Entity: port, Created: 1}}})
		if got := a.plugs["vm"].state; got != want {
			t.Errorf("restored %t: the port's state is %d, want %d", restored, got, want)
		}
	}
}

// A port that a backup shows where it was known to be is this host's as before:
// who plugs in last has it.
func TestRestoredStoreWithoutChanges(t *testing.T) {
	ip := netip.MustParseAddr("10.0.0.1")
	port := topology.SwitchPort{Switch: "LS", Name: "vm", IP: ip, MAC: topology.MACFromIP(ip), Chassis: "hv-a"}
	a := newAgent(Config{Log: logTo(t)})
	a.self, a.binder = "hv-a", newBinder(t.Context(), nil, "hv-a", a.log)
	a.liveness = newLiveness(t.Context(), a)
	a.plugs["vm"] = &plug{iface: ovs.Interface{IfaceID: "vm", OFPort: 1}}
	for _, restored := range []bool{false, true} {
		a.readUpdate(t.Context(), store.Update{Snapshot: true, Restored: restored,
			Changes: []topology.Change{{Key: port.Key(), Entity: port, Created: 1}}})
		if got := a.plugs["vm"].state; got != bound {
			t.Errorf("restored %t: the port is %s, want %s", restored, got, bound)
		}
	}
}
