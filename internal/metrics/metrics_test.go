package metrics

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the reference in docs/metrics.md")

// The names keep to Prometheus' conventions: one prefix, base units, _total on
// counters and on nothing else.
func TestCatalog(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range All() {
		i := catalog[m]
		switch {
		case !regexp.MustCompile(`^tuplenet(_[a-z]+)+$`).MatchString(i.name):
			t.Errorf("%q is no name of ours", i.name)
		case seen[i.name]:
			t.Errorf("%s is there twice", i.name)
		case strings.HasSuffix(i.name, "_total") != (i.typ == counter):
			t.Errorf("%s: counters end in _total, and nothing else does", i.name)
		case !strings.HasSuffix(i.help, "."), strings.Contains(i.help, "|"):
			t.Errorf("%s: %q is no sentence for a table", i.name, i.help)
		}
		seen[i.name] = true
	}
}

// docs/metrics.md has the reference between two marks.
func TestReference(t *testing.T) {
	const path, mark = "../../docs/metrics.md", "<!-- reference -->\n"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.SplitN(string(text), mark, 3)
	if len(parts) != 3 {
		t.Fatalf("%s does not have the mark %q twice", path, mark)
	}
	if parts[1] == Reference() {
		return
	}
	if !*update {
		t.Fatalf("%s does not say what the metrics are (go test ./internal/metrics -update mends it)", path)
	}
	parts[1] = Reference()
	if err := os.WriteFile(path, []byte(strings.Join(parts, mark)), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestAddress(t *testing.T) {
	for said, want := range map[string]string{
		"9481": "127.0.0.1:9481", ":9481": "127.0.0.1:9481", "127.0.0.1:9481": "127.0.0.1:9481", "0.0.0.0:9481": "0.0.0.0:9481",
		"[::]:9481": "[::]:9481", "[::1]:9481": "[::1]:9481", "host:9481": "host:9481",
		"": "", "0": "", "65536": "", "http": "", "127.0.0.1": "", "::1": "", "[::1]": "", "127.0.0.1:0": "", "127.0.0.1:http": "",
		"http://127.0.0.1:9481": "", "a b:1": "", "-1": "",
	} {
		got, err := Address(said)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("Address(%q) = %q, %v, want %q", said, got, err, want)
		}
	}
}

// fake is a source that tells what a test says.
type fake struct {
	node    func(put Put)
	ports   error
	missing []string
	turn    chan struct{}
}

func (f *fake) Node(_ context.Context, put Put) { f.node(put) }

func (f *fake) Ports(_ context.Context, put Put) error {
	if f.ports == nil {
		put(PortReceiveBytes, 7, "LS", "p\xffq")
	}
	return f.ports
}

func (f *fake) Turn(ctx context.Context) {
	select {
	case <-f.turn:
	case <-ctx.Done():
	}
}

func (f *fake) Missing(context.Context) []string { return f.missing }

func get(t *testing.T, h http.Handler, path string) (status int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w.Code, w.Body.String()
}

func TestPages(t *testing.T) {
	turned := make(chan struct{})
	close(turned)
	f := &fake{turn: turned, node: func(put Put) {
		put(BFDUp, 1, "hv-a")
		put(BFDUp, 0, "hv-b")
		put(BFDUp, 0, "hv-b") // must not cost the others
		put(Ready, 1)
	}}
	h := Handler(t.Context(), f, slog.New(slog.DiscardHandler))
	status, body := get(t, h, NodePath)
	for _, line := range []string{`tuplenet_bfd_up{peer="hv-a"} 1`, `tuplenet_bfd_up{peer="hv-b"} 0`, "tuplenet_ready 1", "# TYPE tuplenet_ready gauge", "go_goroutines "} {
		if status != http.StatusOK || !strings.Contains(body, "\n"+line) {
			t.Errorf("status %d, without %q in:\n%.600s", status, line, body)
		}
	}
	if status, body := get(t, h, PortsPath); status != http.StatusOK ||
		!strings.HasSuffix(body, "\ntuplenet_port_receive_bytes_total{port=\"p\uFFFDq\",switch=\"LS\"} 7\n") || strings.Contains(body, "go_") {
		t.Errorf("ports: %d\n%s", status, body)
	}
	f.ports = errors.New("Open vSwitch is away")
	if status, body := get(t, h, PortsPath); status != http.StatusServiceUnavailable || body != "Open vSwitch is away\n" {
		t.Errorf("ports that cannot be asked for: %d %q", status, body)
	}
	if status, body := get(t, h, HealthPath); status != http.StatusOK || body != "ok\n" {
		t.Errorf("health: %d %q", status, body)
	}
	if status, body := get(t, h, ReadyPath); status != http.StatusOK || body != "ready\n" {
		t.Errorf("ready: %d %q", status, body)
	}
	f.missing = []string{"this", "that"}
	if status, body := get(t, h, ReadyPath); status != http.StatusServiceUnavailable || body != "this\nthat\n" {
		t.Errorf("not ready: %d %q", status, body)
	}
	for _, path := range []string{"/", "/debug/pprof/"} {
		if status, _ := get(t, h, path); status != http.StatusNotFound {
			t.Errorf("%s: status %d", path, status)
		}
	}
}

// Scrapes that come together are done one after another, and none waits longer
// than its client.
func TestOneScrapeAtATime(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	f := &fake{node: func(Put) { entered <- struct{}{}; <-leave }}
	h := Handler(t.Context(), f, slog.New(slog.DiscardHandler))
	first := make(chan int)
	go func() {
		status, _ := get(t, h, NodePath)
		first <- status
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", NodePath, nil).WithContext(ctx))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("the second one gets %d", w.Code)
	}
	close(leave)
	if status := <-first; status != http.StatusOK {
		t.Errorf("the first one gets %d", status)
	}
}

// A loop that does not turn is told of, with the time since somebody asked first.
func TestPulse(t *testing.T) {
	turn, asked := make(chan struct{}), make(chan struct{}, 10)
	p := &pulse{turn: func() { asked <- struct{}{}; <-turn }}
	first := p.busy(time.Millisecond)
	second := p.busy(time.Millisecond)
	if first < time.Millisecond || second <= first {
		t.Errorf("busy for %s, then for %s", first, second)
	}
	if <-asked; len(asked) > 0 {
		t.Error("it was asked twice")
	}
	turn <- struct{}{}
	close(turn)
	if busy := p.busy(10 * time.Second); busy != 0 {
		t.Errorf("when it has turned: busy for %s", busy)
	}
	for busy, want := range map[time.Duration]string{0: "200 ok\n", 3 * time.Second: "200 ok, busy with one thing for 3s\n",
		stuckAfter: "503 the agent has been at one thing for 2m0s; its log tells with what it began\n"} {
		w := httptest.NewRecorder()
		answerHealth(w, busy)
		if got := fmt.Sprint(w.Code, " ", w.Body); got != want {
			t.Errorf("busy for %s: %q, want %q", busy, got, want)
		}
	}
}

// Profiles are there between two signals, for the owner of the socket alone.
func TestProfiles(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "p")
	if err := os.WriteFile(socket, nil, 0o644); err != nil { // what one that was killed has left
		t.Fatal(err)
	}
	signals, ended := make(chan os.Signal), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { Profiles(ctx, socket, signals, slog.New(slog.DiscardHandler)); close(ended) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	read := func() (string, error) {
		resp, err := client.Get("http://agent/debug/pprof/goroutine?debug=1")
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return string(text), err
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
		}
	}
	serves := func() bool { text, err := read(); return err == nil && strings.Contains(text, "TestProfiles") }
	gone := func() bool { _, err := os.Stat(socket); return errors.Is(err, os.ErrNotExist) }
	if _, err := read(); err == nil {
		t.Error("profiles are served unasked")
	}
	for range 2 {
		signals <- syscall.SIGUSR1
		until("no profiles are served", serves)
		if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the socket: %v, %v", info, err)
		}
		signals <- syscall.SIGUSR1
		until("profiles are served after the second signal", gone)
	}
	signals <- syscall.SIGUSR1
	until("no profiles are served again", serves)
	cancel()
	<-ended
	if !gone() {
		t.Error("the socket stays")
	}
}
