package ctl

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/explain"
	"tuplenet/internal/suggest"
)

var (
	objectFlag = Flag{Name: "object", Value: "OBJECT", Usage: "show the flows of `OBJECT` alone: a name, or a kind and a name as in lsp/lsp-alice; a switch or router with all that hangs on it"}
	tableFlag  = Flag{Name: "table", Value: "TABLE", Usage: "show one `TABLE` alone, by its number or its name"}
	dropsFlag  = Flag{Name: "drops", Usage: "show the flows that drop packets alone, and how many for which reason"}
	rawFlag    = Flag{Name: "raw", Usage: "show flows as ovs-ofctl writes them, those included that only traced packets take"}
)

// flowCommands look at the flows of this host.
func flowCommands() []Command {
	return []Command{{
		Object: "flows", Flags: []Flag{objectFlag, tableFlag, dropsFlag, rawFlag}, Host: true, reads: true, finds: true,
		Usage: "show the flows of this host, what they are for and what has taken them",
		Notes: "Runs on a host that has an agent, as root. Flows stand by table, in the order in which packets walk through these, with the object that a flow was made for, and how many packets and bytes have taken it, as Open vSwitch counts them, up to a second late. " +
			"FOREIGN flows are somebody else's, STALE ones carry TupleNet's mark and are wanted by no object: --filter origin=foreign finds them; the other origins are own, changed (by hand) and unknown (while etcd is away). " +
			"A table is cut to the width of the terminal; elsewhere to COLUMNS, if that is set.",
		Example: "tpctl flows --object lsp-alice --filter 'packets>0'",
		list:    listFlows, fields: flowFields, plain: printChosenFlows,
	}}
}

// flowFields are the fields of a flow, as it is listed.
var flowFields = []string{"table", "number", "priority", "packets", "bytes", "age", "object", "rule", "origin", "drop", "match", "actions", "text", "cookie"}

// listFlows returns the flows of this host's bridge.
func listFlows(s *session, _ []string) ([]object, error) {
	wanted, err := s.flowChoice()
	if err != nil {
		return nil, err
	}
	b, err := s.Bridge(s.ctx, s.set(rawFlag))
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED):
		return nil, errors.New("no Open vSwitch runs here: run this on a host that has an agent, or say with --ovs-rundir or --ovsdb where it is")
	case err != nil:
		return nil, err
	case b.Unknown != nil && s.set(objectFlag):
		return nil, fmt.Errorf("it is not known which flows are for %s: %w", s.Flags[objectFlag.Name], b.Unknown)
	case b.Unknown != nil:
		s.note("it is not known what the flows are for: " + b.Unknown.Error())
	case b.Missing > 0:
		s.note(fmt.Sprintf(`%d flows are missing; "tuplenet doctor --only flows" tells which`, b.Missing))
	}
	var list []object
	for _, f := range b.Flows {
		if wanted(&f) {
			list = append(list, flowObject(b.Names, f, s.set(rawFlag)))
		}
	}
	if len(list) == 0 {
		return nil, s.noFlows(b)
	}
	return list, nil
}

// noFlows refuses an --object that is none, and tells of one that has no flows
// on this host.
func (s *session) noFlows(b explain.Bridge) error {
	of := s.Flags[objectFlag.Name]
	if of == "" {
		return nil
	}
	if found, names := b.Names.Find(of); !found {
		kind, name, typed := strings.Cut(of, "/")
		if !typed {
			return fmt.Errorf("object %s not found%s", of, suggest.DidYouMean(of, names))
		}
		return fmt.Errorf("no object %s of kind %s%s", name, kind, suggest.DidYouMean(name, names))
	}
	if !slices.ContainsFunc(b.Flows, func(f explain.Flow) bool { return f.IsFor(of) }) {
		s.note(of + " has no flows on this host")
	}
	return nil
}

// flowChoice returns whether the flags want a flow.
func (s *session) flowChoice() (func(*explain.Flow) bool, error) {
	table, every := flows.Table(0), true
	if text := s.Flags[tableFlag.Name]; text != "" {
		every = false
		i := slices.IndexFunc(flows.Tables, func(t flows.TableInfo) bool { return t.Name == text })
		n, err := strconv.ParseUint(text, 10, 8)
		switch {
		case i >= 0:
			table = flows.Tables[i].Table
		case err != nil:
			return nil, fmt.Errorf("invalid --table %q: want a number below 256 or one of %s", text, strings.Join(tableNames(), ", "))
		default:
			table = flows.Table(n)
		}
	}
	of := s.Flags[objectFlag.Name]
	if kind, _, typed := strings.Cut(of, "/"); typed && !slices.Contains(explain.Kinds(), kind) {
		return nil, fmt.Errorf("invalid --object %q: want a name, or KIND/NAME with a kind of %s", of, strings.Join(explain.Kinds(), ", "))
	}
	return func(f *explain.Flow) bool {
		_, drops := explain.Drop(f.Flow)
		return (every || f.Table == table) && (of == "" || f.IsFor(of)) &&
			(!s.set(dropsFlag) || drops || f.Table == flows.TableDrop) &&
			(s.set(rawFlag) || !f.TracePoint())
	}, nil
}

