package modes

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestPermute(t *testing.T) {
	for args, want := range map[string]string{
		"":                        "",
		"ls show":                 "ls show",
		"ls show LS-A":            "ls show -- LS-A",
		"ls show LS-A -j":         "-j ls show -- LS-A",
		"ls -j show LS-A":         "-j ls show -- LS-A",
		"ls del LS-A -r":          "ls del -r -- LS-A",
		"ls d LS-A --recursive":   "ls d --recursive -- LS-A",
		"ls del -r -j LS-A":       "-j ls del -r -- LS-A",
		"ls show -e a:1 LS-A":     "-e a:1 ls show -- LS-A",
		"ls show --prefix=/p":     "--prefix=/p ls show",
		"-e show ls show":         "-e show ls show",
		"ls add -- -r":            "ls add -- -r",
		"ls add -j -- -r -- -j":   "-j ls add -- -r -- -j",
		"ls add -":                "ls add -- -",
		"ls add ls show":          "ls add -- ls show",
		"nonsense ls":             "-- nonsense ls",
		"ls add -x LS-A":          "ls add -x -- LS-A",
		"ls show -j -e":           "-j -e",
		"ls show LS-A --filter":   "ls show --filter",
		"lsp add a b --help c":    "lsp add --help",
		"--help ls":               "--help",
		"ls show -v":              "-v ls show",
		"ls " + completionFlag:    "ls " + completionFlag,
		"ls -r " + completionFlag: "ls -r " + completionFlag,
	} {
		app, err := newApp(ModeCtl, []string{"tpctl"})
		if err != nil {
			t.Fatal(err)
		}
		argv := append([]string{"tpctl"}, strings.Fields(args)...)
		given := slices.Clone(argv)
		got := strings.Join(permute(app, argv), " ")
		if got != strings.TrimSpace("tpctl "+want) {
			t.Errorf("permute(tpctl %s) = %s, want tpctl %s", args, got, want)
		}
		if !slices.Equal(argv, given) {
			t.Errorf("permute(tpctl %s) changed its argument to %q", args, argv)
		}
	}
}

// TestOneTerminal shows that an error is printed once where standard output
// and standard error are one thing, and to both where they are two.
func TestOneTerminal(t *testing.T) {
	const want = "tpctl ls add: require SWITCH, got 0 arguments\n"
	argv := []string{"tpctl", "ls", "add"}

	path := filepath.Join(t.TempDir(), "terminal")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if status := Run(argv, "", strings.NewReader(""), file, file); status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("one file: %q, %v, want %q", got, err, want)
	}

	var stdout, stderr bytes.Buffer
	Run(argv, "", strings.NewReader(""), &stdout, &stderr)
	if stdout.String() != want || stderr.String() != want {
		t.Errorf("standard output %q, standard error %q, want %q twice", &stdout, &stderr, want)
	}
}

func TestExitStatus(t *testing.T) {
	var stderr bytes.Buffer
	for _, tt := range []struct {
		err    error
		status int
		stderr string
	}{
		{nil, 0, ""},
		{os.ErrNotExist, 1, "file does not exist\n"},
		{cli.Exit("ping failed", 2), 2, "ping failed\n"},
		{cli.Exit("", 130), 130, ""},
	} {
		stderr.Reset()
		if status := finish(tt.err, &bytes.Buffer{}, &stderr); status != tt.status || stderr.String() != tt.stderr {
			t.Errorf("%v: status %d, %q, want %d, %q", tt.err, status, &stderr, tt.status, tt.stderr)
		}
	}
}

// TestHelp holds every command to a usage line, and every mode to an example.
func TestHelp(t *testing.T) {
	for _, mode := range commands() {
		if firstExample(mode.Description) == "" {
			t.Errorf("%s has no example", mode.Name)
		}
		if !slices.Contains(bySubcommand, Mode(mode.Name)) {
			t.Errorf("Dispatch does not know %s", mode.Name)
		}
		checkUsage(t, "tuplenet "+mode.Name, mode)
	}
}

func checkUsage(t *testing.T, path string, cmd *cli.Command) {
	if cmd.Usage == "" {
		t.Errorf("%s has no usage line", path)
	}
	for _, sub := range cmd.Subcommands {
		checkUsage(t, path+" "+sub.Name, sub)
	}
}
