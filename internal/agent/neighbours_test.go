package agent

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tuplenet/flows"
	"tuplenet/internal/ovs"
	"tuplenet/internal/packet"
	"tuplenet/internal/topology"
)

var (
	gatewayHop = hop{"outside1", netip.MustParseAddr("192.168.1.1")}
	gatewayMAC = topology.MAC{0x52, 0x54, 0, 0, 0, 1}
	otherMAC   = topology.MAC{0x52, 0x54, 0, 0, 0, 2}
	edgeVia    = via{OFPort: 5, IP: netip.MustParseAddr("192.168.1.20"), MAC: topology.MACFromIP(netip.MustParseAddr("192.168.1.20"))}
)

// segment is a physical network around neighbours, with a clock of its own.
type segment struct {
	*neighbours
	t     *testing.T
	now   time.Time
	ways  map[string]via // by switch
	saved [][]byte
}

func newSegment(t *testing.T) *segment {
	s := &segment{t: t, now: time.Unix(1_700_000_000, 0), ways: map[string]via{"outside1": edgeVia}}
	s.neighbours = newNeighbours(
		func(h hop) (via, bool) { v, ok := s.ways[h.Switch]; return v, ok },
		func(ip netip.Addr) bool { return ip == edgeVia.IP },
		func(content []byte) { s.saved = append(s.saved, content) })
	return s
}

// advance lets time pass, with a tick whenever one is due.
func (s *segment) advance(d time.Duration) effect {
	s.t.Helper()
	var all effect
	end := s.now.Add(d)
	for range 100_000 {
		at, ok := s.next()
		if !ok || at.After(end) {
			s.now = end
			return all
		}
		if at.After(s.now) {
			s.now = at
		}
		e := s.tick(s.now)
		all.inject = append(all.inject, e.inject...)
		all.changes = append(all.changes, e.changes...)
		all.failed = append(all.failed, e.failed...)
	}
	s.t.Fatal("something is due all the time")
	return all
}

// send has a routed packet come, whose content is its number.
func (s *segment) send(h hop, number int) effect {
	return s.wanted(h, numbered(h, number), s.now)
}

func numbered(h hop, number int) ovs.Packet {
	return ovs.Packet{Why: flows.NoNeighbour, Datapath: 5, NextHop: h.IP, Ports: 0xffff0114, Flags: 8, Router: 4, Entry: 0xa02,
		Data: fmt.Appendf(nil, "packet %d", number)}
}

// answer has a machine say where it is, in a reply.
func (s *segment) answer(h hop, mac topology.MAC) effect {
	return s.heard(h.Switch, reply(h.IP, mac), s.now)
}

func reply(ip netip.Addr, mac topology.MAC) []byte {
	frame := packet.ARPRequest(mac, ip, edgeVia.IP)
	frame[21] = byte(packet.OpReply)
	return frame
}

// resolve makes a hop known.
func (s *segment) resolve(h hop, mac topology.MAC) {
	s.t.Helper()
	s.send(h, 0)
	if e := s.answer(h, mac); len(e.changes) != 1 {
		s.t.Fatalf("%v has not become known: %v", h, e)
	}
}

func machine(i int) hop {
	return hop{"outside1", netip.AddrFrom4([4]byte{192, 168, byte(2 + i/256), byte(i)})}
}

func request(h hop) injection {
	return injection{packet.ARPRequest(edgeVia.MAC, edgeVia.IP, h.IP), []flows.Action{flows.Output{Port: edgeVia.OFPort}}}
}

func poll(h hop, mac topology.MAC) injection {
	return injection{packet.ARPPoll(edgeVia.MAC, edgeVia.IP, mac, h.IP), []flows.Action{flows.Output{Port: edgeVia.OFPort}}}
}

func learnedHop(h hop, mac topology.MAC) topology.Change {
	n := topology.Neighbour{Switch: h.Switch, IP: h.IP, MAC: mac}
	return topology.Change{Key: n.Key(), Entity: n}
}

func goneHop(h hop) topology.Change {
	return topology.Change{Key: topology.Neighbour{Switch: h.Switch, IP: h.IP}.Key()}
}

func sentOn(h hop, mac topology.MAC, number int) injection { return forward(numbered(h, number), mac) }

var compareEffects = cmp.Options{cmp.AllowUnexported(effect{}), cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()}

func wantEffect(t *testing.T, what string, got, want effect) {
	t.Helper()
	if diff := cmp.Diff(want, got, compareEffects); diff != "" {
		t.Errorf("%s (-want +got)\n%s", what, diff)
	}
}

