package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"

	"tuplenet/internal/suggest"
	"tuplenet/internal/topology"
)

// Source is one text: a file, or standard input. It may hold several documents.
type Source struct {
	Name string // for messages
	Text []byte // YAML, of which JSON is a part
}

// Object is one entity as it is described. A switch or router without an id has
// the id 0.
type Object struct {
	Entity topology.Stored
	At     Place

	// Bound says that the description tells which chassis a switch port is bound
	// to. Usually that is the agents' business.
	Bound bool

	// Security says that the description tells whether a switch or a port has port
	// security.
	Security bool
}

// Description is what texts describe, in the order in which it stands there.
type Description []Object

// Read reads texts that together are one description. Its error is Problems: all
// that it finds wrong, such as fields that there are not, and objects that are
// described twice.
func Read(sources ...Source) (Description, error) {
	r := &reader{}
	for _, s := range sources {
		r.file = s.Name
		r.documents(s.Text)
	}
	first := make(map[topology.Key]Place, len(r.objects))
	for _, o := range r.objects {
		key := o.Entity.Key()
		if at, ok := first[key]; ok {
			r.problems = append(r.problems, Problem{o.At, fmt.Sprintf("%s is described twice, first at %s; keep one of the two", key, at)})
			continue
		}
		first[key] = o.At
	}
	return r.objects, r.problems.Err()
}

// reader is a Read under way.
type reader struct {
	file     string
	objects  []Object
	problems Problems
}

// yamlLine is how the library tells the line in its errors.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

func (r *reader) documents(text []byte) {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			r.problems = append(r.problems, r.notYAML(err, text))
			return
		}
		for _, n := range doc.Content {
			r.fields(n, "a description",
				field{"switches", func(n *yaml.Node) { r.named(n, "switches", r.readSwitch) }},
				field{"routers", func(n *yaml.Node) { r.named(n, "routers", r.readRouter) }})
		}
	}
}

// notYAML returns what the library says of a text that it cannot read. What it
// says of tabs, which YAML does not take where it wants blanks, names none.
func (r *reader) notYAML(err error, text []byte) Problem {
	at := Place{File: r.file}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		at.Line, _ = strconv.Atoi(m[1])
	}
	lines := bytes.Split(text, []byte("\n"))
	for i := max(0, at.Line-2); i < min(at.Line+1, len(lines)); i++ { // the library counts from 1, or 0
		if indent := lines[i][:len(lines[i])-len(bytes.TrimLeft(lines[i], " \t"))]; bytes.ContainsRune(indent, '\t') {
			return Problem{Place{r.file, i + 1, bytes.IndexByte(indent, '\t') + 1}, "not YAML: a tab; indent with blanks"}
		}
	}
	return Problem{at, "not YAML: " + yamlLine.ReplaceAllString(err.Error(), "")}
}

// add enters an object and returns its index.
func (r *reader) add(e topology.Stored, at *yaml.Node) int {
	r.objects = append(r.objects, Object{Entity: e, At: r.place(at)})
	return len(r.objects) - 1
}

func (r *reader) place(n *yaml.Node) Place { return Place{r.file, n.Line, n.Column} }

func (r *reader) fail(n *yaml.Node, format string, args ...any) {
	r.problems = append(r.problems, Problem{r.place(n), fmt.Sprintf(format, args...)})
}

// field is one key that a mapping may have, and what reads its value.
type field struct {
	name string
	read func(*yaml.Node)
}

func names(known []field) []string {
	out := make([]string, len(known))
	for i, f := range known {
		out[i] = f.name
	}
	return out
}

// fields reads a mapping whose keys are known. of says what it describes. It
// reports whether nothing was wrong.
func (r *reader) fields(n *yaml.Node, of string, known ...field) bool {
	before := len(r.problems)
	seen := map[string]*yaml.Node{}
	for key, value := range r.pairs(n, of) {
		i := 0
		for i < len(known) && known[i].name != key.Value {
			i++
		}
		switch first := seen[key.Value]; {
		case i == len(known):
			r.fail(key, "unknown field %q of %s%s", key.Value, of, suggest.Among(key.Value, names(known)))
		case first != nil:
			r.fail(key, "field %s of %s stands there twice, first at %s", key.Value, of, r.place(first))
		default:
			known[i].read(value)
		}
		seen[key.Value] = key
	}
	return len(r.problems) == before
}

// named reads a mapping from names to objects.
func (r *reader) named(n *yaml.Node, of string, read func(name string, key, value *yaml.Node)) {
	for key, value := range r.pairs(n, of) {
		if err := topology.CheckName(key.Value); err != nil {
			r.fail(key, "%s: %s", of, err)
			continue
		}
		read(key.Value, key, value)
	}
}

// pairs yields the keys and values of a mapping. What is empty has none.
func (r *reader) pairs(n *yaml.Node, of string) func(yield func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		if isNull(n) || !r.is(n, yaml.MappingNode, of) {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if r.is(key, yaml.ScalarNode, "a name in "+of) && !yield(key, n.Content[i+1]) {
				return
			}
		}
	}
}

// kinds are what people call the kinds of nodes.
var kinds = map[yaml.Kind]string{yaml.MappingNode: "fields", yaml.SequenceNode: "a list", yaml.ScalarNode: "a single value"}

// is reports a node that is of another kind than it has to be. Aliases are not
// followed: a few lines of them could stand for any number of objects.
func (r *reader) is(n *yaml.Node, kind yaml.Kind, of string) bool {
	switch n.Kind {
	case kind:
		return true
	case yaml.AliasNode:
		r.fail(n, "%s: aliases (*%s) are not understood, write it out", of, n.Value)
	default:
		r.fail(n, "%s: want %s, not %s", of, kinds[kind], kinds[n.Kind])
	}
	return false
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }
