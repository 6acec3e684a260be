package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Source is where a value comes from.
type Source string

// The sources, those first that count before others. A mode is itself a setting:
// tuplenet gateway.
const (
	FromMode        Source = "mode"
	FromFlag        Source = "flag"
	FromEnvironment Source = "environment"
	FromFile        Source = "file"
	FromDefault     Source = "default"
)

// Origin is the place that a value stands in.
type Origin struct {
	Source Source
	Where  string // --flag, VARIABLE or FILE:LINE; of a default the setting that it is taken from, if there is one
}

// String returns the origin as people read it.
func (o Origin) String() string {
	switch {
	case o.Source == FromDefault && o.Where == "":
		return "default"
	case o.Source == FromDefault:
		return "from " + o.Where
	}
	return o.Where
}

// Value is what one setting is.
type Value struct {
	Setting
	Text   string // as in the file; a list's parts with commas between, a switch's true or false
	Origin Origin
	Behind []Said // what counts for less, and says something else
	Note   string // why it is other than somebody may expect, if it is
}

// Said is a value in one place.
type Said struct {
	Text   string
	Origin Origin
}

// Shown returns the text as others may see it.
func (v Value) Shown() string { return v.Show(v.Text) }

// Show returns a text of the setting as others may see it.
func (s Setting) Show(text string) string {
	if s.mask == nil || text == "" {
		return text
	}
	return s.mask(text)
}

// inFile returns what the file says of a setting, whether that counts or not.
func (v Value) inFile() string {
	for _, said := range append([]Said{{v.Text, v.Origin}}, v.Behind...) {
		if said.Origin.Source == FromFile {
			return said.Text
		}
	}
	return ""
}

// Resolved is what settings are.
type Resolved struct {
	Config
	Values []Value // in the order of the settings
	Path   string  // of the file; empty if there is none

	file *File
}

// Value returns the value of the setting with a key; a zero one if it was not
// resolved.
func (r *Resolved) Value(key string) Value {
	if v := r.value(key); v != nil {
		return *v
	}
	return Value{}
}

func (r *Resolved) value(key string) *Value {
	i := slices.IndexFunc(r.Values, func(v Value) bool { return v.Key == key })
	if i < 0 {
		return nil
	}
	return &r.Values[i]
}

// Notes are those of all values.
func (r *Resolved) Notes() []string {
	var notes []string
	for _, v := range r.Values {
		if v.Note != "" {
			notes = append(notes, v.Note)
		}
	}
	return notes
}

// FileSays reports whether the file says anything of these settings.
func (r *Resolved) FileSays() bool {
	return r.file != nil && slices.ContainsFunc(r.Values, func(v Value) bool { _, says := r.file.entries[v.Key]; return says })
}

// Sources are where settings are looked for. Each may be missing.
type Sources struct {
	Flag    func(name string) (text string, given bool) // a Switch is true or false; given without a text is the default
	Env     func(variable string) string                // empty for what is not there
	File    *File
	Gateway bool // the mode is an edge's, whatever else says
}

// Resolve finds out what settings are. It judges all that is said of them, also what
// counts for less. Its error is Problems; what it could find out it returns then, too,
// for those who have to go on.
func (s Sources) Resolve(settings []Setting) (*Resolved, error) {
	r := &Resolved{file: s.File}
	var problems Problems
	if s.File != nil {
		r.Path = s.File.Path
	}
	for _, setting := range settings {
		said, wrong := s.find(setting)
		problems = append(problems, wrong...)
		v := Value{Setting: setting, Text: setting.Default, Origin: Origin{Source: FromDefault}}
		if from := r.value(setting.From); setting.From != "" && from != nil {
			v.Text, v.Origin.Where = from.Text, setting.From
		}
		if len(said) > 0 {
			v.Origin = said[0].Origin
			if said[0].Text != "" {
				v.Text = said[0].Text
			}
			v.Behind = slices.DeleteFunc(said[1:], func(b Said) bool { return b.Text == v.Text })
		}
		if setting.mask != nil && v.Origin.Source == FromFile && s.File.public && setting.Show(v.Text) != v.Text {
			v.Note = fmt.Sprintf("%s has a password, and everybody on this host can read it: chmod o-r %s", v.Origin, r.Path)
		}
		r.Values = append(r.Values, v)
	}
	r.ofGateway()
	for _, v := range r.Values {
		v.set(&r.Config, v.Text) // find has told what is wrong
	}
	problems = append(problems, r.together()...)
	return r, problems.err()
}

