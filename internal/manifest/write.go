package manifest

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"tuplenet/internal/topology"
)

// Writing says what Write puts into a description.
type Writing struct {
	// Chosen tells the switches and routers that are described; nil: all. A link
	// belongs to its router.
	Chosen func(device topology.Key) bool
	// Bound says that the chassis that agents have bound ports to are described.
	Bound bool
	// Apart tells what others make and take away as a whole, a switch with its
	// ports and links, and which is no part of a description; nil: nothing.
	Apart func(topology.Key) bool
}

// Describe returns the description of entities as a document: what Read makes of
// it is the same entities, in their shortest form and sorted by name. Pairs of
// values that this version does not know stand there as comments. What cannot be
// described is returned, with the reason: objects whose switch or router is not
// among the entities, and what YAML has no letters for. The ports of attachments
// and what is apart are left out without a word: like the owners of others they are
// no part of a description.
func Describe(entities []topology.Stored, how Writing) (doc *yaml.Node, omitted map[topology.Key]string) {
	omitted = map[topology.Key]string{}
	t := &teller{how: how, children: map[topology.Key][]topology.Stored{}, short: map[topology.Key]topology.Extra{}}
	sorted := slices.SortedFunc(slices.Values(entities), func(a, b topology.Stored) int { return a.Key().Compare(b.Key()) })
	if how.Apart != nil {
		sorted = slices.DeleteFunc(sorted, func(e topology.Stored) bool { return how.Apart(e.Key()) })
	}
	devices := map[topology.Key]topology.Stored{}
	ports := map[string][]topology.SwitchPort{} // by name
	for _, e := range sorted {
		switch key := e.Key(); {
		case !isText(e):
			omitted[key] = "it is not UTF-8"
			continue
		case key.Kind == topology.KindSwitch || key.Kind == topology.KindRouter:
			devices[key] = e
		case key.Kind.Parent() != 0:
			t.children[key.ParentKey()] = append(t.children[key.ParentKey()], e)
		}
		if p, ok := e.(topology.SwitchPort); ok {
			ports[p.Name] = append(ports[p.Name], p)
		}
	}
	for _, e := range sorted {
		if p, ok := e.(topology.RouterPort); ok && omitted[p.Key()] == "" {
			t.findLink(p, ports[p.Peer], devices)
		}
	}
	switches, routers := mapping(), mapping()
	for _, e := range sorted {
		key := e.Key()
		switch {
		case omitted[key] != "":
		case key.Kind.Parent() != 0 && devices[key.ParentKey()] == nil:
			omitted[key] = "there is no " + key.ParentKey().String()
		case devices[key] == nil || how.Chosen != nil && !how.Chosen(key):
		case key.Kind == topology.KindSwitch:
			add(switches, key.Name, t.describeSwitch(e.(topology.Switch)), extra(e))
		default:
			add(routers, key.Name, t.describeRouter(e.(topology.Router)), extra(e))
		}
	}
	top := mapping()
	addUnlessEmpty(top, "switches", switches)
	addUnlessEmpty(top, "routers", routers)
	return top, omitted
}

// isText reports whether what is described of an object can stand in a text.
func isText(e topology.Stored) bool {
	key := e.Key()
	if !utf8.ValidString(key.Parent) || !utf8.ValidString(key.Name) {
		return false
	}
	return !slices.ContainsFunc(properties(e), func(p [2]string) bool { return !utf8.ValidString(p[1]) })
}

// Write writes a document as text that Read understands.
func Write(w io.Writer, doc *yaml.Node) error {
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(doc); err != nil {
		return fmt.Errorf("writing the description: %w", err)
	}
	return enc.Close()
}

// teller is a Describe under way.
type teller struct {
	how      Writing
	children map[topology.Key][]topology.Stored // by switch or router, sorted
	short    map[topology.Key]topology.Extra    // ports that are the ends of a link, and what is unknown of the other end
}

// findLink notes a router port that, with one of the switch ports that its peer
// may be, is what Link makes.
func (t *teller) findLink(p topology.RouterPort, peers []topology.SwitchPort, devices map[topology.Key]topology.Stored) {
	for _, peer := range peers {
		bare, other := peer, p
		bare.Extra, other.Extra = "", ""
		if !t.how.Bound {
			bare.Chassis = ""
		}
		wantedPort, wantedOther := Link(p.Router, peer.Switch, p.Net)
		if bare == wantedPort && other == wantedOther && devices[peer.Key().ParentKey()] != nil && devices[p.Key().ParentKey()] != nil {
			t.short[peer.Key()], t.short[p.Key()] = p.Extra, peer.Extra
		}
	}
}

func (t *teller) describeSwitch(sw topology.Switch) *yaml.Node {
	n, ports := mapping(), mapping()
	add(n, "id", number(sw.ID), "")
	secure(n, sw.Secured)
	for _, e := range t.children[sw.Key()] {
		p := e.(topology.SwitchPort)
		if _, isLink := t.short[e.Key()]; !isLink && !isAttachment(p) {
			add(ports, p.Name, t.describePort(p), p.Extra)
		}
	}
	addUnlessEmpty(n, "ports", ports)
	return n
}

