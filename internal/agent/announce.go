package agent

import (
	"cmp"
	"slices"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/packet"
)

// announceAfter are the times at which an address is announced, since it came:
// at once, and again in case the frame got lost or a switch was not ready to
// learn (RFC 5227, section 2.3, repeats an announcement for the same reason).
//
// The second one settles who takes over. When the ways between edges break, the
// edge that is cut off cannot tell at first which of them is gone, and announces
// what the others announce; within one interval of BFD it finds no way to
// anybody, and is silent.
var announceAfter = []time.Duration{0, 300 * time.Millisecond, time.Second, 3 * time.Second}

// No more than announceBurst frames go out in announcePause: a takeover may
// concern thousands of addresses, and switches have queues.
const (
	announceBurst = 200
	announcePause = 20 * time.Millisecond
)

// announcer tells the physical network, by gratuitous ARP, which addresses this
// node answers for. The agent's loop owns it.
type announcer struct {
	rounds map[flows.Address]int // how often an address was announced since it came
	due    agenda[flows.Address]
	rest   time.Time // nothing goes out before

	sent uint64 // frames
}

func newAnnouncer() *announcer {
	return &announcer{rounds: map[flows.Address]int{}, due: newAgenda[flows.Address]()}
}

// begin takes in an address that this node answers for from now on.
func (a *announcer) begin(address flows.Address, now time.Time) {
	a.rounds[address] = 0
	a.due.put(address, now)
}

// end forgets an address.
func (a *announcer) end(address flows.Address) {
	delete(a.rounds, address)
	a.due.remove(address)
}

// anew announces those addresses anew, as if they had just come, that concerned
// selects: somebody else may have had them, or the switch there is another one.
func (a *announcer) anew(now time.Time, concerned func(flows.Address) bool) {
	var all []flows.Address
	for address := range a.rounds {
		if concerned(address) {
			all = append(all, address)
		}
	}
	slices.SortFunc(all, func(x, y flows.Address) int {
		return cmp.Or(cmp.Compare(x.OFPort, y.OFPort), x.IP.Compare(y.IP))
	})
	for _, address := range all {
		a.begin(address, now)
	}
}

// tick returns the announcements that are due.
func (a *announcer) tick(now time.Time) []injection {
	if now.Before(a.rest) {
		return nil
	}
	var out []injection
	for len(out) < announceBurst {
		address, ok := a.due.take(now)
		if !ok {
			break
		}
		out = append(out, injection{
			packet.GratuitousARP(address.MAC, address.IP), []flows.Action{flows.Output{Port: address.OFPort}}})
		done := a.rounds[address]
		a.rounds[address]++
		if done+1 < len(announceAfter) {
			a.due.put(address, now.Add(announceAfter[done+1]-announceAfter[done]))
		}
	}
	if len(out) == announceBurst {
		a.rest = now.Add(announcePause)
	}
	a.sent += uint64(len(out))
	return out
}

// next returns when tick is to be called; ok is false if there is nothing to
// do.
func (a *announcer) next() (at time.Time, ok bool) {
	at, ok = a.due.next()
	if ok && at.Before(a.rest) {
		at = a.rest
	}
	return at, ok
}
