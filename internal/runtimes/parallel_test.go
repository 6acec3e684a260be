package runtimes

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"tuplenet/internal/lab"
)

// TestParallel attaches 64 containers on 4 hosts at the same time, and takes
// them back at the same time. It runs alone, and logs how long they took.
func TestParallel(t *testing.T) {
	const perHost = 16
	spec, err := lab.Generate(4)
	if err != nil {
		t.Fatal(err)
	}
	spec.Switches[0].Name = "LS_A"
	spec.Routers[0].Links[0].Switch = "LS_A"
	c := newClusterOf(t, spec, "host-1", "host-2", "host-3", "host-4")
	var pods []attachment
	for _, m := range c.machines {
		for i := range perHost {
			pods = append(pods, m.attachment(fmt.Sprintf("%s-pod%d", m.name, i)))
		}
	}
	addresses := make([]netip.Addr, len(pods))
	took := atOnce(t, pods, func(i int, a attachment) (err error) {
		addresses[i], err = a.add()
		return err
	})
	t.Logf("%d ADDs at once on %d hosts: median %s, longest %s", len(pods), len(c.machines), took[len(took)/2], took[len(took)-1])
	if slowest := took[len(took)-1]; slowest > 10*time.Second { // 1 s is promised, of a machine that does nothing else
		t.Errorf("one took %s", slowest)
	}
	if different := slices.Compact(slices.SortedFunc(slices.Values(addresses), netip.Addr.Compare)); len(different) != len(pods) {
		t.Errorf("%d containers have %d addresses: %s", len(pods), len(different), addresses)
	}
	if n := len(c.owned()); n != len(pods) {
		t.Errorf("%d ports in etcd have an owner, want %d", n, len(pods))
	}
	for i, a := range pods { // each to the next host
		to := addresses[(i+perHost)%len(pods)]
		a.on.inside(a.container, "ping", "-c", "1", "-W", "2", to.String())
	}
	took = atOnce(t, pods, func(_ int, a attachment) error { return a.del() })
	t.Logf("%d DELs at once: median %s, longest %s", len(pods), took[len(took)/2], took[len(took)-1])
	c.nothingLeft()
}

// atOnce does something with all containers at the same time, and returns how
// long each took, in order.
func atOnce(t *testing.T, pods []attachment, do func(i int, a attachment) error) []time.Duration {
	t.Helper()
	took := make([]time.Duration, len(pods))
	var wg sync.WaitGroup
	for i, a := range pods {
		wg.Go(func() {
			begin := time.Now()
			if err := do(i, a); err != nil {
				t.Errorf("%s on %s: %v", a.container, a.on.name, err)
			}
			took[i] = time.Since(begin).Round(time.Millisecond)
		})
	}
	wg.Wait()
	slices.Sort(took)
	return took
}
