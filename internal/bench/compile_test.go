package bench

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/topology"
)

// BenchmarkCompile compiles large topologies from scratch on one core, from
// entities in memory to flows with their cookies, model and indexes included.
func BenchmarkCompile(b *testing.B) {
	const large = "2,000 chassis, 100 switches, 20,000 ports, 20 local"
	compile(b, Large, "compile from scratch: "+large)
	compile(b, Plain, "compile from scratch on demand: "+large+", traffic to 40")
	compile(b, Edged, "compile from scratch on an edge: "+large+", 50 edges, 5,000 NAT rules, 2,000 static routes")
}

func compile(b *testing.B, size Size, what string) {
	changes := size.Changes()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var times []time.Duration
	var live, held uint64
	var engine *flows.Engine
	for range max(b.N, 7) {
		engine = nil
		before := heap()
		start := time.Now()
		model := topology.NewModel()
		engine = flows.NewEngine(model)
		delta := engine.Update(model.Apply(changes).Touched)
		times = append(times, time.Since(start))
		for _, c := range delta.Conflicts {
			b.Error(c)
		}
		for _, n := range delta.Begun {
			if p, bad := n.(flows.Problem); bad {
				b.Error(p)
			}
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		held = max(held, m.HeapInuse)
		live = heap() - before
		runtime.KeepAlive(model)
	}
	took := median(times)
	b.ReportMetric(took.Seconds()*1000, "ms/compile")
	report(b, what,
		fmt.Sprintf("%.2f s of one core, %d MB live (%d MB with garbage); %d flows in %d rule runs", took.Seconds(), live>>20, held>>20, engine.Len(), engine.Runs()),
		"0.5 s, 200 MB", took < 500*time.Millisecond && held < 200<<20)
}

// BenchmarkAddPort adds one remote port to a compiled topology. It must cost
// the same at 200 ports and at 20,000.
func BenchmarkAddPort(b *testing.B) {
	type cost struct {
		took   time.Duration
		runs   int
		allocs float64
	}
	measure := func(size Size) cost {
		model := topology.NewModel()
		engine := flows.NewEngine(model)
		engine.Update(model.Apply(size.Changes()).Touched)
		runtime.GC()
		var c cost
		var times []time.Duration
		i := size.Ports
		add := func() {
			port := size.Port(i)
			i++
			change := []topology.Change{{Key: port.Key(), Entity: port, Created: int64(1e6 + i)}}
			start := time.Now()
			delta := engine.Update(model.Apply(change).Touched)
			times = append(times, time.Since(start))
			c.runs = delta.Runs
		}
		for range max(b.N, 1000) {
			add()
		}
		c.took = median(times)
		c.allocs = testing.AllocsPerRun(200, add)
		return c
	}
	small, large := measure(Small), measure(Edged)
	b.ReportMetric(float64(large.took.Microseconds()), "us/port")
	report(b, "one remote port added, at 200 ports and at 20,000 with 50 edges",
		fmt.Sprintf("%d and %d rule runs, %.0f and %.0f allocations, %.1f and %.1f µs", small.runs, large.runs, small.allocs, large.allocs,
			micro(small.took), micro(large.took)),
		"the same; 100 µs", small.runs == large.runs && large.took < 100*time.Microsecond)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func micro(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}
