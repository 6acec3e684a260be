package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"tuplenet/internal/metrics"
)

// checkNames holds what an agent serves together with the catalogue, and with what
// the dashboard and the rules ask for.
func checkNames(t *testing.T, edge, node *host) {
	labels := map[string]map[string]bool{metrics.CertificateExpiry.String(): {}} // of what is served; this one where there is a certificate
	for series := range edge.scrape(metrics.NodePath) {
		noteLabels(labels, series)
	}
	for series := range node.scrape(metrics.PortsPath) {
		noteLabels(labels, series)
	}
	for _, m := range metrics.All() {
		served, ok := labels[m.String()]
		if want := slices.Sorted(slices.Values(m.Labels())); !ok || !slices.Equal(slices.Sorted(maps.Keys(served)), want) {
			t.Errorf("%s has the labels %v, want %v; served: %v", m, served, want, ok)
		}
	}
	for name := range labels {
		if strings.HasPrefix(name, "tuplenet_") && !slices.ContainsFunc(metrics.All(), func(m metrics.Metric) bool { return m.String() == name }) {
			t.Errorf("%s is not in the catalogue", name)
		}
	}
	recorded := map[string]bool{}
	expressions := dashboard(t)
	for _, r := range rules(t) {
		recorded[r.Record] = true
		expressions[r.Alert+r.Record] = r.Expr
	}
	for where, expr := range expressions {
		for _, m := range regexp.MustCompile(`\b([a-z_]+:)?(?:tuplenet|process|go)_\w+(:\w+)?`).FindAllString(expr, -1) {
			if !recorded[m] && labels[m] == nil {
				t.Errorf("%q asks for %s, which nobody serves", where, m)
			}
		}
		for _, m := range regexp.MustCompile(`\b(tuplenet_\w+)\{([^}]*)\}`).FindAllStringSubmatch(expr, -1) {
			for _, l := range regexp.MustCompile(`(\w+)\s*[!=]`).FindAllStringSubmatch(m[2], -1) {
				if !labels[m[1]][l[1]] && l[1] != "instance" {
					t.Errorf("%q asks for %s with the label %s, which it does not have", where, m[1], l[1])
				}
			}
		}
	}
}

// noteLabels takes in the labels of a series.
func noteLabels(labels map[string]map[string]bool, series string) {
	name, rest, _ := strings.Cut(series, "{")
	if labels[name] == nil {
		labels[name] = map[string]bool{}
	}
	for _, l := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(rest, -1) {
		labels[name][l[1]] = true
	}
}

type rule struct{ Alert, Record, Expr string }

const packaging = "../../packaging"

func rules(t *testing.T) (all []rule) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(packaging, "prometheus/tuplenet.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 10 {
		t.Fatalf("%d rules", len(all))
	}
	return all
}

// dashboard returns the expressions of the dashboard, by panel.
func dashboard(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(packaging, "grafana/tuplenet.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Panels []struct {
			Title, Type string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, p := range file.Panels {
		if len(p.Targets) == 0 && p.Type != "row" {
			t.Errorf("panel %q shows nothing", p.Title)
		}
		for i, target := range p.Targets {
			all[fmt.Sprint(p.Title, " ", i)] = target.Expr
		}
	}
	if len(all) < 20 {
		t.Fatalf("%d expressions", len(all))
	}
	return all
}

// The rules, and what the dashboard asks for, are PromQL, and the alerts come when
// they should.
func TestPromtool(t *testing.T) {
	dir := filepath.Join(packaging, "prometheus")
	promtool(t, nil, "check", "rules", "--lint-fatal", filepath.Join(dir, "tuplenet.rules.yml"))
	promtool(t, nil, "test", "rules", filepath.Join(dir, "tuplenet.rules.test.yml"))
	// Of an expression promtool says whether it is one where it is a rule.
	var asRules []map[string]string
	for _, expr := range dashboard(t) {
		expr = strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*").Replace(expr)
		asRules = append(asRules, map[string]string{"record": fmt.Sprint("panel:", len(asRules)), "expr": expr})
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": asRules}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, nil, "check", "rules", file)
}

// promtool runs Prometheus' own checks, which packaging/deps.sh unpacks.
func promtool(t *testing.T, stdin io.Reader, args ...string) {
	t.Helper()
	program, err := filepath.Abs("../../bin/prometheus/usr/bin/promtool")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		if program, err = exec.LookPath("promtool"); err != nil {
			missing := t.Skipf
			if os.Getenv("CI") != "" {
				missing = t.Fatalf
			}
			missing("promtool is missing: make test-deps unpacks it")
		}
	}
	cmd := exec.Command(program, args...)
	cmd.Stdin = stdin
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 && args[1] == "metrics" {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