// ofGateway settles what an edge does not do, whatever else says.
func (r *Resolved) ofGateway() {
	gateway, demand := r.value("gateway"), r.value("on_demand")
	if gateway == nil || demand == nil || gateway.Text != "true" {
		return
	}
	if asked := demand.Origin; asked.Source != FromDefault && demand.Text == "true" {
		demand.Note = fmt.Sprintf("%s has no effect: a gateway makes the flows of the whole topology", asked)
		demand.Behind = append([]Said{{demand.Text, asked}}, demand.Behind...)
	}
	if demand.Text == "true" {
		demand.Text, demand.Origin = "false", Origin{FromDefault, "gateway"}
	}
}

// find returns what is said of a setting, those first that count before others, and
// what is wrong with it.
func (s Sources) find(setting Setting) (said []Said, problems Problems) {
	take := func(source Source, where, name, text, canonical string, ok bool) {
		if ok && canonical != "" {
			ok = setting.set(&Config{}, canonical)
		}
		if ok {
			said = append(said, Said{canonical, Origin{source, where}})
			return
		}
		wants := setting.Wants
		if setting.Switch && source == FromEnvironment {
			wants = "1 for on, 0 or nothing for off"
			if setting.Default == "true" {
				wants = "0 for off, 1 or nothing for on"
			}
		}
		problem := fmt.Sprintf("invalid %s%q, want %s", name, text, wants)
		if source == FromFile {
			problem = where + ": " + problem
		}
		problems = append(problems, Problem{Key: setting.Key, Where: where, Text: problem})
	}
	if s.Gateway && setting.Key == "gateway" {
		take(FromMode, "the mode gateway", "", "true", "true", true)
	}
	if s.Flag != nil {
		if text, given := s.Flag(setting.Flag); given {
			take(FromFlag, "--"+setting.Flag, "--"+setting.Flag+" ", text, text, true)
		}
	}
	if s.Env != nil {
		if text := s.Env(setting.Env); text != "" {
			canonical, ok := text, true
			if setting.Switch { // by the spellings that TupleNet's agents have always known
				canonical, ok = strconv.FormatBool(text == "1"), text == "1" || text == "0"
			}
			take(FromEnvironment, setting.Env, setting.Env+"=", text, canonical, ok)
		}
	}
	if s.File != nil {
		if e, given := s.File.entries[setting.Key]; given {
			canonical, ok := e.text, true
			if setting.Switch {
				canonical, ok = readSwitch(e.text)
			}
			take(FromFile, fmt.Sprintf("%s:%d", s.File.Path, e.line), setting.Key+" ", e.text, canonical, ok)
		}
	}
	return said, problems
}

// readSwitch reads a switch in a file: YAML's own words, those of its earlier version
// that people still write, and the environment's.
func readSwitch(text string) (canonical string, ok bool) {
	switch strings.ToLower(text) {
	case "true", "on", "yes", "1":
		return "true", true
	case "false", "off", "no", "0":
		return "false", true
	}
	return "", false
}

// together looks at settings that are nothing without another, and parts a user from
// its password.
func (r *Resolved) together() (problems Problems) {
	etcd := &r.Config.Etcd
	if name, password, given := strings.Cut(etcd.Username, ":"); given {
		etcd.Username = name
		if etcd.Password == "" {
			etcd.Password = password
		}
	}
	both := func(has, lacks, one, other, remedy string) {
		if (has == "") == (lacks == "") {
			return
		}
		key := one
		if has == "" {
			key = other
		}
		problems = append(problems, Problem{Key: key, Where: r.Value(key).Origin.String(),
			Text: fmt.Sprintf("%s: etcd's settings %s and %s belong together: give both or none%s", r.Value(key).Origin, one, other, remedy)})
	}
	both(etcd.CertFile, etcd.KeyFile, "cert", "key", "")
	both(etcd.Username, etcd.Password, "user", "password", ", for example in TUPLENET_USER and TUPLENET_PASSWORD")
	return problems
}

// Problem is something wrong with settings.
type Problem struct {
	Key   string // of the setting; empty if it concerns none
	Where string // as in Origin
	Text  string // a sentence, with the place where it is a file
}

// Error returns the text.
func (p Problem) Error() string { return p.Text }

// Problems are all that is wrong. As an error they are a line each.
type Problems []Problem

// Error returns the texts, a line each.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.Text
	}
	return strings.Join(lines, "\n")
}

func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

// Join returns the problems in errors, as one; nil if none of them is an error. What is
// no problem of settings becomes one.
func Join(errs ...error) error {
	var all Problems
	for _, err := range errs {
		var some Problems
		switch {
		case err == nil:
		case errors.As(err, &some):
			all = append(all, some...)
		default:
			all = append(all, Problem{Text: err.Error()})
		}
	}
	return all.err()
}
