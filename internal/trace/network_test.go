package trace

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/tools/txtar"

	"tuplenet/internal/topology"
)

// TestReachability holds paths against what everybody knows of switches that a
// router joins: a packet comes to the port that has its destination, if that is
// plugged in on a chassis that is there, and it comes from one that has a record.
func TestReachability(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		changes, ports := randomTopology(r)
		allFlows := r.IntN(2) == 0
		n := NewNetwork(changes, func(string) Settings { return Settings{AllFlows: allFlows} })
		there := map[string]bool{}
		for _, c := range n.chassis {
			there[c.Name] = !n.down(c.Name)
		}
		for range 50 {
			from, to := ports[r.IntN(len(ports))], ports[r.IntN(len(ports))]
			if from == to || from.Chassis == "" {
				continue
			}
			frame, _, err := Probe{Port: from.Name, IPDst: to.IP}.Frame(n.model)
			if err != nil {
				t.Fatal(err)
			}
			paths, err := n.Trace(from.Name, frame)
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			_, registered := there[from.Chassis]
			if to.Chassis == from.Chassis || registered && there[to.Chassis] {
				want = to.Name
			}
			for _, path := range paths {
				if got := delivered(path); got != want {
					t.Errorf("seed %d, all flows %v: from %+v to %+v: it comes to %q, want %q\n%s", seed, allFlows, from, to, got, want, renderPath(path))
				}
			}
			if len(paths) != 1 {
				t.Errorf("seed %d: %d paths from %s to %s, want 1", seed, len(paths), from.Name, to.Name)
			}
		}
	}
}

// delivered returns the interface by which a packet leaves.
func delivered(records []Record) string {
	for _, r := range records {
		for _, s := range r.Steps {
			for _, e := range s.Ends {
				if e.Kind == Output {
					return e.Iface
				}
			}
		}
	}
	return ""
}

// randomTopology returns some switches that one router joins, with ports on some
// chassis, of which some have no record or are down.
func randomTopology(r *rand.Rand) (changes []topology.Change, ports []topology.SwitchPort) {
	add := func(e topology.Entity) {
		changes = append(changes, topology.Change{Key: e.Key(), Entity: e, Created: int64(len(changes) + 1)})
	}
	chassis := []string{"hv0", "hv1", "hv2", "hv3", "hv4"}
	for i, name := range chassis[:1+r.IntN(5)] {
		add(topology.Chassis{Name: name, IP: netip.AddrFrom4([4]byte{192, 168, 1, byte(i + 1)}), MTU: 1438, Tick: 1})
		if r.IntN(4) == 0 {
			add(topology.Absence{Chassis: name, Since: 1})
		}
	}
	chassis = append(chassis, "")
	add(topology.Router{Name: "R", ID: 1})
	for s := range 1 + r.IntN(4) {
		sw, lrp := fmt.Sprint("S", s), fmt.Sprint("R_to_S", s)
		gateway := netip.AddrFrom4([4]byte{10, 0, byte(s), 1})
		add(topology.Switch{Name: sw, ID: uint32(10 + s)})
		add(topology.SwitchPort{Switch: sw, Name: sw + "_to_R", IP: gateway, MAC: topology.MACFromIP(gateway), Peer: lrp})
		add(topology.RouterPort{Router: "R", Name: lrp, Net: netip.PrefixFrom(gateway, 24), MAC: topology.MACFromIP(gateway), Peer: sw + "_to_R"})
		for p := range 1 + r.IntN(8) {
			ip := netip.AddrFrom4([4]byte{10, 0, byte(s), byte(10 + p)})
			port := topology.SwitchPort{Switch: sw, Name: fmt.Sprintf("p%d.%d", s, p), IP: ip, MAC: topology.MACFromIP(ip), Chassis: chassis[r.IntN(len(chassis))]}
			add(port)
			ports = append(ports, port)
		}
	}
	return changes, ports
}

// TestTraceIsRepeatable asks for the same packets in different order and from
// several goroutines: nothing depends on what was asked before.
func TestTraceIsRepeatable(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"two-edges", "nat", "outer-elsewhere"} {
		archive := archiveOf(t, name)
		var packets [][]string
		for line := range strings.Lines(section(archive, "packets")) {
			packets = append(packets, strings.Fields(line))
		}
		changes := stored(t, section(archive, "topology"))
		used := NewNetwork(changes, nil)
		want := make([]string, len(packets))
		for i, packet := range packets {
			for _, path := range tracePacket(t, NewNetwork(changes, nil), packet) {
				want[i] += renderPath(path)
			}
		}
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				for _, i := range rand.Perm(len(packets)) {
					got := ""
					for _, path := range tracePacket(t, used, packets[i]) {
						got += renderPath(path)
					}
					if got != want[i] {
						t.Errorf("%s: %v:\n%s\nbut asked first:\n%s", name, packets[i], got, want[i])
					}
				}
			})
		}
		group.Wait()
	}
}

