package soak

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestLost shows which pings count as lost, and when they were sent: answers may
// come late, out of order and twice, and numbers begin anew after 65535.
func TestLost(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	answer := func(n int, late time.Duration) {
		at := time.Unix(1000, 0).Add(time.Duration(n) * pingInterval).Add(late)
		fmt.Fprintf(&out, "[%d.%06d] 64 bytes from 10.0.0.1: icmp_seq=%d ttl=63 time=%.3f ms\n",
			at.Unix(), at.Nanosecond()/1000, n&0xffff, float64(late)/float64(time.Millisecond))
	}
	out.WriteString("PING 10.0.0.1 (10.0.0.1) 56(84) bytes of data.\n")
	for n := 1; n < 66000; n++ {
		switch {
		case n >= 100 && n < 103, n == 65540: // lost
		case n == 200: // late, see below
		case n == 210:
			answer(200, 500*time.Millisecond)
			answer(210, 0)
			answer(210, 0)
		default:
			answer(n, 0)
		}
	}
	g := &pinger{done: make(chan struct{}), answered: map[int]time.Time{}}
	g.read(strings.NewReader(out.String()))
	var numbers []int
	for _, at := range g.lost() {
		numbers = append(numbers, int((at.Sub(time.Unix(1000, 0))+pingInterval/2)/pingInterval))
	}
	if got := fmt.Sprint(numbers); got != "[100 101 102 65540]" {
		t.Errorf("lost are %s", got)
	}
	if again := g.lost(); len(again) > 0 {
		t.Errorf("they are lost a second time: %v", again)
	}
}

// TestExplained shows what an outage explains: its pairs, its time, and no more
// pings of a pair than it may cost.
func TestExplained(t *testing.T) {
	t.Parallel()
	p, other := pair{"a", "b"}, pair{"c", "d"}
	now := time.Now()
	s := &soak{pingers: []*pinger{{pair: p}, {pair: other}}}
	o := s.open("a fault", func(q pair) bool { return q == p }, func() bool { return false })
	o.from, o.to = now, now.Add(time.Second)
	for _, tt := range []struct {
		pair pair
		at   time.Duration
		want bool
	}{{p, 500 * time.Millisecond, true}, {other, 500 * time.Millisecond, false}, {p, -time.Second, false}, {p, 2 * time.Second, false}} {
		if got := s.explained(tt.pair, now.Add(tt.at)); got != tt.want {
			t.Errorf("%s after %s: explained %v", tt.pair, tt.at, got)
		}
	}
	o.most = 1
	if !s.explained(p, now) || s.explained(p, now) {
		t.Error("an outage that may cost one ping of a pair explains none, or a second one")
	}
}
