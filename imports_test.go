package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The module, and the one within it: see plugins/cni/doc.go.
const (
	module       = "tuplenet"
	pluginModule = "cni.tuplenet"
	pluginRoom   = "plugins/cni"
)

// rooms says what the packages of each room may import of this module, beside
// those of their own room. A room is a directory with what is below it. The
// arrows point one way: docs/design.md, section 2.
var rooms = map[string][]string{
	".":                 {"modes", "plugins/cni"},
	"modes":             {"plugins/cni", "plugins/cnm", "plugins/host", "plugins/install", "plugins/underlay", "embedded", "internal/agent", "internal/metrics", "internal/config", "internal/lab", "internal/ctl", "internal/explain", "internal/doctor", "internal/cleanup", "flows", "internal/store", "internal/ovs", "internal/topology", "internal/suggest"},
	"plugins/cni":       {},
	"plugins/cnm":       {"plugins/cni", "plugins/roles", "internal/store", "internal/suggest", "internal/topology"},
	"plugins/host":      {"plugins/cni", "plugins/roles", "internal/store", "internal/ovs", "internal/topology"},
	"plugins/install":   {"plugins/cni"},
	"plugins/roles":     {"internal/store"},
	"plugins/underlay":  {"plugins/cni", "plugins/roles", "internal/store", "internal/topology"},
	"embedded":          {},
	"internal/agent":    {"flows", "internal/explain", "internal/metrics", "internal/store", "internal/ovs", "internal/packet", "internal/status", "internal/trace", "internal/topology"},
	"internal/config":   {"flows", "internal/agent", "internal/metrics", "internal/ovs", "internal/store", "internal/suggest"},
	"internal/metrics":  {},
	"internal/lab":      {"internal/suggest", "internal/store", "internal/ovs", "internal/topology"},
	"internal/bench":    {"flows", "internal/store", "internal/ovs", "internal/topology"},
	"internal/soak":     {},
	"internal/runtimes": {},
	"internal/packages": {},
	"internal/ctl":      {"flows", "internal/explain", "internal/audit", "internal/drawing", "internal/manifest", "internal/status", "internal/store", "internal/suggest", "internal/trace", "internal/topology"},
	"internal/cleanup":  {"internal/agent", "internal/ovs"},
	"internal/doctor":   {"plugins/cni", "plugins/cnm", "internal/agent", "internal/ovs", "internal/status", "internal/store", "internal/suggest", "internal/topology"},
	"internal/status":   {"internal/store", "internal/topology"},
	"internal/drawing":  {"internal/topology"},
	"internal/manifest": {"internal/suggest", "internal/topology"},
	"internal/audit":    {"flows", "internal/store", "internal/topology"},
	"internal/store":    {"internal/topology"},
	"internal/ovs":      {"flows", "internal/topology"},
	"internal/explain":  {"flows", "internal/trace", "internal/topology"},
	"internal/trace":    {"flows", "internal/packet", "internal/suggest", "internal/topology"},
	"internal/packet":   {"internal/topology"},
	"flows":             {"internal/topology"},
	"internal/topology": {},
	"internal/suggest":  {},
}

// pure are the rooms that do no I/O, and the only libraries that they may use.
var pure = map[string][]string{
	"flows":             {"github.com/cespare/xxhash/v2"},
	"internal/audit":    {},
	"internal/explain":  {},
	"internal/drawing":  {"golang.org/x/text/width"},
	"internal/manifest": {"go.yaml.in/yaml/v3"},
	"internal/packet":   {"github.com/gopacket/gopacket", "github.com/gopacket/gopacket/layers"},
	"internal/trace":    {"github.com/gopacket/gopacket", "github.com/gopacket/gopacket/layers"},
	"internal/topology": {},
	"internal/suggest":  {"github.com/xrash/smetrics"},
}

type goPackage struct {
	ImportPath string
	Doc        string
	GoFiles    []string
	Imports    []string
	Module     struct{ Path string }
}

func TestPackages(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Doc,GoFiles,Imports,Module", "./...", pluginModule+"/...").Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		t.Fatalf("go list: %v\n%s", err, exit.Stderr)
	} else if err != nil {
		t.Fatalf("go list: %v", err)
	}
	count := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; count++ {
		var p goPackage
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("go list printed what is no JSON: %v", err)
		}
		if p.Module.Path != module && p.Module.Path != pluginModule {
			t.Errorf("%s: its module is %q, want %q or %q", p.ImportPath, p.Module.Path, module, pluginModule)
		}
		if len(p.GoFiles) > 0 { // not tests alone
			checkPackage(t, p)
		}
	}
	if count == 0 {
		t.Error("go list found no package")
	}
}

func checkPackage(t *testing.T, p goPackage) {
	if p.Doc == "" {
		t.Errorf("%s has no package comment", p.ImportPath)
	}
	room := roomOf(p.ImportPath)
	if room == "" {
		t.Errorf("%s is in no room: add its directory to rooms, and to docs/design.md", p.ImportPath)
		return
	}
	libraries, isPure := pure[room]
	for _, path := range p.Imports {
		switch {
		case ours(path):
			if to := roomOf(path); to != room && !slices.Contains(rooms[room], to) {
				t.Errorf("%s imports %s, but %s may import %v only", p.ImportPath, path, room, rooms[room])
			}
		case isPure && !standard(path) && !slices.Contains(libraries, path):
			t.Errorf("%s imports %s, but of libraries %s may import %v only", p.ImportPath, path, room, libraries)
		}
	}
}

// standard reports whether path is of the standard library: its packages are
// not named after a host.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func ours(path string) bool { return in(module, path) || in(pluginModule, path) }

// in reports whether a package is of a module.
func in(module, path string) bool { return path == module || strings.HasPrefix(path, module+"/") }

// roomOf returns the room of one of our packages, or "" if it has none.
func roomOf(path string) string {
	switch {
	case path == module:
		return "."
	case in(pluginModule, path):
		return pluginRoom
	}
	dir := strings.TrimPrefix(path, module+"/")
	for ; dir != ""; dir = dir[:max(0, strings.LastIndex(dir, "/"))] {
		if _, ok := rooms[dir]; ok {
			return dir
		}
	}
	return ""
}
