package agent

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestAgenda compares an agenda with the plainest one that there could be.
func TestAgenda(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	epoch := time.Unix(1_700_000_000, 0)
	a := newAgenda[int]()
	type entry struct{ at, seq int }
	plain := map[int]entry{}
	first := func() (what int, ok bool) {
		for k, e := range plain {
			if b := plain[what]; !ok || e.at < b.at || e.at == b.at && e.seq < b.seq {
				what, ok = k, true
			}
		}
		return what, ok
	}
	for i := range 20_000 {
		what, at := random.IntN(50), random.IntN(100)
		switch random.IntN(4) {
		case 0:
			a.remove(what)
			delete(plain, what)
		case 1:
			got, ok := a.take(epoch.Add(time.Duration(at)))
			want, due := first()
			if due = due && plain[want].at <= at; ok != due || ok && got != want {
				t.Fatalf("step %d: took %d, %v, want %d, %v", i, got, ok, want, due)
			}
			if ok {
				delete(plain, want)
			}
		default:
			a.put(what, epoch.Add(time.Duration(at)))
			plain[what] = entry{at, i}
		}
		want, some := first()
		if next, ok := a.next(); ok != some || ok && !next.Equal(epoch.Add(time.Duration(plain[want].at))) {
			t.Fatalf("step %d: next is %v, %v, want %d", i, next, ok, plain[want].at)
		}
	}
}
