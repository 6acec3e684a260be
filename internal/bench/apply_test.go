package bench

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tuplenet/embedded"
)

// BenchmarkApply makes a network of 20,000 ports from a file: 100 switches, which
// one router joins, in an etcd that waits for its disk. Then it does so again,
// exports it, and deletes all but one port. What is measured is the whole command.
func BenchmarkApply(b *testing.B) {
	server, err := embedded.Start(b.Context(), embedded.Config{DataDir: b.TempDir(), Log: slog.New(slog.DiscardHandler),
		ClientURLs: []string{"http://127.0.0.1:0"}, PeerURLs: []string{"http://127.0.0.1:0"}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Stop)
	file, less := filepath.Join(b.TempDir(), "all.yaml"), filepath.Join(b.TempDir(), "less.yaml")
	for path, text := range map[string]string{file: describeNetwork(100, 200), less: "switches: {LS-0: {ports: {port-0-0: 10.0.0.2}}}\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	const ours = "5 s, ours"
	run := 0
	for b.Loop() {
		run++
		for _, step := range []struct {
			name  string
			bound string // on how long it takes
			want  string
			args  []string
		}{
			{"apply 20,000 ports", "5 s", "100 switches, 1 router, 20200 ports created", []string{"apply", "-f", file}},
			{"apply 20,000 ports again, nothing to do", ours, "nothing to do", []string{"apply", "-f", file}},
			{"export 20,000 ports", ours, "switches:", []string{"export"}},
			{"delete 20,000 ports by apply --prune", ours, "0 created, 0 changed, 20299 deleted", []string{"apply", "-f", less, "--prune", "--yes"}},
		} {
			args := append([]string{"ctl", "-e", strings.Join(server.Endpoints(), ","), "-p", fmt.Sprint("/bench", run)}, step.args...)
			start := time.Now()
			out, err := exec.CommandContext(b.Context(), binary, args...).CombinedOutput()
			took := time.Since(start)
			if err != nil || !strings.Contains(string(out), step.want) {
				b.Fatalf("%s: %v: %.300s", step.name, err, out)
			}
			report(b, step.name, fmt.Sprintf("%.2f s", took.Seconds()), step.bound, took <= 5*time.Second)
		}
	}
}

// describeNetwork returns a file of switches with ports, and a router that links
// them.
func describeNetwork(switches, ports int) string {
	var text strings.Builder
	text.WriteString("switches:\n")
	for i := range switches {
		fmt.Fprintf(&text, "  LS-%d:\n    ports:\n", i)
		for j := range ports {
			fmt.Fprintf(&text, "      port-%d-%d: %s\n", i, j, portAddr(i, j))
		}
	}
	text.WriteString("routers:\n  LR:\n    links:\n")
	for i := range switches {
		fmt.Fprintf(&text, "      - {switch: LS-%d, cidr: %s/23}\n", i, portAddr(i, -1))
	}
	return text.String()
}
