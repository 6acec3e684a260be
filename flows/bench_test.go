package flows_test

import (
	"runtime"
	"testing"

	"tuplenet/flows"
	"tuplenet/internal/bench"
	"tuplenet/internal/topology"
)

// BenchmarkCompile compiles a topology from scratch: from entities in memory to
// flows with their cookies.
func BenchmarkCompile(b *testing.B) {
	changes := bench.Large.Changes()
	var before, after runtime.MemStats
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		runtime.GC()
		runtime.ReadMemStats(&before)
		b.StartTimer()
		model := topology.NewModel()
		engine := flows.NewEngine(model)
		engine.Update(model.Apply(changes).Touched)
		b.StopTimer()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(engine.Len()), "flows")
		b.ReportMetric(float64(engine.Runs()), "runs")
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB-live")
		b.StartTimer()
	}
}

// BenchmarkAddPort adds one remote port to a compiled topology. It must cost
// the same at 200 ports and at 20,000.
func BenchmarkAddPort(b *testing.B) {
	for name, size := range map[string]bench.Size{"200": bench.Small, "20000": bench.Large} {
		b.Run("ports="+name, func(b *testing.B) {
			model := topology.NewModel()
			engine := flows.NewEngine(model)
			engine.Update(model.Apply(size.Changes()).Touched)
			port := size.Port(size.Ports)
			put := []topology.Change{{Key: port.Key(), Entity: port, Created: 1e6}}
			del := []topology.Change{{Key: port.Key()}}
			runs := 0
			b.ReportAllocs()
			for b.Loop() {
				runs = engine.Update(model.Apply(put).Touched).Runs
				b.StopTimer()
				engine.Update(model.Apply(del).Touched)
				b.StartTimer()
			}
			b.ReportMetric(float64(runs), "runs/op")
		})
	}
}
