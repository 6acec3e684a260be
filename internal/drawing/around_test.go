package drawing

import (
	"slices"
	"strings"
	"testing"
)

func TestAround(t *testing.T) {
	g := New(tutorial())
	for _, c := range []struct {
		names []string
		depth int
		want  []string
	}{
		{[]string{"LR-central"}, 0, []string{"LR-central"}},
		{[]string{"LS-A"}, 1, []string{"LR-central", "LS-A", "Host-Alice"}},
		{[]string{"LR-edge1"}, 1, []string{"LR-edge1", "m1", "outside1", "edge1-node"}},
		{[]string{"LS-A", "LS-B"}, 0, []string{"LS-A", "LS-B", "Host-Alice", "Host-Bob"}},
		{[]string{"edge1-node"}, 0, []string{"edge1-node"}},
		{[]string{"edge1-node"}, 1, []string{"LR-edge1", "outside1", "edge1-node"}},
		{[]string{"Host-Alice"}, 2, []string{"LR-central", "LS-A", "Host-Alice"}},
		{[]string{"LS-A"}, -1, names(g)},
	} {
		part, err := g.Around(c.names, c.depth)
		if err != nil {
			t.Fatal(err)
		}
		if got := names(part); !slices.Equal(got, c.want) {
			t.Errorf("Around(%q, %d) = %q, want %q", c.names, c.depth, got, c.want)
		}
	}
	if _, err := g.Around([]string{"LS-A", "LS-X"}, -1); err == nil || !strings.Contains(err.Error(), "LS-X not found") {
		t.Errorf("an unknown name: %v", err)
	}
	for port, of := range map[string]string{"lsp-alice": "switch LS-A", "LS-A_to_LR-central": "switch LS-A", "LR-edge1_to_m1": "router LR-edge1", "patchport-outside1": "switch outside1"} {
		if _, err := g.Around([]string{port}, -1); err == nil || !strings.HasPrefix(err.Error(), port+" is a port of "+of+": ") {
			t.Errorf("a port's name: %v, want that it is one of %s", err, of)
		}
	}
	for name, want := range map[string][]string{"db": {"LS-A", "hv1"}, "tp-docker-net1": {"tp-docker-net1 (3f2a91b03f2a)", "hv1"}, "LR": {"LR"}} {
		if part, err := docker().Around([]string{name}, 0); err != nil || !slices.Equal(names(part), want) {
			t.Errorf("Docker's %s: %q, %v, want %q", name, names(part), err, want)
		}
	}
	part, _ := g.Around([]string{"LR-central"}, 1)
	if got := text(t, part, TextOptions{}); strings.Count(got, "… 1 more link not drawn") != 2 {
		t.Errorf("links that are cut:\n%s", got)
	}
}

// TestChassisEndsWays makes sure that switches are not drawn only because they
// have ports on a chassis of one that is.
func TestChassisEndsWays(t *testing.T) {
	part, err := New(tenants(4)).Around([]string{"tenant-0"}, -1)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"tenant-0", "tenant-0-a", "tenant-0-b", "hv0"} // which tenant-3 is on, too
	if got := names(part); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestAroundChassis draws what is on one of many.
func TestAroundChassis(t *testing.T) {
	part, err := New(large()).Around([]string{"hv-3"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"LS-001 … LS-091", "hv-3"}
	if got := names(part.Fold()); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	got := text(t, part.Fold(), TextOptions{})
	for _, want := range []string{"10 switches, 200 workloads each\n└─ … 10 more links not drawn", "hv-3  172.16.0.4  up  10 workloads"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// TestDepth draws a chain of routers, which are more than fit beside each other.
func TestDepth(t *testing.T) {
	var n network
	for i := range 30 {
		r, next := string(rune('A'+i%26))+strings.Repeat("x", i/26), i+1
		n.link(r, "S"+r, netOf(i, 1))
		if next < 30 {
			n.link(string(rune('A'+next%26))+strings.Repeat("x", next/26), "S"+r, netOf(i, 2))
		}
	}
	g := New(n)
	for _, width := range []int{0, 80, 200} {
		got := text(t, g, TextOptions{Width: width})
		boxes := strings.Count(got, "router, on every chassis")
		if boxes != 30 {
			t.Errorf("width %d: %d routers are drawn:\n%s", width, boxes, got)
		}
		for line := range strings.Lines(got) {
			if width > 0 && columns(strings.TrimSuffix(line, "\n")) > width {
				t.Errorf("width %d: %s", width, line)
			}
		}
	}
}
