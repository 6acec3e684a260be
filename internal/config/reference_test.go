package config

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestExample: all of it is commented out; without the comments it says what is the
// default anyway, of every setting.
func TestExample(t *testing.T) {
	for line := range strings.Lines(Example()) {
		if line != "\n" && !strings.HasPrefix(line, "#") {
			t.Errorf("this counts: %s", line)
		}
	}
	bare := regexp.MustCompile(`(?m)^#(\w+:)`).ReplaceAllString(Example(), "$1")
	file, err := parseFile("agent.yaml", []byte(bare))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Sources{File: file}.Resolve(Agent())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(initial(), got.Config); diff != "" {
		t.Errorf("the example is not the default (-want +got):\n%s", diff)
	}
	for _, s := range Agent() {
		if !strings.Contains(bare, "\n"+s.Key+":") {
			t.Errorf("the example has no %s", s.Key)
		}
	}
}

// TestTable: each setting is found in one way only, and says what it is.
func TestTable(t *testing.T) {
	seen := map[string]string{"config": "the file", "check": "the check", "json": "the check", "j": "the check", "interval": "agents that polled",
		"i": "agents that polled", "help": "help", "h": "help", "version": "the version", "v": "the version"}
	for _, s := range Agent() {
		for _, name := range append([]string{"key " + s.Key, s.Env, s.Flag}, s.Aliases...) {
			if other := seen[name]; other != "" {
				t.Errorf("%s and %s have the name %q", s.Key, other, name)
			}
			seen[name] = s.Key
		}
		if s.Usage == "" || s.set == nil || s.Switch == strings.Contains(s.Usage, "`") {
			t.Errorf("%s does not say what it takes", s.Key)
		}
		if s.Default != "" && !s.set(&Config{}, s.Default) {
			t.Errorf("%s: its default %q is none of its values", s.Key, s.Default)
		}
	}
}
