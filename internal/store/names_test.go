package store

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tuplenet/internal/topology"
)

func TestNames(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, path := range []string{"LS/b", "LS/a", "LS/a 2", "LS/a\x1b[31m", "LS/a\nb", "LS/a/lsp/p1", "LS/b/lsp/p2", "LS/b/lsp/q", "LR/a/lrp/p3"} {
		put(t, s, "entity_view/"+path, "")
	}
	for _, tt := range []struct {
		kind           topology.Kind
		parent, prefix string
		want           []string
	}{
		{topology.KindSwitch, "", "", []string{"a", "a 2", "b"}},
		{topology.KindSwitch, "", "a", []string{"a", "a 2"}},
		{topology.KindSwitchPort, "", "p", []string{"p1", "p2"}},
		{topology.KindSwitchPort, "b", "", []string{"p2", "q"}},
		{topology.KindChassis, "", "", nil},
	} {
		got, err := s.Names(t.Context(), tt.kind, tt.parent, tt.prefix)
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%v of %q that begin with %q: %v (-want +got)\n%s", tt.kind, tt.parent, tt.prefix, err, diff)
		}
	}
	got, err := s.Named(t.Context(), topology.KindSwitchPort, "p1")
	want := []topology.Key{{Kind: topology.KindSwitchPort, Parent: "a", Name: "p1"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("ports of the name p1: %v (-want +got)\n%s", err, diff)
	}
}
