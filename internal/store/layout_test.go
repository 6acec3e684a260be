package store

import (
	"testing"

	"github.com/RoaringBitmap/roaring/v2"

	"tuplenet/internal/topology"
)

func TestLayoutKey(t *testing.T) {
	l := newLayout("")
	for path, want := range map[string]topology.Key{
		"/tuplenet/entity_view/LS/S":          {Kind: topology.KindSwitch, Name: "S"},
		"/tuplenet/entity_view/LS/S/lsp/p":    {Kind: topology.KindSwitchPort, Parent: "S", Name: "p"},
		"/tuplenet/entity_view/LR/R":          {Kind: topology.KindRouter, Name: "R"},
		"/tuplenet/entity_view/LR/R/lrp/p":    {Kind: topology.KindRouterPort, Parent: "R", Name: "p"},
		"/tuplenet/entity_view/LR/R/lsr/r":    {Kind: topology.KindStaticRoute, Parent: "R", Name: "r"},
		"/tuplenet/entity_view/LR/R/lnat/n":   {Kind: topology.KindNAT, Parent: "R", Name: "n"},
		"/tuplenet/entity_view/chassis/hv1":   {Kind: topology.KindChassis, Name: "hv1"},
		"/tuplenet/contact/hv1":               {Kind: topology.KindPresence, Name: "hv1"},
		"/tuplenet/contender/hv1":             {Kind: topology.KindContender, Name: "hv1"},
		"/tuplenet/down/hv1":                  {Kind: topology.KindAbsence, Name: "hv1"},
		"/tuplenet/entity_bind/hv1/S/p":       {Kind: topology.KindBinding, Parent: "hv1", Name: "S/p"},
		"/tuplenet/entity_bind/hv1/S":         {},
		"/tuplenet/entity_bind/hv1/S/p/q":     {},
		"/tuplenet/contact/":                  {},
		"/tuplenet/contact/a/b":               {},
		"/tuplenet/down":                      {},
		"/tuplenet/entity_view/LS":            {},
		"/tuplenet/entity_view/LS/":           {},
		"/tuplenet/entity_view/LS/S/":         {},
		"/tuplenet/entity_view/LS/S/lsp":      {},
		"/tuplenet/entity_view/LS/S/lsp/":     {},
		"/tuplenet/entity_view/LS/S/lsp/p/q":  {},
		"/tuplenet/entity_view/LS/S/lrp/p":    {},
		"/tuplenet/entity_view/LS//lsp/p":     {},
		"/tuplenet/entity_view/LR/R/lsp/p":    {},
		"/tuplenet/entity_view/chassis/a/b":   {},
		"/tuplenet/entity_view/other/x":       {},
		"/tuplenet/ip_book/LS/S":              {},
		"/tuplenet/communicate/push/hv1/cmd/": {},
		"/elsewhere/entity_view/LS/S":         {},
		"":                                    {},
	} {
		got, ok := l.key(path)
		if got != want || ok != (want != topology.Key{}) {
			t.Errorf("%s reads as %v (%v), want %v", path, got, ok, want)
		}
		if ok && l.path(got) != path {
			t.Errorf("%v is kept in %s, want %s", got, l.path(got), path)
		}
		if from, end := l.watched(); ok && (path < from || path >= end) {
			t.Errorf("%s is an entity's and outside of the range that is watched", path)
		}
	}
}

// A path that names an entity is that entity's path.
func FuzzLayoutKey(f *testing.F) {
	f.Add("/tuplenet/entity_view/LS/S/lsp/p")
	f.Add("/tuplenet/entity_view/LR/R/lnat/n")
	f.Add("/tuplenet/entity_view/chassis/hv1")
	f.Add("/tuplenet/entity_view/LS//lsp/")
	f.Add("/tuplenet/contact/hv1")
	f.Add("/tuplenet/entity_bind/hv1/S/p")
	l := newLayout("")
	f.Fuzz(func(t *testing.T, path string) {
		if key, ok := l.key(path); ok && (l.path(key) != path || key.Name == "") {
			t.Errorf("%q reads as %v, which is kept in %q", path, key, l.path(key))
		}
	})
}

func TestBitmap(t *testing.T) {
	for _, numbers := range [][]uint32{{}, {1}, {1, 2, 65535, 1 << 20}} {
		bits := roaring.BitmapOf(numbers...)
		text := encodeBitmap(bits)
		if len(numbers) == 0 && text != "OjAAAAAAAAA=" {
			t.Errorf("an empty bitmap is %q", text)
		}
		if got, err := decodeBitmap(text); err != nil || !got.Equals(bits) {
			t.Errorf("%v reads as %v (%v)", bits, got, err)
		}
	}
	for _, bad := range []string{"?", "AAAA", "OjAAAAEAAAA=", "OjAAAAAAAAAA"} {
		if bits, err := decodeBitmap(bad); err == nil {
			t.Errorf("%q reads as %v", bad, bits)
		}
	}
	if _, ok := lowestFree(roaring.BitmapOf(1, 2), 1, 2); ok {
		t.Error("there should be no free number")
	}
}

// Whatever others write: no panic, and what is read can be written.
func FuzzDecodeBitmap(f *testing.F) {
	f.Add("OjAAAAAAAAA=")
	f.Add("OjAAAAEAAAAAAAAAEAAAAAEA")
	run := roaring.New()
	run.AddRange(1, 70000)
	run.RunOptimize()
	f.Add(encodeBitmap(run))
	f.Fuzz(func(t *testing.T, text string) {
		bits, err := decodeBitmap(text)
		if err != nil {
			return
		}
		bits.Add(77)
		again, err := decodeBitmap(encodeBitmap(bits))
		if err != nil || !again.Equals(bits) {
			t.Errorf("%v was written and reads as %v (%v)", bits, again, err)
		}
	})
}
