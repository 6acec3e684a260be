package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFileRefused(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"idle: 3\nprefix: b: c\n", "agent.yaml:2: not YAML: mapping values are not allowed"},
		{"- endpoints\n", `agent.yaml:1: want lines such as "log_level: info"`},
		{"nonsense\n", `agent.yaml:1: want lines such as "log_level: info"`},
		{"# a comment\nhash_nf: eth_src\n", `agent.yaml:2: unknown key "hash_nf"; did you mean "hash_fn"?`},
		{"log-level: info\n", `agent.yaml:1: unknown key "log-level"; did you mean "log_level"?`},
		{"ENABLE_UNTUNNEL: 1\n", `agent.yaml:1: unknown key "ENABLE_UNTUNNEL"; did you mean "untunnel"?`},
		{"host: a:1\n", `agent.yaml:1: unknown key "host"; did you mean "endpoints"?`},
		{"colour: red\n", `agent.yaml:1: unknown key "colour"; tuplenet agent --check prints all there are`},
		{"hash_fn: nw_src\nidle: 3\nhash_fn: nw_dst\n", "agent.yaml:3: hash_fn is given twice, first in line 1; keep one of the two"},
		{"hash_fn: [nw_src]\n", "agent.yaml:1: invalid hash_fn, want one value"},
		{"hash_fn: {a: b}\n", "agent.yaml:1: invalid hash_fn, want one value"},
		{"endpoints: {a: b}\n", "agent.yaml:1: invalid endpoints, want one value or a list of them"},
		{"endpoints: [a:1, [b:2]]\n", "agent.yaml:1: invalid endpoints, want one value or a list of them"},
		{"prefix: &p /a\nrundir: *p\n", "agent.yaml:2: invalid rundir, want one value"},
		{"idle: 3\n---\nidle: 4\n", "agent.yaml:2: a second document begins here; the configuration is one"},
		{"a: 1\nhash: 2\n", "agent.yaml:1: unknown key \"a\"; tuplenet agent --check prints all there are\nagent.yaml:2: unknown key \"hash\"; tuplenet agent --check prints all there are"},
	} {
		if _, err := parseFile("agent.yaml", []byte(tt.text)); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%q:\n%v, want\n%s", tt.text, err, tt.want)
		}
	}
}

func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if f, err := ReadFile("", path); f != nil || err != nil {
		t.Errorf("a file that may be missing: %v, %v", f, err)
	}
	if _, err := ReadFile(path, ""); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file that is named and missing: %v", err)
	}
	for mode, want := range map[os.FileMode]string{0o600: "", 0o640: "", 0o644: path + ":2 has a password, and everybody on this host can read it: chmod o-r " + path} {
		if err := os.WriteFile(path, []byte("user: node\npassword: secret\n"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		f, err := ReadFile(path, "")
		if err != nil {
			t.Fatal(err)
		}
		r, err := Sources{File: f}.Resolve(Agent())
		if notes := strings.Join(r.Notes(), "\n"); err != nil || notes != want {
			t.Errorf("with mode %o: %q, %v, want %q", mode, notes, err, want)
		}
	}
}

// FuzzFile: whatever a file holds, it is read or refused, and what was read can be
// resolved or is refused.
func FuzzFile(f *testing.F) {
	f.Add("endpoints: [a:1, b:2]\nidle: 3\n")
	f.Add("a: &x [*x]\n---\n? {}\n: 1\n")
	f.Add("gateway: !!binary aGk=\nmetrics: 2001-01-01\n")
	f.Add(Example())
	f.Fuzz(func(t *testing.T, text string) {
		file, err := parseFile("agent.yaml", []byte(text))
		if file == nil || (err != nil && err.Error() == "") {
			t.Fatalf("%v, %v", file, err)
		}
		if r, _ := (Sources{File: file}).Resolve(Agent()); len(r.Values) != len(Agent()) {
			t.Errorf("%d values", len(r.Values))
		}
	})
}