func archiveOf(t testing.TB, name string) *txtar.Archive {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join("testdata", "dry", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

func TestTraceErrors(t *testing.T) {
	t.Parallel()
	n := NewNetwork(stored(t, section(archiveOf(t, "two-hosts"), "topology")), nil)
	frame := make([]byte, 60)
	for _, test := range []struct {
		port  string
		frame []byte
		want  string
	}{
		{"lsp-none", frame, "not found"},
		{"LS-A_to_LR-central", frame, "router port LR-central_to_LS-A is plugged in"},
		{"lsp-nowhere", frame, "plugged in on no chassis"},
		{"lsp-alice", frame[:13], "13"},
	} {
		if _, err := n.Trace(test.port, test.frame); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("trace from %s: error %v, want %q in it", test.port, err, test.want)
		}
	}
}

// FuzzTrace traces any frames. Each path ends somewhere, and is what the flows
// say.
func FuzzTrace(f *testing.F) {
	var changes []topology.Change
	for _, name := range []string{"two-edges", "nat"} {
		changes = append(changes, stored(f, section(archiveOf(f, name), "topology"))...)
	}
	n := NewNetwork(changes, func(chassis string) Settings { return Settings{AllFlows: chassis == "host-bob"} })
	ports := []string{"lsp-alice", "lsp-bob", "lsp-carol", "patchport-outside1", "patchport-outside2"}
	for line := range strings.Lines(section(archiveOf(f, "nat"), "packets")) {
		_, frame, err := packetOf(f, n, strings.Fields(line))
		if err != nil {
			f.Fatal(err)
		}
		for i := range ports {
			f.Add(uint8(i), frame)
		}
	}
	f.Fuzz(func(t *testing.T, from uint8, frame []byte) {
		if len(frame) < etherLen || len(frame) > etherLen+MaxSize {
			return
		}
		paths, err := n.Trace(ports[int(from)%len(ports)], frame)
		if err != nil {
			t.Fatal(err)
		}
		if len(paths) == 0 || len(paths) > maxPaths {
			t.Errorf("%d paths", len(paths))
		}
		for _, path := range paths {
			steps, whole := chain(path)
			ends := 0
			for _, s := range steps {
				ends += len(s.Ends)
				if _, lost := s.end(Lost); s.Astray || s.Rule == "" && !lost {
					t.Errorf("table %s on %s: the packet takes no flow, or not the one that there is", s.Table, s.chassis)
				}
			}
			if ends == 0 || !whole {
				t.Errorf("%d ends, whole: %v", ends, whole)
			}
			if t.Failed() {
				t.Fatal(renderPath(path))
			}
		}
	})
}

// BenchmarkTrace traces packets between 20,000 ports on 100 chassis: the first
// on a chassis, and those after it.
func BenchmarkTrace(b *testing.B) {
	var changes []topology.Change
	add := func(e topology.Entity) {
		changes = append(changes, topology.Change{Key: e.Key(), Entity: e, Created: int64(len(changes) + 1)})
	}
	add(topology.Router{Name: "R", ID: 1})
	for c := range 100 {
		add(topology.Chassis{Name: fmt.Sprint("hv", c), IP: netip.AddrFrom4([4]byte{192, 168, 1, byte(c + 1)}), MTU: 1438, Tick: 1})
	}
	for s := range 100 {
		sw, lrp := fmt.Sprint("S", s), fmt.Sprint("R_to_S", s)
		gateway := netip.AddrFrom4([4]byte{10, 0, byte(s), 1})
		add(topology.Switch{Name: sw, ID: uint32(10 + s)})
		add(topology.SwitchPort{Switch: sw, Name: sw + "_to_R", IP: gateway, MAC: topology.MACFromIP(gateway), Peer: lrp})
		add(topology.RouterPort{Router: "R", Name: lrp, Net: netip.PrefixFrom(gateway, 24), MAC: topology.MACFromIP(gateway), Peer: sw + "_to_R"})
		for p := range 200 {
			ip := netip.AddrFrom4([4]byte{10, 0, byte(s), byte(10 + p)})
			add(topology.SwitchPort{Switch: sw, Name: fmt.Sprintf("p%d.%d", s, p), IP: ip, MAC: topology.MACFromIP(ip), Chassis: fmt.Sprint("hv", p%100)})
		}
	}
	for _, allFlows := range []bool{false, true} {
		settings := func(string) Settings { return Settings{AllFlows: allFlows} }
		n := NewNetwork(changes, settings)
		trace := func(b *testing.B, n *Network, to int) {
			frame, _, err := Probe{Port: "p0.0", IPDst: netip.AddrFrom4([4]byte{10, 0, byte(to % 100), 11})}.Frame(n.model)
			if err != nil {
				b.Fatal(err)
			}
			if paths, err := n.Trace("p0.0", frame); err != nil || delivered(paths[0]) == "" {
				b.Fatal(err, "not delivered")
			}
		}
		b.Run(fmt.Sprintf("first/all=%v", allFlows), func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				clear(n.bridges)
				trace(b, n, 1)
			}
		})
		b.Run(fmt.Sprintf("next/all=%v", allFlows), func(b *testing.B) {
			for i := range b.N {
				trace(b, n, i)
			}
		})
	}
}
