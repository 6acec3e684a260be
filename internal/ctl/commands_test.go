package ctl

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// TestExamples holds every command to an example that has its name and the
// right number of arguments.
func TestExamples(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range All() {
		name := c.Object + " " + c.Verb
		for _, verb := range []string{c.Verb, c.Alias} {
			if key := c.Object + " " + verb; verb != "" && seen[key] {
				t.Errorf("%s is there twice", key)
			} else {
				seen[key] = true
			}
		}
		_, args, ok := strings.Cut(c.Example, "tpctl "+name)
		if !ok {
			t.Errorf("%s: the example %q is of another command", name, c.Example)
		}
		words := strings.Fields(args)
		if len(words) > 0 && words[0] == "-r" && c.Recursive {
			words = words[1:]
		}
		if err := c.checkCount(len(words)); err != nil {
			t.Errorf("%s: the example does not work: %v", name, err)
		}
		if c.Usage == "" {
			t.Errorf("%s has no usage line", name)
		}
	}
}

func TestConfirm(t *testing.T) {
	for in, want := range map[string]bool{
		"yes\n":       true,
		"y\n":         true,
		"yes":         true,
		" yes \r\n":   true,
		"y\ny\ny\n":   true,
		"":            false,
		"\n":          false,
		"no\n":        false,
		"YES\n":       false,
		"yess\n":      false,
		"no\nyes\n":   false,
		"yes, do\n":   false,
		"asdf":        false,
		"\x00yes\n":   false,
		"y e s\n":     false,
		"operation\n": false,
	} {
		if err := confirm(strings.NewReader(in), io.Discard, "LS-A"); (err == nil) != want {
			t.Errorf("confirm(%q) = %v, want yes: %v", in, err, want)
		}
	}
	broken := errors.New("broken pipe")
	if err := confirm(failing{broken}, io.Discard, "LS-A"); !errors.Is(err, broken) {
		t.Errorf("confirm on a broken input = %v, want %v", err, broken)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
