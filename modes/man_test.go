package modes

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// TestManuals holds the manual pages to all commands and flags, and to what
// mandoc(1) says of their form.
func TestManuals(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SOURCE_DATE_EPOCH", "1795000000")
	var stdout, stderr bytes.Buffer
	if status := Run([]string{"tuplenet", "man", dir}, "", nil, &stdout, &stderr); status != 0 {
		t.Fatalf("tuplenet man: status %d: %s", status, &stderr)
	}
	pages := map[string]string{}
	for _, name := range []string{"tpctl.1", "tuplenet.8"} {
		file := filepath.Join(dir, name)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		pages[name] = strings.ReplaceAll(string(text), `\-`, "-")
		if out, err := exec.Command("mandoc", "-Tlint", "-Wwarning", file).CombinedOutput(); err != nil {
			t.Errorf("mandoc (make test-deps installs it): %v\n%s", err, out)
		}
		if !strings.Contains(pages[name], `"2026-11-18"`) {
			t.Errorf("%s has another date than SOURCE_DATE_EPOCH says", name)
		}
	}
	for _, cmd := range commands() {
		if cmd.Hidden {
			continue
		}
		page, called := pages["tuplenet.8"], "tuplenet "+cmd.Name
		if cmd.Name == string(ModeCtl) {
			page, called = pages["tpctl.1"], "tpctl"
		}
		checkManual(t, page, called, cmd)
	}
}

// checkManual looks for a command, its flags, and what is below it.
func checkManual(t *testing.T, page, called string, cmd *cli.Command) {
	if !strings.Contains(page, called) {
		t.Errorf("the manual says nothing of %s", called)
	}
	for _, f := range cmd.Flags {
		name := f.Names()[0]
		if v, ok := f.(cli.VisibleFlag); (!ok || v.IsVisible()) && !strings.Contains(page, `\fB--`+name+`\fP`) {
			t.Errorf("the manual says nothing of %s --%s", called, name)
		}
	}
	for _, sub := range cmd.Subcommands {
		checkManual(t, page, called+" "+sub.Name, sub)
	}
}

// TestReference fails when a file that make man writes says something else than the
// program does.
func TestReference(t *testing.T) {
	for file, flag := range map[string]string{
		"docs/tpctl.md":            "--markdown",
		"docs/configuration.md":    "--configuration",
		"packaging/etc/agent.yaml": "--agent-yaml",
	} {
		committed, err := os.ReadFile("../" + file)
		if err != nil {
			t.Fatal(err)
		}
		var now, stderr bytes.Buffer
		if status := Run([]string{"tuplenet", "man", flag}, "", nil, &now, &stderr); status != 0 {
			t.Fatalf("tuplenet man %s: status %d: %s", flag, status, &stderr)
		}
		has, wants := strings.Split(string(committed), "\n"), strings.Split(now.String(), "\n")
		for i, line := range wants {
			if i >= len(has) || has[i] != line {
				t.Fatalf("%s is out of date (make man writes it anew), first in line %d, which should be\n%s", file, i+1, line)
			}
		}
		if !slices.Equal(has, wants) {
			t.Errorf("%s is out of date (make man writes it anew)", file)
		}
	}
}