func (t *teller) describePort(p topology.SwitchPort) *yaml.Node {
	n := inline()
	chassis := ""
	if isPatch(p) || t.how.Bound {
		chassis = p.Chassis
	}
	if isPatch(p) {
		set(n, "bridge", p.Peer)
	} else {
		set(n, "ip", address(p))
		set(n, "peer", p.Peer)
	}
	if p.MAC != defaultMAC(p.IP) {
		set(n, "mac", p.MAC.String())
	}
	set(n, "chassis", chassis)
	set(n, "parent", p.Parent)
	if p.Tag != 0 {
		add(n, "tag", number(uint32(p.Tag)), "")
	}
	secure(n, p.Secured)
	set(n, "pool", p.Pool)
	return shorten(n, "ip")
}

func (t *teller) describeRouter(r topology.Router) *yaml.Node {
	n, links, ports, routes, rules := mapping(), &yaml.Node{Kind: yaml.SequenceNode}, mapping(), mapping(), mapping()
	add(n, "id", number(r.ID), "")
	set(n, "chassis", r.Chassis)
	var ways []topology.RouterPort
	for _, e := range t.children[r.Key()] {
		if p, ok := e.(topology.RouterPort); ok {
			ways = append(ways, p)
		}
	}
	for _, e := range t.children[r.Key()] {
		switch e := e.(type) {
		case topology.RouterPort:
			if others, isLink := t.short[e.Key()]; isLink {
				links.Content = append(links.Content, describeLink(e, others))
			} else {
				add(ports, e.Name, describeRouterPort(e), e.Extra)
			}
		case topology.StaticRoute:
			add(routes, e.Name, describeRoute(e, ways), e.Extra)
		case topology.NAT:
			rule := inline()
			set(rule, "type", string(e.Type))
			set(rule, "cidr", e.Net.String())
			set(rule, "ip", e.XlateIP.String())
			add(rules, e.Name, rule, e.Extra)
		}
	}
	addUnlessEmpty(n, "links", links)
	addUnlessEmpty(n, "ports", ports)
	addUnlessEmpty(n, "routes", routes)
	addUnlessEmpty(n, "nat", rules)
	return n
}

func describeLink(p topology.RouterPort, others topology.Extra) *yaml.Node {
	n := inline()
	set(n, "switch", strings.TrimSuffix(p.Peer, "_to_"+p.Router))
	set(n, "cidr", p.Net.String())
	n.HeadComment = comment(topology.Extra(strings.Trim(string(p.Extra+","+others), ",")))
	return n
}

func describeRouterPort(p topology.RouterPort) *yaml.Node {
	n := inline()
	set(n, "cidr", p.Net.String())
	if p.MAC != defaultMAC(p.Net.Addr()) {
		set(n, "mac", p.MAC.String())
	}
	set(n, "peer", p.Peer)
	return shorten(n, "cidr")
}

func describeRoute(r topology.StaticRoute, ports []topology.RouterPort) *yaml.Node {
	n := inline()
	set(n, "cidr", r.Net.String())
	set(n, "next_hop", r.NextHop.String())
	if way := portsTo(r.NextHop, ports); len(way) != 1 || way[0] != r.OutPort {
		set(n, "outport", r.OutPort)
	}
	return n
}

// extra returns what a switch or router has beside what is described.
func extra(e topology.Stored) topology.Extra {
	switch e := e.(type) {
	case topology.Switch:
		return e.Extra
	case topology.Router:
		return e.Extra
	}
	return ""
}

func comment(e topology.Extra) string {
	if e == "" {
		return ""
	}
	return "# not described here: " + strings.Trim(strconv.Quote(string(e)), `"`)
}

// mapping is written with a line for each key, inline in one line.
func mapping() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"} }
func inline() *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Style: yaml.FlowStyle}
}

func text(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }
func number(n uint32) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: decimal(n)}
}

func add(n *yaml.Node, key string, value *yaml.Node, unknown topology.Extra) {
	k := text(key)
	k.HeadComment = comment(unknown)
	n.Content = append(n.Content, k, value)
}

func addUnlessEmpty(n *yaml.Node, key string, value *yaml.Node) {
	if len(value.Content) > 0 {
		add(n, key, value, "")
	}
}

// set adds a field unless it is empty.
func set(n *yaml.Node, key, value string) {
	if value != "" {
		add(n, key, text(value), "")
	}
}

// secure adds that port security is on.
func secure(n *yaml.Node, isOn bool) {
	if isOn {
		add(n, "port_security", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"}, "")
	}
}

// shorten returns the value of the field alone if there is no other.
func shorten(n *yaml.Node, field string) *yaml.Node {
	if len(n.Content) == 2 && n.Content[0].Value == field {
		return n.Content[1]
	}
	return n
}
