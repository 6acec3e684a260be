package ctl

import (
	"errors"
	"io"
	"slices"
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
		var operands []string
		flags := map[string]string{}
		for words := strings.Fields(args); len(words) > 0; words = words[1:] {
			i := slices.IndexFunc(c.Flags, func(f Flag) bool {
				return slices.Contains(append([]string{f.Name}, f.Aliases...), strings.TrimLeft(words[0], "-"))
			})
			switch {
			case !strings.HasPrefix(words[0], "-"):
				operands = append(operands, words[0])
			case i < 0:
				t.Errorf("%s: the example has the flag %s, the command has none of that name", name, words[0])
			case c.Flags[i].Value == "":
				flags[c.Flags[i].Name] = "true"
			default:
				words = words[1:]
				flags[c.Flags[i].Name] = words[0]
			}
		}
		if err := c.check(operands, flags); err != nil {
			t.Errorf("%s: the example does not work: %v", name, err)
		}
		for _, f := range c.Flags {
			if f.Usage == "" || f.Value != "" && !strings.Contains(f.Usage, "`"+f.Value+"`") {
				t.Errorf("%s: --%s has no usage line that tells its value", name, f.Name)
			}
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
