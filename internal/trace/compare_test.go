package trace

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"tuplenet/flows"
)

// altered returns a deep enough copy of records, changed step by step.
func altered(records []Record, change func(chassis string, s *Step) (keep bool)) []Record {
	var out []Record
	for _, r := range records {
		steps := r.Steps
		r.Steps = nil
		for _, s := range steps {
			if s.Header != nil {
				h := *s.Header
				s.Header = &h
			}
			s.Ends = slices.Clone(s.Ends)
			if change(r.Chassis, &s) {
				r.Steps = append(r.Steps, s)
			}
		}
		out = append(out, r)
	}
	return out
}

// asLive makes of a dry trace what agents would have told who know what nobody
// else does: MACs, ports, and other flows to the same end.
func asLive(records []Record) []Record {
	return altered(records, func(_ string, s *Step) bool {
		if s.Header != nil {
			if madeUp(s.Header.EthDst) {
				s.Header.EthDst[1]++
			}
			s.Header.SrcPrt += 7
		}
		s.Object = strings.Replace(s.Object, "demand for port ", "switch port ", 1)
		s.Priority++
		s.Assumed = ""
		return true
	})
}

// TestCompareAgrees compares each path with the others, and those of nodes that
// have all flows with those of nodes on demand, which have asked for them.
func TestCompareAgrees(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"two-hosts", "two-edges", "nat", "down", "no-record", "outer-elsewhere"} {
		archive := archiveOf(t, name)
		changes := stored(t, section(archive, "topology"))
		n, all := NewNetwork(changes, nil), NewNetwork(changes, func(string) Settings { return Settings{AllFlows: true} })
		for line := range strings.Lines(section(archive, "packets")) {
			dry, others := tracePacket(t, n, strings.Fields(line)), tracePacket(t, all, strings.Fields(line))
			for i, path := range dry {
				if d, differs := Compare(asLive(path), dry, n.model); differs {
					t.Errorf("%s: %s: path %d differs from itself: %s", name, line, i, d)
				}
				if d, differs := Compare(asLive(others[i]), dry, n.model); differs && delivered(path) != "" {
					t.Errorf("%s: %s: path %d differs where there are all flows: %s", name, line, i, d)
				}
			}
		}
	}
}

func TestCompareDiffers(t *testing.T) {
	t.Parallel()
	n := NewNetwork(stored(t, section(archiveOf(t, "two-hosts"), "topology")), nil)
	word := []string{"lsp-alice", "icmp", "10.20.2.10"}
	dry := tracePacket(t, n, word)
	path := dry[0]
	const alice, bob = "host-alice", "host-bob"
	for name, test := range map[string]struct {
		live []Record
		want Difference
	}{
		"nobody tells of it": {nil, Difference{Chassis: alice,
			Want: "come to table switch-arp of switch LS-A", Got: "not been seen there"}},
		"it was not sent": {
			[]Record{{Chassis: alice, Sequence: 1, Steps: []Step{{Ends: []End{{Kind: Refused, Why: "no interface here"}}}}}},
			Difference{Chassis: alice, Want: "been sent", Got: "not been: no interface here"}},
		"the other chassis got nothing": {
			altered(path, func(chassis string, _ *Step) bool { return chassis == alice }),
			Difference{Chassis: bob, Want: "come to table arrival of switch LS-B", Got: "not been seen there", Unseen: true}},
		"another table": {
			altered(path, func(_ string, s *Step) bool {
				if s.Table == flows.TableRouterReply {
					s.Table, s.Ends = flows.TableDrop, []End{{Kind: Drop}}
				}
				return s.Table <= flows.TableRouterConnected || s.Table == flows.TableDrop
			}),
			Difference{Chassis: alice, Table: "router-connected", Want: "come to table router-reply of router LR-central",
				Got: "come to table drop of router LR-central"}},
		"another port": {
			altered(path, func(chassis string, s *Step) bool {
				if chassis == alice && s.To == 522 {
					s.To = 523
				}
				return true
			}),
			Difference{Chassis: alice, Table: "switch-lookup", Want: "come in by LS-B_to_LR-central to leave by lsp-bob", Got: "come in by LS-B_to_LR-central to leave by port 523"}},
		"another address": {
			altered(path, func(_ string, s *Step) bool {
				if s.Header != nil && s.Table == flows.TableRouterReply {
					s.Header.IPSrc = netip.MustParseAddr("10.9.9.9")
				}
				return true
			}),
			Difference{Chassis: alice, Table: "router-connected",
				Want: "become ICMP echo request 10.20.1.10 -> 10.20.2.10, TTL 63 (MACs f2:01:00:00:00:01 -> f2:01:0a:14:01:01)",
				Got:  "become ICMP echo request 10.9.9.9 -> 10.20.2.10, TTL 63 (MACs f2:01:00:00:00:01 -> f2:01:0a:14:01:01)"}},
		"another chassis": {
			altered(path, func(_ string, s *Step) bool {
				for i := range s.Ends {
					if s.Ends[i].Kind == Tunnel {
						s.Ends[i].Chassis = "host-carol"
					}
				}
				return true
			}),
			Difference{Chassis: alice, Table: "tunnel", Want: "been sent to host-bob", Got: "been sent to host-carol"}},
		"another route": {
			altered(path, func(_ string, s *Step) bool {
				if s.Table == flows.TableRouterRoute {
					s.Object = "router port LR-central/other"
				}
				return true
			}),
			Difference{Chassis: alice, Table: "router-route", Want: "taken the flow of router port LR-central/LR-central_to_LS-B",
				Got: "taken that of router port LR-central/other"}},
		"Open vSwitch holds another flow": {
			altered(path, func(_ string, s *Step) bool {
				s.Astray = s.Table == flows.TableRouterNAT
				return true
			}),
			Difference{Chassis: alice, Table: "router-nat", Want: "taken the flow of rule pipeline", Got: "taken another one than its agent has made"}},
		"agents of the original, which tell devices": {
			[]Record{
				{Chassis: alice, Sequence: 1, Original: true, Stage: SwitchIngressIn, Datapath: 1},
				{Chassis: alice, Sequence: 2, Original: true, Stage: RouterIngressIn, Datapath: 2},
				{Chassis: alice, Sequence: 3, Original: true, Stage: SwitchIngressIn, Datapath: 9},
			},
			Difference{Chassis: alice, Want: "come to switch LS-B", Got: "come to device 9"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, differs := Compare(test.live, dry, n.model); !differs || got != test.want {
				t.Errorf("Compare: %+v, %v\nwant     %+v", got, differs, test.want)
			}
		})
	}
}

