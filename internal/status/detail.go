package status

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// printDetail writes all that the agent of a chassis has told.
func (s *Snapshot) printDetail(w io.Writer, c Chassis) error {
	r, d := c.Report, c.Report.Detail
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t)
	fact := func(name, format string, args ...any) { printLine(t, name, fmt.Sprintf(format, args...)) }
	fact("agent", "%s, started %s (%s ago)", r.Version, r.Started.UTC().Format(time.RFC3339), shortTime(r.Time.Sub(r.Started)))
	fact("Open vSwitch", "%s, datapath %s", orUnknown(d.OpenVSwitch), orUnknown(d.Datapath))
	revision := "has seen the last change"
	if n := s.Behind(c); n > 0 {
		revision = fmt.Sprintf("is %d revisions behind the last change", n)
	}
	fact("etcd", "revision %d, %s", r.Revision, revision)
	fact("flows", "%d, compared with the bridge %s", r.Flows, r.sync())
	fact("dropped", "%d packets", d.Dropped)
	if len(c.Routers) > 0 {
		fact("routers", "%s", strings.Join(c.Routers, ", "))
	}
	fact("settings", "%s", d.Settings)
	if err := t.Flush(); err != nil {
		return err
	}
	section(w, "TABLES WITH FLOWS", []string{"TABLE", "NAME", "FLOWS"}, len(d.Tables), d.Tables, func(t Table) []string {
		return []string{fmt.Sprint(t.Number), t.Name, fmt.Sprint(t.Flows)}
	})
	section(w, "TUNNELS", []string{"CHASSIS", "ADDRESS", "BFD", "INTERFACE", "OFPORT"}, r.Tunnels, d.TunnelList, func(t Tunnel) []string {
		return []string{t.Chassis, t.IP, t.BFD, t.Name, fmt.Sprint(t.OFPort)}
	})
	section(w, "PORTS", []string{"PORT", "SWITCH", "ADDRESS", "STATE", "INTERFACE", "OFPORT"}, d.Interfaces, d.PortList, func(p Port) []string {
		address := p.IP
		switch {
		case p.Dark:
			address = "outside, no link"
		case p.Outer:
			address = "outside"
		}
		iface := p.Interface
		if p.Tag != 0 {
			iface += fmt.Sprintf(", VLAN %d", p.Tag)
		}
		return []string{p.Name, p.Switch, address, p.State, iface, fmt.Sprint(p.OFPort)}
	})
	section(w, "NEIGHBOURS OUTSIDE", []string{"SWITCH", "ADDRESS", "MAC"}, d.Neighbours, d.NeighbourList, func(n Neighbour) []string {
		return []string{n.Switch, n.IP, n.MAC}
	})
	section(w, "FLOWS ON DEMAND", []string{"PORT"}, d.Demands, d.DemandList, func(port string) []string { return []string{port} })
	section(w, "OBJECTS THAT CANNOT WORK", []string{"PROBLEM"}, r.Problems, d.ProblemList, func(p string) []string { return []string{p} })
	return nil
}

// section writes a table with a title, if it has a line, and how many lines of
// all were left out.
func section[E any](w io.Writer, title string, heads []string, all int, list []E, cells func(E) []string) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s (%d)\n", title, all)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(heads) > 1 {
		fmt.Fprintln(t, "  "+strings.Join(heads, "\t"))
	}
	for _, e := range list {
		line := cells(e)
		line[0] = "  " + line[0]
		printLine(t, line...)
	}
	t.Flush()
	if more := all - len(list); more > 0 {
		fmt.Fprintf(w, "  and %d more\n", more)
	}
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// String returns the settings as people read them.
func (s Settings) String() string {
	on := func(b bool) string {
		if b {
			return "on"
		}
		return "off"
	}
	text := fmt.Sprintf("on demand %s, redirect %s, untunnel %s, hash %s", on(s.OnDemand), on(s.Redirect), on(s.Untunnel), s.Hash)
	if s.OnDemand {
		text += fmt.Sprintf(", idle %d s", s.Idle)
	}
	if s.MinRx > 0 || s.MinTx > 0 {
		text += fmt.Sprintf(", BFD %d ms (receive) and %d ms (send)", s.MinRx, s.MinTx)
	}
	if s.IPFIX != "" {
		text += ", IPFIX " + s.IPFIX
	}
	return text
}
