package flows_test

import (
	"cmp"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"tuplenet/flows"
	"tuplenet/internal/ovs/openflow"
	"tuplenet/internal/topology"
)

var update = flag.Bool("update", false, "rewrite the flows in testdata/*.txtar")

// TestGolden compiles the topologies of testdata. Each file says, as text, what
// it shows, what the store and the node hold, and which flows come of it beside
// those that every node has (pipeline.txtar).
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all, said := compile(t, section(archive, "topology"))
			lines, notes := render(t, all), strings.Join(append(said, ""), "\n")
			if filepath.Base(file) != "pipeline.txtar" {
				everywhere, _ := compile(t, "node hv1")
				lines = without(lines, render(t, everywhere))
			}
			got := strings.Join(append(lines, ""), "\n")
			if *update {
				setSection(archive, "flows", got)
				if len(said) > 0 {
					setSection(archive, "notes", notes)
				}
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := gocmp.Diff(section(archive, "flows"), got); diff != "" {
				t.Errorf("flows differ (-want +got; go test ./flows -update rewrites them):\n%s", diff)
			}
			if diff := gocmp.Diff(section(archive, "notes"), strings.TrimPrefix(notes, "\n")); diff != "" {
				t.Errorf("notes differ (-want +got):\n%s", diff)
			}
		})
	}
}

// compile reads a topology, an entity a line: for the store's entities path and
// value as in etcd (under entity_view/), for the node's own
//
//	node SYSTEM-ID [on-demand] [redirect]
//	interface PORT OFPORT [TAG]
//	tunnel CHASSIS OFPORT [watched]
//	neighbour SWITCH IP MAC
//	host-stack OFPORT MAC
//	demand SWITCH PORT
//	absence CHASSIS
//
// It returns the flows, and what the rules say beside them.
func compile(t *testing.T, text string) ([]flows.CookieFlow, []string) {
	t.Helper()
	model := topology.NewModel()
	var changes []topology.Change
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		e, err := parseEntity(strings.Fields(line))
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		changes = append(changes, topology.Change{Key: e.Key(), Entity: e, Created: int64(i + 1)})
	}
	result := model.Apply(changes)
	out := flows.NewEngine(model).Update(result.Touched)
	for _, m := range out.Conflicts {
		t.Error(m)
	}
	var notes []string
	for _, n := range out.Begun {
		notes = append(notes, fmt.Sprintf("%T%v", n, n))
	}
	slices.Sort(notes)
	return out.Put, notes
}

func parseEntity(word []string) (topology.Entity, error) {
	number := func(i int) uint32 {
		n, _ := strconv.ParseUint(word[i], 10, 32)
		return uint32(n)
	}
	switch {
	case len(word) >= 2 && word[0] == "node":
		return topology.Node{Chassis: word[1], IP: netip.MustParseAddr("192.168.1.99"), OnDemand: slices.Contains(word, "on-demand"), Redirect: slices.Contains(word, "redirect")}, nil
	case len(word) == 3 && word[0] == "demand":
		return topology.Demand{Switch: word[1], Port: word[2]}, nil
	case len(word) == 2 && word[0] == "absence":
		return topology.Absence{Chassis: word[1]}, nil
	case len(word) == 3 && word[0] == "interface":
		return topology.Interface{Port: word[1], OFPort: number(2)}, nil
	case len(word) == 4 && word[0] == "interface":
		return topology.Interface{Port: word[1], OFPort: number(2), Tag: uint16(number(3))}, nil
	case len(word) >= 3 && word[0] == "tunnel":
		return topology.Tunnel{Chassis: word[1], OFPort: number(2), Watched: len(word) == 4}, nil
	case len(word) == 4 && word[0] == "neighbour":
		ip, err := topology.ParseAddr(word[2])
		if err != nil {
			return nil, err
		}
		mac, err := topology.ParseMAC(word[3])
		return topology.Neighbour{Switch: word[1], IP: ip, MAC: mac}, err
	case len(word) == 3 && word[0] == "host-stack":
		mac, err := topology.ParseMAC(word[2])
		return topology.HostStack{OFPort: number(1), MAC: mac}, err
	case len(word) != 2:
		return nil, fmt.Errorf("want an entity")
	}
	kinds := map[string]topology.Kind{"LS": topology.KindSwitch, "LR": topology.KindRouter, "chassis": topology.KindChassis,
		"LS/lsp": topology.KindSwitchPort, "LR/lrp": topology.KindRouterPort, "LR/lsr": topology.KindStaticRoute, "LR/lnat": topology.KindNAT}
	path := strings.Split(word[0], "/")
	key := topology.Key{Kind: kinds[path[0]], Name: path[1]}
	if len(path) == 4 {
		key = topology.Key{Kind: kinds[path[0]+"/"+path[2]], Parent: path[1], Name: path[3]}
	}
	return topology.Parse(key, word[1])
}

// render writes flows as ovs-ofctl would, in the order of the tables, with the
// tables' names.
func render(t *testing.T, all []flows.CookieFlow) []string {
	t.Helper()
	type line struct {
		table    flows.Table
		priority uint16
		text     string
	}
	var lines []line
	for _, f := range all {
		text, err := openflow.Text(f.Flow, 0)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line{f.Flow.Table, f.Flow.Priority, f.Flow.Table.String() + ": " + text})
	}
	slices.SortFunc(lines, func(a, b line) int {
		return cmp.Or(cmp.Compare(a.table, b.table), cmp.Compare(b.priority, a.priority), cmp.Compare(a.text, b.text))
	})
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = l.text
	}
	return out
}

func without(all, some []string) []string {
	return slices.DeleteFunc(all, func(l string) bool { return slices.Contains(some, l) })
}

func section(a *txtar.Archive, name string) string {
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

func setSection(a *txtar.Archive, name, text string) {
	a.Files = slices.DeleteFunc(a.Files, func(f txtar.File) bool { return f.Name == name })
	a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(text)})
}
