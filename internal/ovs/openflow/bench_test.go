package openflow

import (
	"slices"
	"testing"

	"tuplenet/internal/ovs/ovstest"
)

// BenchmarkEncode encodes flow-mods inside a bundle, into a buffer that is
// used again.
func BenchmarkEncode(b *testing.B) {
	mods := adds(3, 10_000, 1)
	var buf []byte
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i %= len(mods); i == 0 {
			buf = buf[:0]
		}
		var err error
		if buf, err = appendBundleAdd(buf, 1, uint32(i), &mods[i]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecode reads dumped flows.
func BenchmarkDecode(b *testing.B) {
	m := message{typ: typeMultipartReply, body: flowStatsReply(0)}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeFlowStats(m, func(FlowStat) bool { n++; return true }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/flow")
}

// BenchmarkCommit has a bridge apply bundles, of one flow and of many.
func BenchmarkCommit(b *testing.B) {
	o := ovstest.Start(b)
	c := bridges(b, o, "br0")[0]
	for _, size := range []struct {
		name string
		n    int
	}{{"1", 1}, {"1000", 1000}, {"10000", 10_000}} {
		b.Run(size.name, func(b *testing.B) {
			mods := adds(3, size.n, 1)
			for b.Loop() {
				if err := c.Commit(b.Context(), mods); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*size.n), "µs/flow")
		})
	}
}

// BenchmarkFullSync installs 500,000 flows in an empty bridge and dumps them:
// in bundles, and as plain flow-mods that were encoded before.
func BenchmarkFullSync(b *testing.B) {
	mods := adds(3, 500_000, 1)
	raw, err := AppendFlowMods(nil, mods)
	if err != nil {
		b.Fatal(err)
	}
	for name, install := range map[string]func(c *Conn) error{
		"bundles": func(c *Conn) error {
			for chunk := range slices.Chunk(mods, 10_000) {
				if err := c.Commit(b.Context(), chunk); err != nil {
					return err
				}
			}
			return nil
		},
		"raw": func(c *Conn) error {
			if err := c.WriteRaw(b.Context(), raw); err != nil {
				return err
			}
			return c.Barrier(b.Context())
		},
		"dump": func(c *Conn) error {
			for _, err := range c.Dump(b.Context(), 0, 0) {
				if err != nil {
					return err
				}
			}
			return nil
		},
	} {
		b.Run(name, func(b *testing.B) {
			o := ovstest.Start(b)
			c := bridges(b, o, "br0")[0]
			if name == "dump" {
				if err := c.WriteRaw(b.Context(), raw); err != nil {
					b.Fatal(err)
				}
				if err := c.Barrier(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				if name != "dump" {
					b.StopTimer()
					o.Ofctl("del-flows", "br0")
					b.StartTimer()
				}
				if err := install(c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