func TestCompareOriginals(t *testing.T) {
	t.Parallel()
	n := NewNetwork(stored(t, section(archiveOf(t, "two-hosts"), "topology")), nil)
	dry := tracePacket(t, n, []string{"lsp-alice", "icmp", "10.20.2.10"})
	var live []Record
	for i, at := range []struct {
		chassis  string
		datapath uint32
	}{{"host-alice", 1}, {"host-alice", 1}, {"host-alice", 2}, {"host-alice", 6}, {"host-bob", 6}} {
		live = append(live, Record{Chassis: at.chassis, Sequence: i + 1, Original: true, Stage: SwitchIngressIn, Datapath: at.datapath})
	}
	if d, differs := Compare(live, dry, n.model); differs {
		t.Errorf("the devices differ: %s", d)
	}
}

// TestComparePending compares the way of a packet whose flows were only asked for
// with the one that it takes from then on.
func TestComparePending(t *testing.T) {
	t.Parallel()
	archive := archiveOf(t, "two-edges")
	changes := stored(t, section(archive, "topology"))
	n := NewNetwork(changes, nil)
	word := []string{"lsp-alice", "icmp", "10.20.2.99"}
	detour := tracePacket(t, n, word)[0]
	if d, differs := Compare(detour, tracePacket(t, n, word), n.model); differs {
		t.Errorf("nobody has the address, and the edge is asked each time: %s", d)
	}
	known := NewNetwork(append(changes, stored(t, "LS/LS-B/lsp/new ip=10.20.2.99,mac=f2:01:00:00:00:99,chassis=host-bob")...), nil)
	if d, differs := Compare(detour, tracePacket(t, known, word), known.model); !differs || !d.Pending {
		t.Errorf("Compare: %+v, %v, want it to be pending", d, differs)
	}
	lost := altered(detour, func(chassis string, s *Step) bool {
		s.Astray = chassis == "host-alice" && s.Table == flows.TableSwitchTarget || s.Table == flows.TableRouterConnected
		return true
	})
	if d, differs := Compare(lost, tracePacket(t, known, word), known.model); !differs || d.Pending {
		t.Errorf("Compare: %+v, %v, want flows that are lost to be told", d, differs)
	}
}

// TestCompareKnownNeighbour compares an ARP request of a machine that the agent
// knows, which the store does not tell of.
func TestCompareKnownNeighbour(t *testing.T) {
	t.Parallel()
	n := NewNetwork(stored(t, section(archiveOf(t, "two-hosts"), "topology")), nil)
	dry := tracePacket(t, n, []string{"lsp-alice", "arp", "10.20.1.1"})
	live := altered(dry[0], func(_ string, s *Step) bool { return s.Table != flows.TableSwitchTarget })
	if d, differs := Compare(live, dry, n.model); differs || len(live[0].Steps) == 0 {
		t.Errorf("the way past switch-target differs: %s", d)
	}
}

// TestCompareBFD says that a way is dead, and that no flow is wrong.
func TestCompareBFD(t *testing.T) {
	t.Parallel()
	n := NewNetwork(stored(t, section(archiveOf(t, "two-hosts"), "topology")), nil)
	dry := tracePacket(t, n, []string{"lsp-alice", "icmp", "10.20.2.10"})
	live := altered(dry[0], func(_ string, s *Step) bool {
		switch s.Table {
		case flows.TableSwitchOutput:
			s.Rule = "nobody"
		case flows.TableTunnel:
			s.Table, s.Ends = flows.TableRedirect, nil
		}
		return true
	})
	if d, _ := Compare(live, dry, n.model); d.Table != "switch-output" || !strings.HasSuffix(d.Got, ", as BFD finds no way") {
		t.Errorf("Compare: %+v", d)
	}
}
