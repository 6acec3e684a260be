package trace

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"tuplenet/internal/topology"
)

// WriteGraph draws the path: a box for each chassis with the devices that the
// packet came through there, from the port that sent it to its end. With ascii
// there are no other characters in it.
func (p Path) WriteGraph(w io.Writer, from string, ascii bool) error {
	p, from = p.short(), topology.ShortDockerID(from)
	var out strings.Builder
	fmt.Fprintln(&out, from)
	for i := 0; i < len(p.Hops); {
		n := i + 1
		for n < len(p.Hops) && p.Hops[n].Chassis == p.Hops[i].Chassis && p.Hops[n-1].Tunnel == "" {
			n++
		}
		writeBox(&out, p.Hops[i].Chassis, boxOf(p.Hops[i:n]))
		if last := p.Hops[n-1]; last.Tunnel != "" {
			fmt.Fprintln(&out, "  │ "+last.tunnel())
		}
		i = n
	}
	if p.Loop != nil {
		fmt.Fprintln(&out, "  │ "+p.round())
	}
	mark := "✗"
	if p.End.OK() {
		mark = "▼"
	}
	fmt.Fprintf(&out, "  %s\n%s\n", mark, p.End)
	for _, warning := range p.Warnings {
		fmt.Fprintln(&out, "warning: "+warning)
	}
	text := out.String()
	if ascii {
		text = plain.Replace(text)
	}
	_, err := io.WriteString(w, text)
	return err
}

var plain = strings.NewReplacer("│", "|", "┌", "+", "┐", "+", "└", "+", "┘", "+", "─", "-", "┬", "+", "▼", "v", "✗", "X")

// boxOf returns the lines that stand in the box of a chassis.
func boxOf(hops []Hop) []string {
	var lines []string
	for i, h := range hops {
		if i > 0 {
			lines = append(lines, "  │ "+h.From)
		}
		lines = append(lines, h.Device)
		for _, note := range h.Notes() {
			if h.Tunnel == "" || note != h.tunnel() { // that stands below the box
				lines = append(lines, "  "+note)
			}
		}
	}
	return lines
}

func writeBox(w io.Writer, title string, lines []string) {
	width := utf8.RuneCountInString(title) + 6
	for _, line := range lines {
		width = max(width, utf8.RuneCountInString(line)+2)
	}
	fmt.Fprintf(w, "  │\n┌─▼─ %s %s┐\n", title, strings.Repeat("─", width-utf8.RuneCountInString(title)-5))
	for _, line := range lines {
		fmt.Fprintf(w, "│ %s%s│\n", line, strings.Repeat(" ", width-utf8.RuneCountInString(line)-1))
	}
	fmt.Fprintf(w, "└─┬%s┘\n", strings.Repeat("─", width-2))
}

// WriteDot prints the path for Graphviz.
func (p Path) WriteDot(w io.Writer, from string) error {
	p, from = p.short(), topology.ShortDockerID(from)
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "digraph trace {\n  rankdir=LR;\n  node [shape=box];\n  start [label=%q, shape=oval];\n", from)
	fmt.Fprintf(out, "  end [label=%q, shape=oval];\n", p.End.String())
	for i, h := range p.Hops {
		label := strings.Join(append([]string{h.Device}, h.Changes...), "\n")
		fmt.Fprintf(out, "  subgraph \"cluster %s\" { label=%q; hop%d [label=%q]; }\n", h.Chassis, h.Chassis, i, label)
	}
	before, via := "start", ""
	for i, h := range p.Hops {
		fmt.Fprintf(out, "  %s -> hop%d [label=%q];\n", before, i, cmp.Or(via, h.From))
		before, via = fmt.Sprintf("hop%d", i), ""
		if h.Tunnel != "" {
			via = h.tunnel()
		}
	}
	if p.Loop != nil {
		fmt.Fprintf(out, "  %s -> hop%d [label=%q];\n", before, p.Loop.From, times(p.Loop.Rounds))
	}
	fmt.Fprintf(out, "  %s -> end;\n}\n", before)
	return out.Flush()
}
