package bench

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

var write = flag.String("write", "", "write the figures into this file, in place of those of the same name")

// figure is one line of the report.
type figure struct {
	name, value, bound string
	held               bool
}

var figures []figure

func report(b *testing.B, name, value, bound string, held bool) {
	b.Helper()
	f := figure{name, value, bound, held}
	if i := slices.IndexFunc(figures, func(o figure) bool { return o.name == name }); i >= 0 {
		figures[i] = f // the framework runs a benchmark several times
		return
	}
	figures = append(figures, f)
}

// binary is the tuplenet that the benchmarks of the whole agent run.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tuplenet-bench-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if flag.Lookup("test.bench").Value.String() != "" {
		binary = filepath.Join(dir, "tuplenet")
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "tuplenet")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building tuplenet: %v\n%s", err, out)
			return 1
		}
	}
	status := m.Run()
	if len(figures) == 0 {
		return status
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nwhat\tbound\tmeasured\t")
	for _, f := range figures {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.name, f.bound, f.value, verdict(f.held))
	}
	w.Flush()
	if *write != "" && status == 0 {
		if err := writeFigures(*write); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return status
}

func verdict(held bool) string {
	if held {
		return "held"
	}
	return "not held"
}

const (
	tableHead = "| what | bound | measured | on |\n|---|---|---|---|\n"
	mark      = "<!-- figures -->\n"
)

// writeFigures puts the figures into the table between the marks of a file. A
// line of a figure that was not measured now stays.
func writeFigures(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("figures: %w", err)
	}
	parts := bytes.SplitN(text, []byte(mark), 3)
	if len(parts) != 3 {
		return fmt.Errorf("figures: %s does not have the mark %q twice", path, strings.TrimSpace(mark))
	}
	lines := map[string]string{}
	var names []string
	keep := func(name, line string) {
		if lines[name] == "" {
			names = append(names, name)
		}
		lines[name] = line
	}
	for line := range strings.Lines(strings.TrimPrefix(string(parts[1]), tableHead)) {
		if name, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " |"); ok {
			keep(name, line)
		}
	}
	on := fmt.Sprintf("%s, %s", machine(), time.Now().Format("2006-01-02"))
	for _, f := range figures {
		keep(f.name, fmt.Sprintf("| %s | %s | %s | %s |\n", f.name, f.bound, f.value, on))
	}
	out := append(bytes.Clone(parts[0]), mark+tableHead...)
	for _, name := range names {
		out = append(out, lines[name]...)
	}
	out = append(append(out, mark...), parts[2]...)
	return os.WriteFile(path, out, 0o644)
}

// machine describes what the figures were measured on.
func machine() string {
	model := "unknown processor"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
				model = strings.TrimSpace(v)
				break
			}
		}
	}
	ovs, _ := exec.Command("ovs-vswitchd", "--version").Output()
	version, _, _ := strings.Cut(string(ovs), "\n")
	return fmt.Sprintf("%d cores of %s, %s, %s", runtime.NumCPU(), model, runtime.Version(), cmp.Or(strings.TrimPrefix(version, "ovs-vswitchd "), "no OVS"))
}