func tableNames() []string {
	names := make([]string, len(flows.Tables))
	for i, t := range flows.Tables {
		names[i] = t.Name
	}
	return names
}

// flowObject is a flow as it is shown. Its text stands in for what it matches
// and does where nobody knows better, or raw asks for it.
func flowObject(names explain.Names, f explain.Flow, raw bool) object {
	o := object{id: fmt.Sprintf("%03d %016x", f.Table, f.Cookie), fields: []field{
		{name: "table", value: f.Table.String()},
		{name: "number", value: int(f.Table)},
		{name: "priority", value: f.Priority},
		{name: "packets", value: f.Packets},
		{name: "bytes", value: f.Bytes},
		{name: "age", value: int(f.Age / time.Second), passing: true},
		{name: "object", value: f.For(), omitEmpty: true},
		{name: "rule", value: f.Rule, omitEmpty: true},
		{name: "origin", value: string(f.Origin)},
	}}
	if f.Origin == explain.Foreign || f.Origin == explain.Stale { // of which several have one cookie
		o.id += f.Text
	}
	if reason, drops := explain.Drop(f.Flow); drops {
		o.fields = append(o.fields, field{name: "drop", value: string(reason)})
	}
	if raw || f.Origin != explain.Own {
		o.fields = append(o.fields, field{name: "text", value: f.Text})
	} else {
		o.fields = append(o.fields, field{name: "match", value: names.Match(f.Flow)}, field{name: "actions", value: names.Actions(f.Flow)})
	}
	o.fields = append(o.fields, field{name: "cookie", value: fmt.Sprintf("0x%016x", f.Cookie)})
	return o
}

func printChosenFlows(s *session, list []object) error {
	if s.set(dropsFlag) {
		return printDrops(s, list)
	}
	return printFlows(s, list)
}

// printFlows prints flows for people: table by table, a line each.
func printFlows(s *session, list []object) error {
	out, width := bufio.NewWriter(s.Out), s.width()
	if len(list) == 0 {
		fmt.Fprintln(out, "empty data set")
	}
	for len(list) > 0 {
		table := list[0].get("number")
		n := slices.IndexFunc(list, func(o object) bool { return o.get("number") != table })
		if n < 0 {
			n = len(list)
		}
		printTable(out, width, list[:n])
		if list = list[n:]; len(list) > 0 {
			fmt.Fprintln(out)
		}
	}
	return out.Flush()
}

// printTable prints flows of one table, in lines of so many columns.
func printTable(out io.Writer, columns int, list []object) {
	fmt.Fprintf(out, "table %s %s:\n", list[0].get("number"), list[0].get("table"))
	rows := [][]string{{"priority", "packets", "bytes", "age", "of", "what"}}
	for _, o := range list {
		seconds, _ := strconv.Atoi(o.get("age")) // it is a number that we have made
		what := cmp.Or(o.get("text"), o.get("match")+" -> "+o.get("actions"))
		rows = append(rows, []string{o.get("priority"), o.get("packets"), o.get("bytes"),
			(time.Duration(seconds) * time.Second).String(), flowOwner(o), what})
	}
	var widths [5]int
	for _, row := range rows {
		for i := range widths {
			widths[i] = max(widths[i], len(row[i]))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		line.WriteString(" ")
		for i, w := range widths {
			if i == len(widths)-1 {
				w = -w // names stand to the left, numbers to the right
			}
			fmt.Fprintf(&line, " %*s", w, row[i])
		}
		line.WriteString("  " + row[len(row)-1])
		fmt.Fprintln(out, cut(line.String(), columns))
	}
}

// flowOwner says whose a flow is.
func flowOwner(o object) string {
	origin := explain.Origin(o.get("origin"))
	switch origin {
	case explain.Own:
		return o.get("object")
	case explain.Changed:
		return o.get("object") + " (changed by hand)"
	case explain.Foreign:
		return "FOREIGN"
	case explain.Stale:
		return "STALE"
	}
	return "?"
}

// printDrops prints flows and, behind them, how many packets were dropped for
// which reason.
func printDrops(s *session, list []object) error {
	if err := printFlows(s, list); err != nil {
		return err
	}
	reasons := map[string]uint64{}
	all := uint64(0)
	for _, o := range list {
		if reason := o.get("drop"); reason != "" {
			n, err := strconv.ParseUint(o.get("packets"), 10, 64)
			if err != nil {
				return errors.New("the packets of a flow are no number")
			}
			reasons[reason] += n
			all += n
		}
	}
	var parts []string
	for _, reason := range slices.SortedFunc(maps.Keys(reasons), func(a, b string) int {
		return cmp.Or(cmp.Compare(reasons[b], reasons[a]), strings.Compare(a, b))
	}) {
		if reasons[reason] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", reasons[reason], reason))
		}
	}
	_, err := fmt.Fprintf(s.Out, "\ndropped: %d packets%s\n", all, strings.Join(append([]string{""}, parts...), ", "))
	return err
}
