package drawing

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/width"

	"tuplenet/internal/topology"
)

// writing says what the words on a drawing are made of.
type writing struct {
	to, between, outside, more string // arrows, and what stands for what is left out
	ascii                      bool
	folded                     bool // long lists are cut short
}

var (
	unicodeWriting = writing{to: "→", between: "↔", outside: "⇒", more: "…"}
	asciiWriting   = writing{to: "->", between: "<->", outside: "=>", more: "...", ascii: true}
)

// label is what stands in a box. Every form of the drawing says the same.
type label struct {
	title string   // the name, or the first and the last of the names
	about string   // what it is, in a phrase
	lines []string // what belongs to it
	marks []string // what is wrong with it
}

func (w writing) label(n *Node) label {
	l := label{title: w.title(n), marks: w.short(w.cleaned(n.Marks), "more")}
	switch n.Key.Kind {
	case topology.KindRouter:
		l.about, l.lines = w.ofRouter(n)
	case topology.KindSwitch:
		l.about, l.lines = w.ofSwitch(n)
	default:
		l.about, l.lines = w.ofChassis(n)
	}
	more := 0
	for _, a := range n.all() {
		more += a.More
	}
	if more > 0 {
		l.lines = append(l.lines, fmt.Sprintf("%s %s not drawn", w.more, count(more, "more link")))
	}
	return l
}

func (w writing) title(n *Node) string {
	all := n.all()
	if len(all) == 1 {
		return w.name(n)
	}
	return w.span(w.name(all[0]), w.name(all[len(all)-1]))
}

func (w writing) span(first, last string) string { return first + " " + w.more + " " + last }

func (w writing) ofRouter(n *Node) (about string, lines []string) {
	where := "on every chassis"
	if pins := n.related(Pinned); len(pins) > 0 {
		at := pins[0].To
		where = "pinned to " + w.title(at)
		if at.State == Down {
			where += ", which is down"
		}
	}
	if n.Alike != nil {
		about = fmt.Sprintf("%d routers, %s", len(n.Alike), where)
		for _, what := range []struct {
			noun string
			has  func(*Node) int
		}{
			{"route", func(n *Node) int { return len(n.Routes) }},
			{"NAT rule", func(n *Node) int { return len(n.NATs) }},
		} {
			if number := each(n, what.noun, what.has); number != "" {
				lines = append(lines, number)
			}
		}
		return about, lines
	}
	routes := make([]string, len(n.Routes))
	for i, r := range n.Routes {
		routes[i] = w.route(r)
	}
	return identified("router", n) + ", " + where, append(w.short(routes, "more routes"), w.short(w.rules(n.NATs), "more NAT rules")...)
}

// identified is a kind with the datapath id.
func identified(kind string, n *Node) string {
	if n.ID == 0 {
		return kind
	}
	return fmt.Sprintf("%s %d", kind, n.ID)
}

func (w writing) route(r Route) string {
	to, by := r.NextHop.String(), r.Switch
	if r.Router != "" {
		to += " (" + w.clean(r.Router) + ")"
	}
	if by == "" {
		by = r.OutPort
	}
	return fmt.Sprintf("route %s %s %s by %s", r.Net, w.to, to, w.clean(topology.ShortDockerID(by)))
}

// rules tells of NAT rules, and of the two that make a floating IP as one.
func (w writing) rules(rules []topology.NAT) []string {
	type pair struct{ inside, outside string }
	types := map[pair][]topology.NATType{}
	ends := func(r topology.NAT) pair { return pair{inside(r), r.XlateIP.String()} }
	for _, r := range rules {
		types[ends(r)] = append(types[ends(r)], r.Type)
	}
	var lines []string
	for _, r := range rules {
		p := ends(r)
		switch both := len(types[p]) > 1 && r.Single(); {
		case both && r.Type == topology.SNAT:
			lines = append(lines, fmt.Sprintf("floating IP %s %s %s", p.outside, w.between, p.inside))
		case both: // told with the other
		case r.Type == topology.SNAT:
			lines = append(lines, fmt.Sprintf("snat %s %s %s", p.inside, w.to, p.outside))
		default:
			lines = append(lines, fmt.Sprintf("dnat %s %s %s", p.outside, w.to, p.inside))
		}
	}
	return lines
}

func inside(r topology.NAT) string {
	if r.Single() {
		return r.Net.Addr().String()
	}
	return r.Net.String()
}

func (w writing) ofSwitch(n *Node) (about string, lines []string) {
	if n.Alike != nil {
		used := func(n *Node) int { ports, _ := n.workloads(); return len(ports) }
		workloads := cmp.Or(each(n, "workload", used), "no workloads")
		return fmt.Sprintf("%d switches, %s", len(n.Alike), workloads), nil
	}
	used, spare := n.workloads()
	about = identified("switch", n) + ", " + w.docker(n) + count(len(used), "workload")
	if w.folded && len(used) > listMost {
		about += w.whereabouts(used)
	} else {
		for _, p := range used {
			lines = append(lines, w.workload(p))
		}
	}
	for _, pool := range slices.SortedFunc(maps.Keys(spare), natural) {
		lines = append(lines, fmt.Sprintf("%s kept for %s", count(spare[pool], "port"), w.clean(pool)))
	}
	return about, lines
}

