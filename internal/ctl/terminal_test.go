package ctl

import (
	"strings"
	"testing"
)

func TestCut(t *testing.T) {
	for _, c := range []struct {
		locale, line string
		width        int
		want         string
	}{
		{"C.UTF-8", "one two three", 0, "one two three"},
		{"C.UTF-8", "one two three", 13, "one two three"},
		{"C.UTF-8", "one two three", 12, "one two thr…"},
		{"C.UTF-8", "one two three", 9, "one two…"}, // without the blank
		{"C.UTF-8", "→ ↔ ⇒ …", 7, "→ ↔ ⇒ …"},
		{"C.UTF-8", "one", 1, "…"},
		{"C", "one two three", 12, "one two t..."},
	} {
		t.Setenv("LC_ALL", c.locale)
		if got := cut(c.line, c.width); got != c.want {
			t.Errorf("cut(%q, %d) in %s = %q, want %q", c.line, c.width, c.locale, got, c.want)
		}
	}
}

// TestFlowsFit holds the lines of flows to the columns that there are.
func TestFlowsFit(t *testing.T) {
	t.Setenv("LC_ALL", "C.UTF-8")
	flow := object{fields: []field{{name: "number", value: 200}, {name: "table", value: "switch-lookup"}, {name: "priority", value: 100},
		{name: "packets", value: 7}, {name: "bytes", value: 700}, {name: "age", value: 3}, {name: "origin", value: "own"},
		{name: "object", value: "switch LS-A port lsp-alice"}, {name: "match", value: strings.Repeat("match ", 30)}, {name: "actions", value: "drop"}}}
	for _, width := range []int{0, 60, 80} {
		var out strings.Builder
		printTable(&out, width, []object{flow})
		if whole := strings.Contains(out.String(), "-> drop"); whole != (width == 0) {
			t.Errorf("width %d: the actions are there: %v", width, whole)
		}
		for line := range strings.Lines(out.String()) {
			if columns := len([]rune(strings.TrimSuffix(line, "\n"))); width > 0 && columns > width {
				t.Errorf("width %d: %d columns: %s", width, columns, line)
			}
		}
	}
}
