package ctl

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Flags of every command that prints a list; withListFlags adds them.
var (
	filterFlag = Flag{Name: "filter", Value: "CONDITION", Many: true,
		Usage: "show only what meets the `CONDITION`: FIELD=VALUE, FIELD!=VALUE, FIELD~PATTERN, or < <= > >= with a number; may be given several times"}
	sortFlag = Flag{Name: "sort", Value: "FIELD", Usage: "sort by `FIELD`, instead of by name; -FIELD is the other way round"}
	allFlag  = Flag{Name: "all", Usage: "show those of all switches or routers, each with its own"}
)

// withListFlags gives commands that print lists the flags that lists have.
func withListFlags(commands []Command) []Command {
	for i, c := range commands {
		if len(c.fields) == 0 {
			continue
		}
		commands[i].Flags = append(slices.Clone(c.Flags), filterFlag, sortFlag, watchFlag)
	}
	return commands
}

// Fields returns the names by which the objects that the command lists can be
// filtered and sorted; none if it prints no list.
func (c Command) Fields() []string { return c.fields }

// choice is what of a list is shown, and in which order.
type choice struct {
	conditions []condition
	sort       string // field, or empty
	descending bool
}

// choice reads the flags of a list.
func (c Command) choice(env Env) (choice, error) {
	var ch choice
	if text := env.Flags[filterFlag.Name]; text != "" {
		for one := range strings.SplitSeq(text, ",") {
			cond, err := parseCondition(one)
			if err == nil {
				err = c.knows(cond.field)
			}
			if err != nil {
				return ch, fmt.Errorf("invalid --filter %q: %w", one, err)
			}
			ch.conditions = append(ch.conditions, cond)
		}
	}
	ch.sort, ch.descending = strings.CutPrefix(env.Flags[sortFlag.Name], "-")
	if ch.sort != "" {
		if err := c.knows(ch.sort); err != nil {
			return ch, fmt.Errorf("invalid --sort %q: %w", env.Flags[sortFlag.Name], err)
		}
	}
	return ch, nil
}

func (c Command) knows(field string) error {
	if slices.Contains(c.fields, field) {
		return nil
	}
	return fmt.Errorf("tpctl %s has no field %q, its fields are %s", c.Name(), field, strings.Join(c.fields, ", "))
}

// of returns the objects that were chosen, in their order.
func (ch choice) of(list []object) []object {
	list = slices.DeleteFunc(list, func(o object) bool {
		return slices.ContainsFunc(ch.conditions, func(c condition) bool { return !c.met(o) })
	})
	if ch.sort != "" {
		slices.SortStableFunc(list, func(a, b object) int {
			n := compareTexts(a.get(ch.sort), b.get(ch.sort))
			if ch.descending {
				return -n
			}
			return n
		})
	}
	return list
}

// condition is one that an object meets or not.
type condition struct {
	field, op, value string
	network          netip.Prefix // value, if it is one
}

// operators are what may stand between a field and a value; of two that begin
// alike the longer one comes first.
var operators = []string{"!=", "<=", ">=", "=", "~", "<", ">"}

// Some fields hold values of one sort only.
var (
	addressFields = []string{"ip", "next_hop", "xlate_ip", "contender"}
	wordFields    = []string{"origin", "state"} // in which upper and lower case are one
)

func parseCondition(text string) (c condition, err error) {
	at := strings.IndexAny(text, "!<>=~")
	if at < 1 {
		return c, errors.New("want FIELD=VALUE, FIELD!=VALUE, FIELD~PATTERN, FIELD<NUMBER or FIELD>NUMBER")
	}
	i := slices.IndexFunc(operators, func(op string) bool { return strings.HasPrefix(text[at:], op) })
	if i < 0 {
		return c, errors.New("want FIELD!=VALUE")
	}
	c.field, c.op, c.value = text[:at], operators[i], text[at+len(operators[i]):]
	if slices.Contains(wordFields, c.field) {
		c.value = strings.ToLower(c.value)
	}
	switch c.op {
	case "~":
		if _, err := path.Match(c.value, ""); err != nil {
			return c, errors.New("the pattern has a bracket that is not closed, or nothing behind a backslash")
		}
	case "=", "!=":
		return c, c.parseNetwork()
	default:
		if class := rankOf(c.value).class; class != numberClass && class != addressClass {
			return c, fmt.Errorf("want a number, or an address, behind %s", c.op)
		}
	}
	return c, nil
}

