package agent

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
	"tuplenet/internal/trace"
)

// traced asks a chassis to trace a packet from a port, and returns what the
// agents tell until the packet has ended, one line a step.
func (s *site) traced(chassis, port string, frame []byte) (path []string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	c, err := s.store.Converse(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	id, err := c.Ask(ctx, []string{chassis}, store.Properties{"cmd": traceCommand, "port": port, "packet": hex.EncodeToString(frame)})
	if err != nil {
		s.t.Fatal(err)
	}
	sequence := 0
	for a := range c.Answers() {
		if a.Command != id {
			continue
		}
		r, err := trace.ParseRecord(a.Chassis, a.Sequence, a.Properties)
		if err != nil {
			s.t.Fatal(err)
		}
		if r.Sequence <= sequence {
			s.t.Errorf("record %d comes after %d", r.Sequence, sequence)
		}
		sequence = r.Sequence
		for _, step := range r.Steps {
			line := fmt.Sprintf("%s %s %s", r.Chassis, step.Table, step.Object)
			if step.Astray {
				line += " astray"
			}
			for _, e := range step.Ends {
				line += fmt.Sprintf(" %s %s%s", e.Kind, e.Iface, e.Why)
			}
			path = append(path, strings.Join(strings.Fields(line), " "))
			if len(step.Ends) > 0 {
				return path
			}
		}
	}
	s.t.Fatalf("the packet did not end: %q", path)
	return nil
}

// wantPath holds that all of want is in a path.
func wantPath(t *testing.T, path []string, want ...string) {
	t.Helper()
	text := strings.Join(path, "\n")
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("the path has no %q:\n%s", w, text)
		}
	}
}

func ethernet(dst, src string) []byte {
	d, err1 := topology.ParseMAC(dst)
	s, err2 := topology.ParseMAC(src)
	if err1 != nil || err2 != nil {
		panic("a MAC of the test is none")
	}
	return append(append(append(d[:], s[:]...), 0x88, 0xb5), make([]byte, 46)...)
}

// A traced packet is shown table by table, with the objects that led it; what
// cannot be sent is refused with a reason; and a flow that is not the agent's is
// noticed.
func TestTrace(t *testing.T) {
	s := newSite(t)
	h := s.host("hv-a", "192.168.1.1")
	s.create(topology.Switch{Name: "LS"})
	one, two := s.port("LS", "one", "10.0.0.1"), s.port("LS", "two", "10.0.0.2")
	h.plug("one")
	h.plug("two")
	eventually(t, "both ports are bound", func() bool {
		return s.chassisOf(one) == "hv-a" && s.chassisOf(two) == "hv-a" && strings.Count(h.flows(deliver), "output:") == 2
	})
	const macOne, macTwo, macNobody = "f2:01:0a:00:00:01", "f2:01:0a:00:00:02", "f2:01:0a:00:00:09"
	wantPath(t, s.traced("hv-a", "one", ethernet(macTwo, macOne)),
		"hv-a switch-lookup switch port LS/two", "hv-a switch-deliver interface two output two")
	wantPath(t, s.traced("hv-a", "one", ethernet(macNobody, macOne)), "hv-a switch-lookup", "hv-a drop drop")
	wantPath(t, s.traced("hv-a", "one", ethernet(macOne, macOne)), "hv-a switch-loopback interface one", "hv-a drop drop")
	wantPath(t, s.traced("hv-a", "absent", ethernet(macTwo, macOne)), "no interface here has the iface-id absent")
	wantPath(t, s.traced("hv-a", "one", []byte{1, 2}), "no Ethernet frame")

	// Somebody leads it astray.
	h.Ofctl("-O", "OpenFlow14", "add-flow", "br-int", "table=204,priority=40000,dl_dst="+macTwo+",actions=goto_table:252")
	wantPath(t, s.traced("hv-a", "one", ethernet(macTwo, macOne)), "hv-a switch-lookup switch port LS/two astray", "hv-a drop drop")
	h.Ofctl("-O", "OpenFlow14", "add-flow", "br-int", "table=204,priority=40000,dl_dst="+macTwo+",actions=drop")
	wantPath(t, s.traced("hv-a", "one", ethernet(macTwo, macOne)), "switch port LS/two lost")

	// No table has anything to show it.
	h.Ofctl("-O", "OpenFlow14", "del-flows", "br-int")
	wantPath(t, s.traced("hv-a", "one", ethernet(macTwo, macOne)), "hv-a classify lost no flow of the agent's has seen it: the bridge has lost its flows, or")
}
