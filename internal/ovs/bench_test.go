package ovs

import (
	"testing"

	"tuplenet/flows"
	"tuplenet/internal/ovs/ovstest"
)

// BenchmarkSync sends 100,000 flows to an empty bridge.
func BenchmarkSync(b *testing.B) {
	o := ovstest.Start(b)
	d, _ := open(b, o)
	const n = 100_000
	var ms []flows.CookieFlow
	for i := range uint64(n) {
		ms = append(ms, mods(testFlow(i+1, 1))...)
	}
	await(b, d, "the flow connection", d.NeedsSync)
	for b.Loop() {
		b.StopTimer()
		o.Ofctl("del-flows", "br-int")
		b.StartTimer()
		if _, err := d.Sync(b.Context(), sequence(ms)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "flows/s")
}

// BenchmarkSyncInPlace synchronises 100,000 flows that are there already.
func BenchmarkSyncInPlace(b *testing.B) {
	o := ovstest.Start(b)
	d, _ := open(b, o)
	var ms []flows.CookieFlow
	for i := range uint64(100_000) {
		ms = append(ms, mods(testFlow(i+1, 1))...)
	}
	await(b, d, "the flow connection", d.NeedsSync)
	if _, err := d.Sync(b.Context(), sequence(ms)); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := d.Sync(b.Context(), sequence(ms)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkApply changes one flow: a new one comes, the last one goes.
func BenchmarkApply(b *testing.B) {
	o := ovstest.Start(b)
	d, _ := open(b, o)
	await(b, d, "the flow connection", d.NeedsSync)
	if _, err := d.Sync(b.Context(), sequence(nil)); err != nil {
		b.Fatal(err)
	}
	var n uint64
	var last []uint64
	for b.Loop() {
		n++
		ms := mods(testFlow(n, 1))
		if err := d.Apply(b.Context(), ms, last); err != nil {
			b.Fatal(err)
		}
		last = []uint64{ms[0].Cookie}
	}
}

// BenchmarkRefresh reads the bridge anew, with 2,000 tunnels, as every event
// of OVSDB makes it.
func BenchmarkRefresh(b *testing.B) {
	o := ovstest.Start(b)
	d, _ := open(b, o)
	want := manyTunnels(2000, 0)
	if err := d.SetTunnels(b.Context(), want); err != nil {
		b.Fatal(err)
	}
	await(b, d, "all tunnels", func() bool { return len(d.Tunnels()) == len(want) })
	s, err := d.currentSession()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if v, whole := readView(s.cache, "br-int"); !whole || len(v.tunnels) != len(want) {
			b.Fatalf("%d tunnels, whole %v", len(v.tunnels), whole)
		}
	}
}