// parseNetwork finds out whether the value is a network. What is no address
// cannot be found in a field that holds addresses alone.
func (c *condition) parseNetwork() (err error) {
	if c.network, err = netip.ParsePrefix(c.value); err == nil || c.value == "" || !slices.Contains(addressFields, c.field) {
		return nil
	}
	if _, err := netip.ParseAddr(c.value); err != nil {
		return fmt.Errorf("%q is no address such as 10.20.1.10, and no network such as 10.20.0.0/16; behind ~ it may be a pattern, %s~10.20.*", c.value, c.field)
	}
	return nil
}

// severalTexts is the value of a field of which a condition may mean any of
// several texts.
type severalTexts interface{ texts() []string }

func (c condition) met(o object) bool {
	texts := o.texts(c.field)
	if c.op == "!=" {
		return !slices.ContainsFunc(texts, c.equals)
	}
	return slices.ContainsFunc(texts, c.holds)
}

// holds reports whether the condition, which denies nothing, is true of a text.
func (c condition) holds(has string) bool {
	switch c.op {
	case "=":
		return c.equals(has)
	case "~":
		// * stands for slashes, too: what has them here is no path.
		ok, _ := path.Match(strings.ReplaceAll(c.value, "/", "\x00"), strings.ReplaceAll(has, "/", "\x00"))
		return ok
	}
	a, b := rankOf(has), rankOf(c.value)
	if a.class != b.class {
		return false
	}
	n := a.compare(b)
	return n < 0 && c.op[0] == '<' || n > 0 && c.op[0] == '>' || n == 0 && len(c.op) > 1
}

// equals reports whether a field's text is the value, or an address or a
// network within it.
func (c condition) equals(has string) bool {
	if has == c.value || !c.network.IsValid() {
		return has == c.value
	}
	if ip, err := netip.ParseAddr(has); err == nil {
		return c.network.Contains(ip)
	}
	within, err := netip.ParsePrefix(has)
	return err == nil && within.Bits() >= c.network.Bits() && c.network.Contains(within.Addr())
}

// get returns a field's text as it is in JSON, and nothing for one that the
// object does not have.
func (o object) get(name string) string {
	if name == "name" {
		return o.name
	}
	for _, f := range append(o.fields[:len(o.fields):len(o.fields)], o.parent) {
		if f.name == name {
			return f.text()
		}
	}
	return ""
}

// texts returns what a condition on a field is compared with.
func (o object) texts(name string) []string {
	for _, f := range o.fields {
		if several, ok := f.value.(severalTexts); ok && f.name == name {
			return several.texts()
		}
	}
	text := o.get(name)
	if slices.Contains(wordFields, name) {
		text = strings.ToLower(text)
	}
	return []string{text}
}

func (f field) text() string {
	if m, ok := f.value.(json.Marshaler); ok {
		if text, err := m.MarshalJSON(); err == nil {
			return strings.Trim(string(text), `"`)
		}
	}
	return fmt.Sprint(f.value)
}

// compareTexts orders texts: nothing, then numbers, then addresses, both by
// their value, then all else.
func compareTexts(a, b string) int {
	return cmp.Or(rankOf(a).compare(rankOf(b)), strings.Compare(a, b))
}

// rank is where a text stands among others.
type rank struct {
	class  int
	number float64
	ip     netip.Addr
}

// The classes of texts, in their order.
const (
	emptyClass = iota
	numberClass
	addressClass
	otherClass
)

func rankOf(text string) rank {
	if text == "" {
		return rank{class: emptyClass}
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(n) {
		return rank{class: numberClass, number: n}
	}
	if ip, err := netip.ParseAddr(text); err == nil {
		return rank{class: addressClass, ip: ip}
	}
	return rank{class: otherClass}
}

func (r rank) compare(o rank) int {
	return cmp.Or(cmp.Compare(r.class, o.class), cmp.Compare(r.number, o.number), r.ip.Compare(o.ip))
}
