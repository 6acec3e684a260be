package drawing

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"tuplenet/internal/topology"
)

// tenants are routers that each have two switches of their own.
func tenants(count int) network {
	var n network
	for i := range count {
		router := fmt.Sprint("tenant-", i)
		n.add(topology.Router{Name: router, ID: uint32(1 + 3*i)})
		for s := range 2 {
			sw := fmt.Sprintf("%s-%c", router, 'a'+s)
			n.add(topology.Switch{Name: sw, ID: uint32(2 + 3*i + s)})
			n.link(router, sw, fmt.Sprintf("10.%d.%d.1/24", i, s))
			n.port(sw, "lsp-"+sw, fmt.Sprintf("10.%d.%d.2", i, s), fmt.Sprint("hv", i%3))
		}
	}
	for i := range 3 {
		n.up(fmt.Sprint("hv", i), fmt.Sprint("172.16.0.", 1+i))
	}
	return n
}

// mesh has circles: three routers in each of four switches, two ways out, and
// switches and chassis that nothing is joined to.
func mesh() network {
	var n network
	for i := range 4 {
		n.add(topology.Switch{Name: fmt.Sprint("S", i), ID: uint32(1 + i)})
	}
	for r := range 3 {
		router := fmt.Sprint("R", r)
		n.add(topology.Router{Name: router, ID: uint32(10 + r)})
		for i := range 4 {
			n.link(router, fmt.Sprint("S", i), fmt.Sprintf("10.0.%d.%d/24", i, 1+r))
		}
	}
	for i := range 2 {
		n.up(fmt.Sprint("edge", i), fmt.Sprint("172.16.0.", 1+i))
		n.outer("S0", fmt.Sprint("patch", i), fmt.Sprint("edge", i), "br0")
	}
	n.port("S3", "lsp", "10.0.3.100", "edge0")
	n.add(topology.Switch{Name: "lone", ID: 30})
	n.chassis("idle", "172.16.0.9")
	return n
}

// names lists the nodes of a graph as they are called.
func names(g *Graph) []string {
	var list []string
	for _, n := range g.Nodes {
		list = append(list, unicodeWriting.title(n))
	}
	return list
}

func TestFoldWithParents(t *testing.T) {
	// Ten switches of five routers are alike, but belong to different ones.
	if got := names(New(tenants(5)).Fold()); len(got) != 5+10+3 {
		t.Errorf("five tenants: %q", got)
	}
	want := []string{"tenant-0 … tenant-29", "tenant-0-a … tenant-29-b", "hv0", "hv1", "hv2"}
	g := New(tenants(30)).Fold()
	if got := names(g); !slices.Equal(got, want) {
		t.Errorf("thirty tenants: %q, want %q", got, want)
	}
	if got := g.Nodes[1].related(Bound); len(got) != 3 || got[0].Ports != 20 {
		t.Errorf("ports of the folded switches: %+v", got)
	}
}

func TestFoldLeavesOut(t *testing.T) {
	n := tenants(30)
	n.link("tenant-7", "LS-shared", "10.99.0.1/24") // has one switch more, which does not exist
	n.nat("tenant-8", "nat", "10.8.0.0/16", topology.SNAT, "192.168.0.1")
	got := names(New(n).Fold())
	for _, alone := range []string{"tenant-7", "tenant-8", "LS-shared", "tenant-7-a", "tenant-8-b"} {
		if !slices.Contains(got, alone) {
			t.Errorf("%s is folded: %q", alone, got)
		}
	}
}

func TestFoldStates(t *testing.T) {
	var n network
	for i := range 40 {
		name, ip := fmt.Sprintf("hv%02d", i), fmt.Sprint("172.16.0.", 1+i)
		if i%2 == 0 {
			n.up(name, ip)
			continue
		}
		n.chassis(name, ip)
		n.add(topology.Absence{Chassis: name, Since: int64(i)})
	}
	got := text(t, New(n).Fold(), TextOptions{})
	for _, want := range []string{"hv00 … hv38  20 chassis  up    no workloads", "hv01 … hv39  20 chassis  down  no workloads", "40 chassis (20 up, 20 down)"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestLongLists(t *testing.T) {
	var n network
	n.add(topology.Switch{Name: "LS", ID: 1}, topology.Router{Name: "LR", ID: 2})
	for i := range 9 {
		n.port("LS", fmt.Sprint("lsp", i), fmt.Sprint("10.0.0.", 2+i), fmt.Sprint("hv", i%2))
		n.nat("LR", fmt.Sprint("nat", i), fmt.Sprintf("10.0.0.%d/32", i), topology.SNAT, "192.168.0.1")
	}
	n.port("LS", "unbound", "10.0.0.50", "")
	folded, full := text(t, New(n).Fold(), TextOptions{}), text(t, New(n), TextOptions{})
	for _, want := range []string{"switch 1, 10 workloads on hv0, hv1, 1 plugged in nowhere", "│ … 2 more NAT rules"} {
		if !strings.Contains(folded, want) {
			t.Errorf("no %q in\n%s", want, folded)
		}
	}
	if strings.Contains(full, "…") || !strings.Contains(full, "10.0.0.50 unbound plugged in nowhere") {
		t.Errorf("full:\n%s", full)
	}
}
