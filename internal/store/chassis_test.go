package store

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/internal/topology"
)

// removal returns a store with a chassis hv1 that has ports, and what it can be
// cleaned up to.
func removal(t *testing.T) *Store {
	s := start(t)
	for key, value := range map[string]string{
		"entity_view/chassis/hv1":      "ip=192.168.1.1,tick=1",
		"entity_view/chassis/hv2":      "ip=192.168.1.2,tick=1",
		"entity_view/LS/S/lsp/p":       "ip=10.0.0.1,mac=f2:01:0a:00:00:01,chassis=hv1,x=y",
		"entity_view/LS/S/lsp/q":       "ip=10.0.0.2,mac=f2:01:0a:00:00:02,chassis=hv2",
		"entity_view/LS/O/lsp/byhand":  "ip=255.255.255.255,mac=ff:ff:ff:ff:ff:ee,chassis=hv1",
		"entity_view/LS/P/lsp/patched": "ip=255.255.255.255,mac=ff:ff:ff:ff:ff:ee,peer=br0,chassis=hv1",
		"entity_view/LR/R":             "id=1,chassis=hv1",
		"communicate/push/hv1/cmd/7":   "cmd=pkt_trace",
		"communicate/push/hv11/cmd/7":  "cmd=pkt_trace",
		"down/hv11":                    "since=1",
	} {
		put(t, s, key, value)
	}
	return s
}

// wantCleaned expects that nothing of hv1 is left but what an operator chose.
func wantCleaned(t *testing.T, s *Store) {
	t.Helper()
	for key, want := range map[string]string{
		"entity_view/chassis/hv1":      "",
		"entity_view/chassis/hv2":      "ip=192.168.1.2,tick=1",
		"contact/hv1":                  "",
		"down/hv1":                     "",
		"entity_view/LS/S/lsp/p":       "ip=10.0.0.1,mac=f2:01:0a:00:00:01,x=y",
		"entity_view/LS/S/lsp/q":       "ip=10.0.0.2,mac=f2:01:0a:00:00:02,chassis=hv2",
		"entity_view/LS/O/lsp/byhand":  "ip=255.255.255.255,mac=ff:ff:ff:ff:ff:ee",
		"entity_view/LS/P/lsp/patched": "ip=255.255.255.255,mac=ff:ff:ff:ff:ff:ee,peer=br0,chassis=hv1",
		"entity_view/LR/R":             "id=1,chassis=hv1",
		"communicate/push/hv1/cmd/7":   "",
		"communicate/push/hv11/cmd/7":  "cmd=pkt_trace",
		"down/hv11":                    "since=1",
	} {
		wantKey(t, s, key, want)
	}
}

func remove(t *testing.T, s *Store, name string) Removal {
	t.Helper()
	r, err := s.RemoveChassis(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRemoveChassisThatIsGone(t *testing.T) {
	key := func(sw, port string) topology.Key {
		return topology.Key{Kind: topology.KindSwitchPort, Parent: sw, Name: port}
	}
	for name, gone := range map[string]func(s *Store){
		"down": func(s *Store) { put(t, s, "down/hv1", "since=5") },
		"never declared down": func(s *Store) {
			put(t, s, "entity_view/chassis/hv1", "ip=192.168.1.1,mtu=1438,tick=1")
		},
		"stopped": func(s *Store) { put(t, s, "contact/hv1", "192.168.1.1,stopped") },
		"without a record": func(s *Store) {
			mustDelete(t, s, topology.Chassis{Name: "hv1"}.Key(), false)
		},
		"without a record, and down": func(s *Store) {
			mustDelete(t, s, topology.Chassis{Name: "hv1"}.Key(), false)
			put(t, s, "down/hv1", "since=5")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := removal(t)
			gone(s)
			r := remove(t, s, "hv1")
			if !r.Gone || r.Alive || !slices.Equal(r.Released, []topology.Key{key("O", "byhand"), key("S", "p")}) {
				t.Errorf("got %+v", r)
			}
			wantCleaned(t, s)
			_, err := s.RemoveChassis(t.Context(), "hv1")
			wantError(t, err, ErrNotFound, "chassis hv1 not found")
		})
	}
}

// An agent that runs keeps its ports, and so does one of which nobody knows
// whether it runs, as its record has no MTU. Asked again, the operator means it.
func TestRemoveChassisThatMayLive(t *testing.T) {
	bound := "ip=10.0.0.1,mac=f2:01:0a:00:00:01,chassis=hv1,x=y"
	s := removal(t)
	put(t, s, "entity_view/chassis/hv1", "ip=192.168.1.1,mtu=1438,tick=1")
	put(t, s, "contact/hv1", "192.168.1.1")
	if r := remove(t, s, "hv1"); r.Gone || !r.Alive || len(r.Released) > 0 {
		t.Errorf("got %+v of a chassis that is alive", r)
	}
	wantKey(t, s, "entity_view/chassis/hv1", "")
	wantKey(t, s, "contact/hv1", "192.168.1.1")
	wantKey(t, s, "entity_view/LS/S/lsp/p", bound)
	_, err := s.RemoveChassis(t.Context(), "hv1")
	wantError(t, err, ErrNotFound)

	s = removal(t)
	if r := remove(t, s, "hv1"); r.Gone || r.Alive || len(r.Released) > 0 {
		t.Errorf("got %+v of a chassis of which nothing is known", r)
	}
	wantKey(t, s, "entity_view/LS/S/lsp/p", bound)
	if r := remove(t, s, "hv1"); !r.Gone || len(r.Released) != 2 {
		t.Errorf("got %+v the second time", r)
	}
	wantCleaned(t, s)
}

// More ports than one transaction can release.
func TestRemoveChassisWithManyPorts(t *testing.T) {
	s := removal(t)
	put(t, s, "down/hv1", "since=5")
	var ops []clientv3.Op
	for i := range 300 {
		p := topology.SwitchPort{Switch: "M", Name: fmt.Sprintf("p%03d", i), IP: netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), Chassis: "hv1"}
		p.MAC = topology.MACFromIP(p.IP)
		ops = append(ops, clientv3.OpPut(s.layout.path(p.Key()), p.Value()))
	}
	for batch := range slices.Chunk(ops, maxOps) {
		if _, err := s.client.Txn(t.Context()).Then(batch...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if r := remove(t, s, "hv1"); !r.Gone || len(r.Released) != 302 {
		t.Errorf("released %d ports, want 302", len(r.Released))
	}
	wantCleaned(t, s)
	if left, err := s.boundTo(t.Context(), "hv1"); err != nil || len(left) > 0 {
		t.Errorf("still bound: %v, %v", left, err)
	}
}
