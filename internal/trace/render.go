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

// WriteText prints the path for people: a line for each hop with what was done to
// the packet below it, then what became of it. With tables, every table that the
// packet came to is shown instead of the one that decided.
func (p Path) WriteText(w io.Writer, tables bool) error {
	var rows [][]string
	for _, h := range p.Hops {
		row := []string{h.Chassis, cmp.Or(h.Device, "-"), h.From + " -> " + cmp.Or(h.To, "?"), h.Table, h.Object}
		if tables {
			row = row[:3]
		}
		rows = append(rows, row)
	}
	lines := Align(rows)
	out := bufio.NewWriter(w)
	for i, h := range p.Hops {
		fmt.Fprintln(out, lines[i])
		if tables {
			writeVisits(out, h.Visits)
		}
		for _, note := range h.Notes() {
			fmt.Fprintln(out, "    "+note)
		}
	}
	for _, warning := range p.Warnings {
		fmt.Fprintln(out, "warning: "+warning)
	}
	fmt.Fprintln(out, p.End)
	return out.Flush()
}

// Notes are the sentences about a hop: what was done to the packet, and where it
// was sent from there.
func (h Hop) Notes() []string {
	notes := append([]string(nil), h.Changes...)
	for _, assumed := range h.Assumed {
		notes = append(notes, "assumed: "+assumed)
	}
	if h.Wanted && h.Redirected == "" {
		notes = append(notes, "the agent was asked for flows to its destination")
	}
	if h.Redirected != "" {
		notes = append(notes, h.Redirected)
	}
	if h.Tunnel != "" {
		notes = append(notes, h.tunnel())
	}
	return notes
}

func (h Hop) tunnel() string {
	if h.TunnelIP.IsValid() {
		return fmt.Sprintf("Geneve to %s (%s)", h.Tunnel, h.TunnelIP)
	}
	return "Geneve to " + h.Tunnel
}

func writeVisits(w io.Writer, visits []Visit) {
	var rows [][]string
	for _, v := range visits {
		whose := v.Object
		if v.Astray {
			whose += " (not taken)"
		}
		rows = append(rows, []string{"   ", v.Table, fmt.Sprintf("priority %d", v.Priority), cmp.Or(v.Rule, "-"), whose})
	}
	for _, line := range Align(rows) {
		fmt.Fprintln(w, line)
	}
}

// Align puts the cells of all rows under each other.
func Align(rows [][]string) []string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	lines := make([]string, len(rows))
	for i, row := range rows {
		var b strings.Builder
		for j, cell := range row {
			b.WriteString(cell)
			b.WriteString(strings.Repeat(" ", widths[j]-utf8.RuneCountInString(cell)+2))
		}
		lines[i] = strings.TrimRight(b.String(), " ")
	}
	return lines
}

// What the original prints for what it does not know.
const (
	unknownName  = "<UNKNOW>"
	unknownIface = "<UNK_PORT>"
)

// WriteOriginal prints records as the original's tool does: a line for each stage
// that the packet came to.
func WriteOriginal(w io.Writer, records []Record, m *topology.Model) error {
	out := bufio.NewWriter(w)
	none := true
	before := uint32(0)
	for _, r := range inOrder(records) {
		if r.Stage == 0 {
			continue
		}
		none = false
		device := r.Datapath
		if r.Stage == RouterEgressOut && before != 0 { // the packet has left the router already
			device = before
		}
		before = r.Datapath
		kind, name := "", ""
		switch d := m.Get(topology.Datapath(device)).(type) {
		case topology.Switch:
			kind, name = "LS", d.Name
		case topology.Router:
			kind, name = "LR", d.Name
		default:
			fmt.Fprintln(out, "<ERROR>")
			continue
		}
		to := portName(m, device, r.To)
		if !r.Original && (r.Stage == SwitchIngressIn || r.Stage == RouterIngressIn) {
			to = unknownName // it is the one of the device before
		}
		fmt.Fprintf(out, "type:%s,pipeline:%s,from:%s,to:%s,stage:%s,chassis:%s,output_iface_id:%s\n",
			kind, name, portName(m, device, r.From), to, r.Stage, r.Chassis, r.leavesBy())
	}
	if none {
		fmt.Fprintln(out, "error no traces")
	}
	return out.Flush()
}

func portName(m *topology.Model, device uint32, id uint16) string {
	if id == 0 {
		return unknownName
	}
	return portOf(m, device, id)
}

// leavesBy names the interface that the packet left by, or the chassis if that
// was a tunnel.
func (r Record) leavesBy() string {
	for _, s := range r.Steps {
		for _, e := range s.Ends {
			if e.Kind == Tunnel && r.Iface == "" && r.Stage == OutputPacket {
				return cmp.Or(e.Chassis, unknownIface)
			}
		}
	}
	return cmp.Or(r.Iface, unknownIface)
}
