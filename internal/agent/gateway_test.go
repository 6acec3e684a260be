package agent

import (
	"testing"
	"time"
)

// A gateway is known before a packet wants it, and asked for until it is.
func TestGateway(t *testing.T) {
	s := newSegment(t)
	gw := machine(1)
	s.expect(gw, true, s.now)
	wantEffect(t, "expected", s.advance(0), effect{inject: []injection{request(gw)}})
	s.advance(10 * time.Second)
	if s.table[gw] == nil {
		t.Fatal("a gateway that does not answer is given up")
	}
	// A packet does not wait for the next round.
	wantEffect(t, "a packet", s.send(gw, 1), effect{inject: []injection{request(gw)}})
	if e := s.answer(gw, gatewayMAC); len(e.changes) != 1 || len(e.inject) != 1 {
		t.Errorf("the answer leads to %v", e)
	}
	// It falls silent, is forgotten, and asked for again.
	if e := s.advance(time.Minute); len(e.changes) != 1 || s.table[gw] == nil || s.table[gw].known {
		t.Errorf("silence leads to %v", e.changes)
	}
	s.expect(gw, false, s.now)
	s.advance(time.Minute)
	if s.table[gw] != nil {
		t.Error("what is no gateway any more is asked for")
	}
	if _, ok := s.next(); ok {
		t.Error("something is due")
	}
}

// A gateway whose way out comes later is asked for then.
func TestGatewayWithoutWayOut(t *testing.T) {
	s := newSegment(t)
	gw := machine(1)
	delete(s.ways, gw.Switch)
	s.expect(gw, true, s.now)
	wantEffect(t, "without a way out", s.advance(time.Second), effect{})
	s.ways[gw.Switch] = edgeVia
	s.wayBack(gw.Switch, s.now)
	wantEffect(t, "the way out is there", s.advance(0), effect{inject: []injection{request(gw)}})
}
