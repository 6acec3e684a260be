package agent

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tuplenet/flows"
	"tuplenet/internal/packet"
	"tuplenet/internal/topology"
)

func addressAt(i int, ofport uint32) flows.Address {
	ip := netip.AddrFrom4([4]byte{192, 168, byte(i / 256), byte(i)})
	return flows.Address{OFPort: ofport, IP: ip, MAC: topology.MACFromIP(ip)}
}

func announcement(a flows.Address) injection {
	return injection{packet.GratuitousARP(a.MAC, a.IP), []flows.Action{flows.Output{Port: a.OFPort}}}
}

// sentAt is what an announcer has sent, by the time since the beginning.
type sentAt map[time.Duration][]injection

// passTime ticks an announcer whenever it says, from begin to end.
func passTime(t *testing.T, a *announcer, begin, from, to time.Duration) sentAt {
	t.Helper()
	epoch := time.Unix(1_700_000_000, 0)
	sent := sentAt{}
	now := from
	for range 10_000 {
		at, ok := a.next()
		if !ok || at.After(epoch.Add(to)) {
			return sent
		}
		now = max(now, at.Sub(epoch))
		out := a.tick(epoch.Add(now))
		if len(out) > announceBurst {
			t.Errorf("%d frames at once", len(out))
		}
		sent[now-begin] = append(sent[now-begin], out...)
	}
	t.Fatal("something is due all the time")
	return nil
}

// each returns frames at each of the times at which they are announced.
func each(frames []injection) sentAt {
	at := sentAt{}
	for _, after := range announceAfter {
		at[after] = frames
	}
	return at
}

func TestAnnounce(t *testing.T) {
	epoch := time.Unix(1_700_000_000, 0)
	a := newAnnouncer()
	one, two := addressAt(20, 5), addressAt(30, 5)
	a.begin(one, epoch)
	a.begin(two, epoch)
	both := []injection{announcement(one), announcement(two)}
	if diff := cmp.Diff(each(both),
		passTime(t, a, 0, 0, time.Hour)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if a.sent != 8 {
		t.Errorf("counted %d frames", a.sent)
	}
}

func TestAnnounceEnds(t *testing.T) {
	epoch := time.Unix(1_700_000_000, 0)
	a := newAnnouncer()
	one := addressAt(20, 5)
	a.begin(one, epoch)
	if got := a.tick(epoch); len(got) != 1 {
		t.Errorf("%d announcements at once", len(got))
	}
	a.end(one)
	a.anew(epoch, func(flows.Address) bool { return true })
	if at, ok := a.next(); ok {
		t.Errorf("something is due at %v", at)
	}
}

func TestAnnounceAgain(t *testing.T) {
	epoch := time.Unix(1_700_000_000, 0)
	a := newAnnouncer()
	here, there := addressAt(20, 5), addressAt(30, 6)
	a.begin(here, epoch)
	a.begin(there, epoch)
	passTime(t, a, 0, 0, 2*time.Second) // amidst the repetitions
	const takeover = 2 * time.Second
	a.anew(epoch.Add(takeover), func(flows.Address) bool { return true })
	both := []injection{announcement(here), announcement(there)}
	if diff := cmp.Diff(each(both),
		passTime(t, a, takeover, takeover, time.Minute)); diff != "" {
		t.Errorf("takeover (-want +got)\n%s", diff)
	}
	const back = time.Hour
	a.anew(epoch.Add(back), func(n flows.Address) bool { return n.OFPort == 6 })
	one := []injection{announcement(there)}
	if diff := cmp.Diff(each(one),
		passTime(t, a, back, back, 2*back)); diff != "" {
		t.Errorf("link back (-want +got)\n%s", diff)
	}
}

func TestAnnounceMany(t *testing.T) {
	const many = 1050
	epoch := time.Unix(1_700_000_000, 0)
	a := newAnnouncer()
	for i := range many {
		a.begin(addressAt(i, 5), epoch)
	}
	if got := a.tick(epoch); len(got) != announceBurst {
		t.Errorf("%d frames at once", len(got))
	}
	if got := a.tick(epoch.Add(announcePause - 1)); got != nil {
		t.Errorf("%d frames, too early", len(got))
	}
	sent := passTime(t, a, 0, announcePause, time.Minute)
	if n := len(sent); n != 5+6+6+6 {
		t.Errorf("sent in %d bursts", n)
	}
	first := announceBurst
	for at, frames := range sent {
		if at < announceAfter[1] {
			first += len(frames)
		}
	}
	if first != many || a.sent != 4*many {
		t.Errorf("announced %d addresses before the second round, sent %d frames in all", first, a.sent)
	}
}
