package cnm

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/go-plugins-helpers/sdk"
)

func TestActivate(t *testing.T) {
	b := newNetworkBed(t)
	var can struct{ Implements []string }
	b.must("Plugin.Activate", nil, &can)
	if got := strings.Join(can.Implements, " "); got != "NetworkDriver IpamDriver" {
		t.Errorf("the plugin implements %s", got)
	}
	for _, method := range []string{"NetworkDriver.DiscoverNew", "NetworkDriver.DiscoverDelete", "NetworkDriver.RevokeExternalConnectivity", "NetworkDriver.Leave"} {
		b.must(method, object{"DiscoveryType": 1, "DiscoveryData": object{"Address": "10.0.0.1"}}, nil)
	}
}

func TestWrongCalls(t *testing.T) {
	b := newNetworkBed(t)
	post := func(path, body string) (int, string) {
		resp, err := b.client.Post("http://plugin/"+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Content-Type"); got != sdk.DefaultContentTypeV1_1 {
			t.Errorf("the answer is of type %s", got)
		}
		return resp.StatusCode, string(text)
	}
	for _, test := range []struct {
		path, body string
		status     int
		words      string
	}{
		{"NetworkDriver.CreateNetwerk", "{}", http.StatusNotFound, `did you mean \"NetworkDriver.CreateNetwork\"?`},
		{"", "", http.StatusNotFound, "tpcnm knows no call"},
		{"NetworkDriver.CreateEndpoint", "", http.StatusInternalServerError, "repeated without its arguments: try again"},
		{"IpamDriver.ReleaseAddress", "\n", http.StatusInternalServerError, "repeated without its arguments"},
		{"IpamDriver.GetCapabilities", "", http.StatusOK, ""},
		{"NetworkDriver.Join", "{", http.StatusInternalServerError, "the call cannot be understood"},
		{"NetworkDriver.Join", `{"NetworkID": 1}`, http.StatusInternalServerError, "NetworkID of type string"},
		{"NetworkDriver.Join", `{} {}`, http.StatusInternalServerError, "the call cannot be understood"},
		{"NetworkDriver.Join", strings.Repeat(" ", maxBody+1), http.StatusInternalServerError, "the call cannot be read: http: request body too large"},
	} {
		status, text := post(test.path, test.body)
		if status != test.status || strings.HasPrefix(text, `{"Err":"`) != (test.status != http.StatusOK) || !strings.Contains(text, test.words) {
			t.Errorf("%s is answered with %d and %s, want %d and %s", test.path, status, text, test.status, test.words)
		}
	}
}

// withMethod adds a method, which the plugin has in a test only.
func withMethod(t *testing.T, name string, do method) {
	methods[name] = do
	t.Cleanup(func() { delete(methods, name) })
}

func TestPanicEndsOneCall(t *testing.T) {
	withMethod(t, "Test.Panic", func(context.Context, *Plugin, []byte) (any, error) { panic("out of ideas") })
	b := newNetworkBed(t)
	wantError(t, b.call("Test.Panic", nil, nil), "tpcnm has failed in itself (out of ideas)", "its log")
	b.must("Plugin.Activate", nil, nil)
}

// Several errors are one line.
func TestErrorsInOneLine(t *testing.T) {
	withMethod(t, "Test.Fail", func(context.Context, *Plugin, []byte) (any, error) {
		return nil, fmt.Errorf("one\ntwo")
	})
	b := newNetworkBed(t)
	if err := b.call("Test.Fail", nil, nil); err == nil || err.Error() != "one; two" {
		t.Errorf("the error is %v", err)
	}
}

// What is under way when the plugin ends is answered.
func TestServeEnds(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	withMethod(t, "Test.Slow", func(ctx context.Context, _ *Plugin, _ []byte) (any, error) {
		close(begun)
		<-finish
		return struct{}{}, ctx.Err()
	})
	b := newNetworkBed(t)
	path := filepath.Join(b.dir, "other.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	var log bytes.Buffer
	p := New(b.plugin.cfg, b.store, slog.New(slog.NewTextHandler(&log, nil)))
	go func() { ended <- p.Serve(ctx, l) }()
	answered := make(chan error, 1)
	other := *b
	other.client = &http.Client{Transport: &http.Transport{DialContext: newEngine(path).client.Transport.(*http.Transport).DialContext, DisableKeepAlives: true}}
	go func() { answered <- other.call("Test.Slow", nil, nil) }()
	<-begun
	cancel()
	b.eventually("nobody is let in any more", func() bool { return !exists(path) })
	select {
	case err := <-ended:
		t.Fatalf("the plugin has not waited for the call: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(finish)
	if err := <-answered; err != nil {
		t.Errorf("the call under way failed: %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the plugin ended with: %v", err)
	}
	if n := strings.Count(log.String(), "Docker looks for plugins elsewhere"); n != 1 {
		t.Errorf("that Docker does not look for its socket is said %d times:\n%s", n, &log)
	}
}

func TestLocks(t *testing.T) {
	var l locks
	unlock := l.lock("a")
	l.lock("b")()
	if !l.isHeld("a") || l.isHeld("b") {
		t.Errorf("held are %v, want a alone", l.held)
	}
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		l.lock("a")()
	}()
	select {
	case <-waited:
		t.Error("two have one lock")
	case <-time.After(10 * time.Millisecond):
	}
	unlock()
	<-waited
	if len(l.held) > 0 {
		t.Errorf("locks are left: %v", l.held)
	}
}

// FuzzCalls calls all methods with whatever there may come, at a plugin with etcd
// and without an agent: each is answered, and none panics.
func FuzzCalls(f *testing.F) {
	b := newNetworkBed(f, central)
	names := slices.Sorted(maps.Keys(methods))
	network := fmt.Sprintf(`{"NetworkID": %q, "EndpointID": %q, "Options": {%q: {"switch": "LS-A", "mtu": "1300"}, %q: true}, `+
		`"IPv4Data": [{"Pool": "10.0.0.0/24", "Gateway": "10.0.0.1/24"}], "Interface": {"Address": "10.0.0.7/24", "MacAddress": "02:00:00:00:00:01"}}`,
		id("net"), id("ep"), genericKey, internalKey)
	pool := `{"PoolID": "10.0.0.0/24", "Pool": "10.0.0.0/24", "SubPool": "10.0.0.128/25", "Address": "10.0.0.9", "Options": {"RequestAddressType": "com.docker.network.gateway"}}`
	for i := range names {
		for _, body := range []string{network, pool, "", "null", "[]", `{"NetworkID": "../..", "EndpointID": "\u0000", "PoolID": "/", "Interface": null, "IPv4Data": [null]}`} {
			f.Add(uint8(i), []byte(body))
		}
	}
	handler := b.plugin.Handler()
	f.Fuzz(func(t *testing.T, method uint8, body []byte) {
		name := names[int(method)%len(names)]
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/"+name, strings.NewReader(string(body))))
		if text := answer.Body.String(); answer.Code != http.StatusOK && !strings.HasPrefix(text, `{"Err":"`) || strings.Contains(text, "has failed in itself") {
			t.Errorf("%s is answered with %d and %s", name, answer.Code, text)
		}
	})
}