func TestNeighbourAnswers(t *testing.T) {
	s := newSegment(t)
	wantEffect(t, "first packet", s.send(gatewayHop, 1), effect{inject: []injection{request(gatewayHop)}})
	wantEffect(t, "second packet", s.send(gatewayHop, 2), effect{})
	wantEffect(t, "answer", s.answer(gatewayHop, gatewayMAC), effect{
		inject:  []injection{sentOn(gatewayHop, gatewayMAC, 1), sentOn(gatewayHop, gatewayMAC, 2)},
		changes: []topology.Change{learnedHop(gatewayHop, gatewayMAC)},
	})
	wantEffect(t, "a packet that was faster than the flow", s.send(gatewayHop, 3),
		effect{inject: []injection{sentOn(gatewayHop, gatewayMAC, 3)}})
	wantEffect(t, "the same answer", s.answer(gatewayHop, gatewayMAC), effect{})
	wantEffect(t, "the next seconds", s.advance(refreshInterval/2), effect{})
}

// TestForward shows what a packet that has waited is sent on with.
func TestForward(t *testing.T) {
	load := func(b flows.Bits, v uint64) flows.Action { return flows.Load{Dst: b, Value: v} }
	want := []flows.Action{
		load(flows.All(flows.Metadata), 5),
		load(flows.All(flows.Reg4), 8),
		load(flows.All(flows.Reg5), 0xffff0114),
		load(flows.All(flows.Reg6), 0),
		load(flows.Bits{Field: flows.Reg3, N: 24}, 4),
		load(flows.Bits{Field: flows.Reg7, N: 16}, 0xa02),
		load(flows.All(flows.Reg0), 0xc0a80101),
		load(flows.All(flows.EthDst), 0x525400000001),
		flows.Resubmit{Table: flows.TableNeighbourDone},
	}
	got := forward(numbered(gatewayHop, 7), gatewayMAC)
	if diff := cmp.Diff(injection{[]byte("packet 7"), want}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestNeighbourNeverAnswers(t *testing.T) {
	s := newSegment(t)
	s.send(gatewayHop, 1)
	s.send(gatewayHop, 2)
	wantEffect(t, "before a second has passed", s.advance(999*time.Millisecond), effect{})
	wantEffect(t, "after a second", s.advance(time.Millisecond), effect{inject: []injection{request(gatewayHop)}})
	wantEffect(t, "after two", s.advance(time.Second), effect{inject: []injection{request(gatewayHop)}})
	wantEffect(t, "after three", s.advance(time.Second),
		effect{failed: []ovs.Packet{numbered(gatewayHop, 1), numbered(gatewayHop, 2)}})
	wantEffect(t, "an answer that comes too late", s.answer(gatewayHop, gatewayMAC), effect{})
	wantEffect(t, "the next packet", s.send(gatewayHop, 3), effect{inject: []injection{request(gatewayHop)}})
	if s.count.Failed != 2 || s.count.Requests != 4 {
		t.Errorf("%+v", s.count)
	}
}

func TestNeighbourAnswersOutOfOrder(t *testing.T) {
	s := newSegment(t)
	a, b := machine(1), machine(2)
	for i, h := range []hop{a, b, b, a} {
		s.send(h, i)
	}
	wantEffect(t, "the second", s.answer(b, otherMAC), effect{
		inject:  []injection{sentOn(b, otherMAC, 1), sentOn(b, otherMAC, 2)},
		changes: []topology.Change{learnedHop(b, otherMAC)}})
	wantEffect(t, "the first", s.answer(a, gatewayMAC), effect{
		inject:  []injection{sentOn(a, gatewayMAC, 0), sentOn(a, gatewayMAC, 3)},
		changes: []topology.Change{learnedHop(a, gatewayMAC)}})
}

func TestNoWayOut(t *testing.T) {
	s := newSegment(t)
	elsewhere := hop{"outside2", gatewayHop.IP}
	wantEffect(t, "no way out", s.send(elsewhere, 1), effect{failed: []ovs.Packet{numbered(elsewhere, 1)}})
	s.send(gatewayHop, 2)
	delete(s.ways, "outside1")
	wantEffect(t, "way out lost while a packet waits", s.advance(time.Second), effect{failed: []ovs.Packet{numbered(gatewayHop, 2)}})
	if len(s.table) != 0 {
		t.Errorf("%d hops are left", len(s.table))
	}
}

func TestMACChanges(t *testing.T) {
	s := newSegment(t)
	s.resolve(gatewayHop, gatewayMAC)
	moved := effect{changes: []topology.Change{learnedHop(gatewayHop, otherMAC)}}
	wantEffect(t, "announcement", s.heard("outside1", packet.GratuitousARP(otherMAC, gatewayHop.IP), s.now), moved)
	moved.changes[0] = learnedHop(gatewayHop, gatewayMAC)
	wantEffect(t, "reply", s.answer(gatewayHop, gatewayMAC), moved)
	if s.count.Learned != 3 {
		t.Errorf("%+v", s.count)
	}
}

func TestRefreshAndAge(t *testing.T) {
	s := newSegment(t)
	s.resolve(gatewayHop, gatewayMAC)
	for range 5 {
		heard := s.now
		for e := (effect{}); len(e.inject) == 0; e = s.advance(time.Second) {
			wantEffect(t, "before the poll", e, effect{})
			if s.now.Sub(heard) > refreshInterval*5/4 {
				t.Fatal("no poll")
			}
		}
		if s.now.Sub(heard) < refreshInterval*3/4 {
			t.Errorf("polled %v after it was heard of", s.now.Sub(heard))
		}
		wantEffect(t, "answer to a poll", s.answer(gatewayHop, gatewayMAC), effect{})
	}
	if s.count.Requests != 1+5 {
		t.Errorf("%+v", s.count)
	}
	all := s.advance(refreshInterval*5/4 + 5*time.Second)
	ask := poll(gatewayHop, gatewayMAC)
	wantEffect(t, "a machine that has died", all, effect{
		inject:  []injection{ask, ask, ask},
		changes: []topology.Change{goneHop(gatewayHop)}})
	if s.count.Aged != 1 || len(s.table) != 0 {
		t.Errorf("%d hops, %+v", len(s.table), s.count)
	}
	wantEffect(t, "the next packet", s.send(gatewayHop, 1), effect{inject: []injection{request(gatewayHop)}})
}

func TestRefreshWithoutWayOut(t *testing.T) {
	s := newSegment(t)
	s.resolve(gatewayHop, gatewayMAC)
	delete(s.ways, "outside1")
	wantEffect(t, "without a way out", s.advance(time.Hour), effect{})
	s.ways["outside1"] = edgeVia
	at, _ := s.next()
	s.wayBack("outside2", s.now)
	if now, _ := s.next(); now != at {
		t.Error("another switch's way out has to do with it")
	}
	s.wayBack("outside1", s.now)
	ask := poll(gatewayHop, gatewayMAC)
	wantEffect(t, "with one again", s.advance(refreshSoon-time.Nanosecond+3*time.Second), effect{
		inject: []injection{ask, ask, ask}, changes: []topology.Change{goneHop(gatewayHop)}})
}

// TestWayOutLostWhilePolled loses the way out amidst the polls: what could not
// be answered does not count.
func TestWayOutLostWhilePolled(t *testing.T) {
	s := newSegment(t)
	s.resolve(gatewayHop, gatewayMAC)
	for range 750 {
		if len(s.advance(100*time.Millisecond).inject) > 0 {
			break
		}
	}
	delete(s.ways, "outside1")
	wantEffect(t, "without a way out", s.advance(time.Hour), effect{})
	s.ways["outside1"] = edgeVia
	ask := poll(gatewayHop, gatewayMAC)
	wantEffect(t, "with one again", s.advance(80*time.Second), effect{
		inject: []injection{ask, ask, ask}, changes: []topology.Change{goneHop(gatewayHop)}})
}

// TestNeighboursSurvive restarts the agent.
func TestNeighboursSurvive(t *testing.T) {
	path := filepath.Join(t.TempDir(), neighbourFile)
	s := newSegment(t)
	s.resolve(gatewayHop, gatewayMAC)
	s.advance(0)
	for i := range 300 {
		s.resolve(machine(i), otherMAC)
		s.advance(0)
	}
	if len(s.saved) != 1 {
		t.Errorf("saved %d times in one moment", len(s.saved))
	}
	s.advance(saveInterval)
	if len(s.saved) != 2 {
		t.Errorf("saved %d times", len(s.saved))
	}
	s.advance(10 * time.Second)
	s.flush()
	if len(s.saved) != 2 {
		t.Errorf("saved %d times, the last without a reason", len(s.saved))
	}
	if err := replaceFile(path, s.saved[1]); err != nil {
		t.Fatal(err)
	}

	before, err := readNeighbours(path)
	if err != nil {
		t.Fatal(err)
	}
	again := newSegment(t)
	again.now = s.now
	e := again.load(before, again.now)
	if len(e.changes) != 301 || !slices.Contains(e.changes, learnedHop(gatewayHop, gatewayMAC)) {
		t.Errorf("loaded %d of 301", len(e.changes))
	}
	wantEffect(t, "a packet", again.send(gatewayHop, 1), effect{inject: []injection{sentOn(gatewayHop, gatewayMAC, 1)}})
	polled := 0
	for range 10 {
		e := again.advance(time.Second)
		if len(e.inject) > 60 {
			t.Errorf("%d polls in a second", len(e.inject))
		}
		for _, p := range e.inject {
			arp, _ := packet.ParseARP(p.Frame)
			if h := (hop{"outside1", arp.TargetIP}); h == gatewayHop { // has died meanwhile
				continue
			}
			polled++
			again.answer(hop{"outside1", arp.TargetIP}, otherMAC)
		}
	}
	if polled != 300 {
		t.Errorf("polled %d of 300 within 10 seconds", polled)
	}
	again.advance(3 * time.Second)
	if again.known != 300 || again.table[gatewayHop] != nil {
		t.Errorf("%d are known, the dead one: %v", again.known, again.table[gatewayHop])
	}
}

// TestForgottenIsNotSaved ages the only neighbour and restarts.
func TestForgottenIsNotSaved(t *testing.T) {
	s := newSegment(t)
	s.resolve(gatewayHop, gatewayMAC)
	s.advance(2 * time.Minute)
	if got := string(s.saved[len(s.saved)-1]); got != neighbourHeader {
		t.Errorf("saved %q", got)
	}
}
