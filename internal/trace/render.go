package trace

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"tuplenet/internal/topology"
)

// TextOptions say how a path is printed for people.
type TextOptions struct {
	Tables bool // every table that the packet came to instead of the one that decided
	Width  int  // columns that there are; 0: any number
	// Cut cuts a name that has no room to a number of columns; needed with Width.
	Cut func(name string, columns int) string
}

// short returns the path with the ids of Docker in it as Docker shows them.
func (p Path) short() Path {
	p.Hops = slices.Clone(p.Hops)
	for i := range p.Hops {
		h := &p.Hops[i]
		for _, text := range []*string{&h.Device, &h.From, &h.To, &h.Object, &h.Redirected} {
			*text = topology.ShortDockerIDs(*text)
		}
		h.Changes, h.Assumed, h.Visits = shortened(h.Changes), shortened(h.Assumed), slices.Clone(h.Visits)
		for j, v := range h.Visits {
			h.Visits[j].Object = topology.ShortDockerIDs(v.Object)
		}
	}
	p.Warnings = shortened(p.Warnings)
	return p
}

func shortened(texts []string) []string {
	texts = slices.Clone(texts)
	for i, text := range texts {
		texts[i] = topology.ShortDockerIDs(text)
	}
	return texts
}

// WriteText prints the path for people: a line for each hop with what was done to
// the packet below it, then what became of it.
func (p Path) WriteText(w io.Writer, o TextOptions) error {
	p = p.short()
	lines := o.fit(func(short func(string) string) (rows [][]string) {
		for _, h := range p.Hops {
			ports := short(h.From)
			if h.To != "" {
				ports += " -> " + short(h.To)
			}
			row := []string{h.Chassis, cmp.Or(short(h.Device), "-"), ports, h.Table, short(h.Object)}
			if o.Tables {
				row = row[:3]
			}
			rows = append(rows, row)
		}
		return rows
	})
	out := bufio.NewWriter(w)
	for i, h := range p.Hops {
		fmt.Fprintln(out, lines[i])
		if o.Tables {
			o.writeVisits(out, h.Visits)
		}
		for _, note := range h.Notes() {
			fmt.Fprintln(out, "    "+note)
		}
	}
	if p.Loop != nil {
		fmt.Fprintln(out, "... "+p.round())
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

func (o TextOptions) writeVisits(w io.Writer, visits []Visit) {
	lines := o.fit(func(short func(string) string) (rows [][]string) {
		for _, v := range visits {
			whose := short(v.Object)
			if v.Astray {
				whose += " (not taken)"
			}
			rows = append(rows, []string{"   ", v.Table, fmt.Sprintf("priority %d", v.Priority), cmp.Or(v.Rule, "-"), whose})
		}
		return rows
	})
	for _, line := range lines {
		fmt.Fprintln(w, line)
	}
}

// Names are cut to no less than shortest columns, and need no cutting that are
// below longest.
const shortest, longest = 8, 120

// fit puts the cells of rows under each other, with names cut as little as is
// needed for all lines to have room.
func (o TextOptions) fit(rows func(short func(string) string) [][]string) []string {
	lines := Align(rows(func(name string) string { return name }))
	for columns := longest; columns >= shortest && o.Width > 0 && slices.ContainsFunc(lines, o.tooLong); columns-- {
		lines = Align(rows(func(name string) string { return o.Cut(name, columns) }))
	}
	return lines
}

func (o TextOptions) tooLong(line string) bool { return utf8.RuneCountInString(line) > o.Width }

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
