package flows_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"tuplenet/flows"
	"tuplenet/internal/topology"
)

// TestProblems holds what is told of a whole store to what a node says: of routes
// and NAT rules nothing is left out.
func TestProblems(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	compared := 0
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		model := topology.NewModel()
		var changes []topology.Change
		for i, line := range strings.Split(strings.TrimSpace(section(archive, "topology")), "\n") {
			e, err := parseEntity(strings.Fields(line))
			if err != nil {
				t.Fatalf("%s: line %q: %v", file, line, err)
			}
			if e.Key().Kind.Stored() {
				changes = append(changes, topology.Change{Key: e.Key(), Entity: e, Created: int64(i + 1)})
			}
		}
		model.Apply(changes)
		var all []string
		for _, p := range flows.Problems(model) {
			all = append(all, fmt.Sprintf("%T%v", p, p))
		}
		for line := range strings.Lines(section(archive, "notes")) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "flows.Problem{static route") || strings.HasPrefix(line, "flows.Problem{NAT") {
				compared++
				if !slices.Contains(all, line) {
					t.Errorf("%s: a node says %q; all that is told of the store is %q", file, line, all)
				}
			}
		}
	}
	if compared == 0 {
		t.Error("no node says anything")
	}
}
