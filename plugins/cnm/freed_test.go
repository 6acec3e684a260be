package cnm

import (
	"errors"
	"net/netip"
	"testing"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// A swarm frees a network while containers of it are still ending.
func TestFreed(t *testing.T) {
	for _, last := range []string{"endpoint", "comparison"} {
		t.Run(last, func(t *testing.T) {
			b := newNetworkBed(t, central)
			allocate := object{"NetworkID": id("net"), "Options": object{}, "IPv4Data": []object{{"Pool": "10.20.3.0/24", "Gateway": "10.20.3.1/24"}}}
			b.must("NetworkDriver.AllocateNetwork", allocate, nil)
			ending := topology.SwitchPort{Switch: id("net"), Name: "ending", IP: netip.MustParseAddr("10.20.3.9"), MAC: topology.MAC{2, 0, 0, 0, 0, 9}, Chassis: "hv2"}
			b.create(ending)
			b.must("NetworkDriver.FreeNetwork", named("net", ""), nil)
			if n := b.record("net"); !n.Freed {
				t.Errorf("the record is %+v", n)
			}
			b.must("NetworkDriver.DeleteEndpoint", named("net", "first"), nil) // and another one is there
			if n := b.record("net"); !n.Freed {
				t.Errorf("the record is %+v", n)
			}
			if err := b.store.Delete(t.Context(), ending.Key(), false); err != nil {
				t.Fatal(err)
			}
			if last == "endpoint" {
				b.must("NetworkDriver.DeleteEndpoint", named("net", "ending"), nil)
			} else {
				newFakeDocker(t, b.plugin.cfg.DockerSocket)
				if _, err := b.plugin.newReconciler().pass(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if _, err := b.store.Network(t.Context(), id("net")); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("the network is still there (%v)", err)
			}
			b.wantTopology()
		})
	}
}