// workload tells of a port and where it is plugged in.
func (w writing) workload(p topology.SwitchPort) string {
	at := "plugged in nowhere"
	if p.Chassis != "" {
		at = "on " + w.clean(p.Chassis)
	}
	if p.Parent != "" {
		at = fmt.Sprintf("in %s with tag %d, %s", w.clean(p.Parent), p.Tag, at)
	}
	return fmt.Sprintf("%s %s %s", p.IP, w.clean(topology.ShortDockerID(p.Name)), at)
}

// workloads returns a switch's ports but for those of pools that nobody uses, of
// which it counts how many are kept for each node.
func (n *Node) workloads() (used []topology.SwitchPort, spare map[string]int) {
	spare = map[string]int{}
	for _, p := range n.Ports {
		if p.Pool != "" && p.Owner == "" {
			spare[p.Pool]++
		} else {
			used = append(used, p)
		}
	}
	return used, spare
}

// whereabouts tells where many workloads are.
func (w writing) whereabouts(ports []topology.SwitchPort) string {
	var at []string
	nowhere := 0
	for _, p := range ports {
		if p.Chassis == "" {
			nowhere++
		} else {
			at = append(at, p.Chassis)
		}
	}
	slices.SortFunc(at, natural)
	at = slices.Compact(at)
	text := ""
	switch {
	case len(at) > 3:
		text = fmt.Sprintf(" on %d chassis", len(at))
	case len(at) > 0:
		text = " on " + strings.Join(w.cleaned(at), ", ")
	}
	if nowhere > 0 {
		text += fmt.Sprintf(", %d plugged in nowhere", nowhere)
	}
	return text
}

func (w writing) ofChassis(n *Node) (about string, lines []string) {
	state := w.state(n)
	if n.Alike != nil {
		about = fmt.Sprintf("%d chassis, %s", len(n.Alike), state)
	} else if n.IP.IsValid() {
		about = n.IP.String() + ", " + state
	} else {
		about = "chassis, " + state
	}
	lines = []string{w.carries(n)}
	if n.MTU != 0 {
		lines[0] += fmt.Sprintf(", MTU %d", n.MTU)
	}
	return about, lines
}

func (w writing) state(n *Node) string {
	switch {
	case n.State == Unknown:
		return "unknown"
	case n.State == Down && n.Alike == nil:
		return "down since " + time.Unix(n.Since, 0).UTC().Format(time.RFC3339)
	}
	return string(n.State)
}

// carries says how many workloads are plugged in on a chassis.
func (w writing) carries(n *Node) string {
	if n.Alike == nil {
		return count(n.Bound, "workload")
	}
	return cmp.Or(each(n, "workload", func(n *Node) int { return n.Bound }), "no workloads")
}

// link is what stands on the line between a router and a switch: the address,
// or the first and the last of several.
func (w writing) link(e *Edge) string {
	if len(e.Alike) < 2 {
		return e.Net.String()
	}
	return w.span(e.Alike[0].Net.String(), e.Alike[len(e.Alike)-1].Net.String())
}

// outerPort names an outer port.
func (w writing) outerPort(e *Edge) string {
	text := w.clean(e.SwitchPort)
	if n := len(e.Alike); n > 1 {
		text = w.span(text, w.clean(e.Alike[n-1].SwitchPort))
	}
	return text
}

// outer names an outer port with the bridge that it leads to.
func (w writing) outer(e *Edge) string {
	if e.Bridge == "" {
		return w.outerPort(e)
	}
	return fmt.Sprintf("%s %s %s", w.outerPort(e), w.outside, w.clean(e.Bridge))
}

// short cuts a list where it gets long, if the graph is folded.
func (w writing) short(list []string, what string) []string {
	if !w.folded || len(list) <= listMost {
		return list
	}
	rest := len(list) - listMost + 1
	return append(slices.Clip(list[:listMost-1]), fmt.Sprintf("%s %d %s", w.more, rest, what))
}

// each says how many of something each of several alike nodes has; nothing if
// none has any.
func each(n *Node, noun string, has func(*Node) int) string {
	least, most := has(n.Alike[0]), has(n.Alike[0])
	for _, a := range n.Alike {
		least, most = min(least, has(a)), max(most, has(a))
	}
	switch {
	case most == 0:
		return ""
	case least == most:
		return count(most, noun) + " each"
	}
	return fmt.Sprintf("%d to %s each", least, count(most, noun))
}

func count(n int, noun string) string {
	plural := noun + "s"
	if noun == "switch" {
		plural = "switches"
	}
	switch n {
	case 0:
		return "no " + plural
	case 1:
		return "1 " + noun
	}
	return fmt.Sprintf("%d %s", n, plural)
}

// clean makes a name from the store fit to be shown: others may have written
// it, and a terminal obeys some of what it is sent.
func (w writing) clean(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case w.ascii && (r > unicode.MaxASCII || !unicode.IsGraphic(r)):
			return '?'
		case !unicode.IsGraphic(r):
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(name, "\uFFFD"))
}

func (w writing) cleaned(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = w.clean(s)
	}
	return out
}

// columns returns how many columns of a terminal s takes.
func columns(s string) int {
	n := 0
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	if r < 0x300 { // nothing wide, and no marks
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// cut shortens s to a number of columns, if that is more than 0.
func (w writing) cut(s string, most int) string {
	if most <= 0 || columns(s) <= most {
		return s
	}
	left := most - columns(w.more)
	for i, r := range s {
		if left -= runeColumns(r); left < 0 {
			return s[:i] + w.more
		}
	}
	return s
}
