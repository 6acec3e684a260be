package agent

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tuplenet/internal/packet"
	"tuplenet/internal/topology"
)

func TestWaitingForOneHop(t *testing.T) {
	s := newSegment(t)
	for i := range 100 {
		s.send(gatewayHop, i)
	}
	if s.count.Dropped != 100-maxWaitingHop || s.count.Requests != 1 {
		t.Errorf("%+v", s.count)
	}
	e := s.answer(gatewayHop, gatewayMAC)
	var want []injection
	for i := 100 - maxWaitingHop; i < 100; i++ {
		want = append(want, sentOn(gatewayHop, gatewayMAC, i))
	}
	if diff := cmp.Diff(want, e.inject); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestWaitingInAll scans a network: what waits, and what is asked for, stays
// bounded.
func TestWaitingInAll(t *testing.T) {
	s := newSegment(t)
	s.send(gatewayHop, 0)
	s.send(gatewayHop, 1)
	for i := range maxWaiting - 2 {
		s.send(machine(i), i)
	}
	if s.count.Dropped != 0 || len(s.waiting) != maxWaiting {
		t.Fatalf("%d wait, %+v", len(s.waiting), s.count)
	}
	s.send(machine(2000), 2000)
	if got := s.answer(gatewayHop, gatewayMAC).inject; len(got) != 1 || !bytes.Equal(got[0].Frame, []byte("packet 1")) {
		t.Errorf("the oldest packet did not make way: %v", got)
	}
	for i := range 5000 {
		s.send(machine(3000+i), i)
	}
	wantEffect(t, "a hop that nobody waits for any more", s.answer(machine(3), gatewayMAC), effect{})
	if len(s.waiting) != maxWaiting || len(s.table) != maxWaiting+1 || len(s.due.queue.list) != maxWaiting+1 {
		t.Errorf("%d packets wait for %d hops of %d", len(s.waiting), len(s.table)-1, len(s.due.queue.list)-1)
	}
	if e := s.advance(3 * time.Second); len(e.failed) != maxWaiting {
		t.Errorf("%d packets failed", len(e.failed))
	}
	if len(s.waiting) != 0 || len(s.table) != 1 {
		t.Errorf("%d packets and %d hops are left", len(s.waiting), len(s.table))
	}
}

func TestUnsolicited(t *testing.T) {
	s := newSegment(t)
	s.resolve(gatewayHop, gatewayMAC)
	before := s.count.Ignored
	for i := range 10_000 {
		h := machine(i)
		s.heard(h.Switch, packet.GratuitousARP(otherMAC, h.IP), s.now)
		s.answer(h, otherMAC)
	}
	own := hop{"outside1", edgeVia.IP}
	s.send(own, 1)
	wantEffect(t, "somebody who claims an address of ours", s.answer(own, otherMAC), effect{})
	wantEffect(t, "one with the same address in another switch", s.answer(hop{"outside2", gatewayHop.IP}, otherMAC), effect{})
	wantEffect(t, "no ARP", s.heard("outside1", []byte("nonsense"), s.now), effect{})
	if len(s.table) != 2 || s.known != 1 || s.count.Ignored-before != 20_003 {
		t.Errorf("%d hops, %d of them known, %+v", len(s.table), s.known, s.count)
	}
}

func TestRefreshesAreSpread(t *testing.T) {
	s := newSegment(t)
	for i := range 1000 {
		s.resolve(machine(i), gatewayMAC)
	}
	for range 90 {
		e := s.advance(time.Second)
		if len(e.inject) > 3*1000/int(refreshInterval/time.Second) {
			t.Errorf("%d polls in a second", len(e.inject))
		}
		for _, p := range e.inject {
			arp, _ := packet.ParseARP(p.Frame)
			s.answer(hop{"outside1", arp.TargetIP}, gatewayMAC)
		}
	}
	if s.known != 1000 {
		t.Errorf("%d are known", s.known)
	}
}

func TestOldestMakesWay(t *testing.T) {
	s := newSegment(t)
	for i := range maxNeighbours {
		s.resolve(machine(i), gatewayMAC)
		s.now = s.now.Add(time.Millisecond)
	}
	s.answer(machine(0), gatewayMAC) // so that the next is the oldest
	s.send(gatewayHop, 1)
	wantEffect(t, "one more", s.answer(gatewayHop, gatewayMAC), effect{
		inject:  []injection{sentOn(gatewayHop, gatewayMAC, 1)},
		changes: []topology.Change{goneHop(machine(1)), learnedHop(gatewayHop, gatewayMAC)}})
	if len(s.table) != maxNeighbours || s.known != maxNeighbours || s.count.Evicted != 1 {
		t.Errorf("%d hops, %d of them known, %+v", len(s.table), s.known, s.count)
	}
}

func TestLoadIsBounded(t *testing.T) {
	s := newSegment(t)
	var before []topology.Neighbour
	for i := range maxNeighbours + 100 {
		h := machine(i)
		before = append(before, topology.Neighbour{Switch: h.Switch, IP: h.IP, MAC: gatewayMAC})
	}
	before = append(before[:1], before...) // one of them twice
	if e := s.load(before, s.now); len(e.changes) != maxNeighbours || s.known != maxNeighbours {
		t.Errorf("%d are known, %d of them new", s.known, len(e.changes))
	}
}
