package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"tuplenet/internal/suggest"
)

// The files that are read when they exist and no other is named.
const (
	AgentFile  = "/etc/tuplenet/agent.yaml"
	ClientFile = "/etc/tuplenet/client.yaml" // of tools that need etcd alone
)

// File is what a file says: YAML, a mapping from the keys of Agent to values. A tool
// that needs some of them passes over the others, so that an agent's file serves it,
// too.
type File struct {
	Path    string
	entries map[string]entry
	public  bool // others than the owner and the group can read it
}

// entry is one line of a file.
type entry struct {
	text string
	line int
	list bool
}

// ReadFile reads the file at path or, if that is empty, the one at initial, which
// may be missing: then it returns nil. Its error is Problems, or tells why there is
// nothing to read.
func ReadFile(path, initial string) (*File, error) {
	named := path != ""
	if !named {
		path = initial
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	f, err := parseFile(path, data)
	if info, failed := os.Stat(path); failed == nil {
		f.public = info.Mode().IsRegular() && info.Mode()&0o004 != 0
	}
	return f, err
}

// parseFile reads a file's text. What it can read of it it returns also with an
// error.
func parseFile(path string, data []byte) (*File, error) {
	f := &File{Path: path, entries: map[string]entry{}}
	r := &reader{file: f}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, next yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF): // empty, or comments alone
		return f, nil
	case err != nil:
		r.notYAML(err)
		return f, r.problems.err()
	}
	if err := decoder.Decode(&next); err == nil {
		r.fail(next.Line, "", "a second document begins here; the configuration is one")
	} else if !errors.Is(err, io.EOF) {
		r.notYAML(err)
	}
	for _, n := range doc.Content {
		r.mapping(n)
	}
	return f, r.problems.err()
}

// reader is a parseFile under way.
type reader struct {
	file     *File
	problems Problems
}

func (r *reader) fail(line int, key, format string, args ...any) {
	where := fmt.Sprintf("%s:%d", r.file.Path, line)
	r.problems = append(r.problems, Problem{Key: key, Where: where, Text: where + ": " + fmt.Sprintf(format, args...)})
}

// yamlLine is how the library tells the line in its errors.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

func (r *reader) notYAML(err error) {
	line := 1
	if m := yamlLine.FindStringSubmatch(err.Error()); m[1] != "" {
		line, _ = strconv.Atoi(m[1])
	}
	r.fail(line, "", "not YAML: %s", yamlLine.ReplaceAllString(err.Error(), ""))
}

func (r *reader) mapping(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		r.fail(n.Line, "", "want lines such as \"log_level: info\"")
		return
	}
	all := Agent()
	for pair := range slices.Chunk(n.Content, 2) {
		key, value := pair[0], pair[1]
		i := slices.IndexFunc(all, func(s Setting) bool { return s.Key == key.Value })
		if i < 0 {
			r.fail(key.Line, key.Value, "unknown key %q%s", key.Value, meant(key.Value, all))
			continue
		}
		if first, twice := r.file.entries[key.Value]; twice {
			r.fail(key.Line, key.Value, "%s is given twice, first in line %d; keep one of the two", key.Value, first.line)
			continue
		}
		if e, ok := r.value(all[i], value); ok {
			e.line = key.Line
			r.file.entries[key.Value] = e
		}
	}
}

// value reads the value of a setting. Without one, it is as if the key were not
// there.
func (r *reader) value(s Setting, n *yaml.Node) (entry, bool) {
	scalar := func(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag != "!!null" }
	switch {
	case n.Kind == yaml.ScalarNode && (n.Tag == "!!null" || n.Value == ""):
		return entry{}, false
	case scalar(n):
		return entry{text: n.Value}, true
	case s.List && n.Kind == yaml.SequenceNode && !slices.ContainsFunc(n.Content, func(n *yaml.Node) bool { return !scalar(n) }):
		parts := make([]string, len(n.Content))
		for i, part := range n.Content {
			parts[i] = part.Value
		}
		return entry{text: strings.Join(parts, ","), list: true}, len(parts) > 0
	case s.List:
		r.fail(n.Line, s.Key, "invalid %s, want one value or a list of them", s.Key)
	default:
		r.fail(n.Line, s.Key, "invalid %s, want one value", s.Key)
	}
	return entry{}, false
}

// meant says which key somebody may have meant: one that is spelled alike, or that of
// the flag or the variable of that name.
func meant(word string, all []Setting) string {
	known := make([]string, len(all))
	for i, s := range all {
		if word == s.Flag || word == s.Env {
			return fmt.Sprintf("; did you mean %q?", s.Key)
		}
		known[i] = s.Key
	}
	if near := suggest.DidYouMean(word, known); near != "" {
		return near
	}
	return "; tuplenet agent --check prints all there are"
}
