package cnm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeDocker is the API of a Docker Engine, as far as the plugin asks for it.
type fakeDocker struct {
	t      testing.TB
	socket string
	server *http.Server

	mu       sync.Mutex
	info     map[string]any
	networks []map[string]any // as /networks/ID shows them
	override map[string]http.HandlerFunc
	asked    []string
	tell     chan struct{} // closed when there is something to tell
}

// newFakeDocker starts an engine that has Docker's own networks.
func newFakeDocker(t testing.TB, socket string) *fakeDocker {
	t.Helper()
	d := &fakeDocker{t: t, socket: socket, info: object{"ID": "ENGINE", "Swarm": object{"LocalNodeState": "inactive"}},
		override: map[string]http.HandlerFunc{}, tell: make(chan struct{})}
	d.set(dockerNet("bridge", "bridge", ""), dockerNet("none", "null", ""), dockerNet("host", "host", ""))
	d.start()
	return d
}

// dockerNet is a network of Docker's, with endpoints as NAME=ADDRESS.
func dockerNet(name, driver, subnet string, endpoints ...string) map[string]any {
	n := object{"Name": name, "Id": id(name), "Driver": driver, "Scope": "local", "IPAM": object{"Driver": "default", "Config": []object{}}}
	if subnet != "" {
		n["IPAM"] = object{"Driver": "tuplenet", "Options": nil, "Config": []object{{"Subnet": subnet, "AuxiliaryAddresses": object{}}}}
	}
	containers := object{}
	for _, e := range endpoints {
		endpoint, address, _ := strings.Cut(e, "=")
		containers[id("container-"+endpoint)] = object{"EndpointID": id(endpoint), "IPv4Address": address}
	}
	n["Containers"] = containers
	return n
}

func (d *fakeDocker) start() {
	d.t.Helper()
	l, err := net.Listen("unix", d.socket)
	if err != nil {
		d.t.Fatal(err)
	}
	d.server = &http.Server{Handler: d}
	go d.server.Serve(l)
	d.t.Cleanup(d.stop)
}

func (d *fakeDocker) stop() { d.server.Close() }

// set replaces the networks that the engine has.
func (d *fakeDocker) set(networks ...map[string]any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.networks = networks
}

// has is set, with Docker's own network.
func (d *fakeDocker) has(networks ...map[string]any) {
	d.set(append(networks, dockerNet("none", "null", ""))...)
}

// answer has a path answered by do, or as ever if that is nil.
func (d *fakeDocker) answer(path string, do http.HandlerFunc) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.override[path] = do
}

// says answers with a status and a text.
func says(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, text)
	}
}

// event tells who listens that something has happened.
func (d *fakeDocker) event() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.tell)
	d.tell = make(chan struct{})
}

func (d *fakeDocker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	d.asked = append(d.asked, r.URL.RequestURI())
	do, tell, networks := d.override[r.URL.Path], d.tell, d.networks
	info := d.info
	d.mu.Unlock()
	switch path := r.URL.Path; {
	case do != nil:
		do(w, r)
	case path == "/info":
		json.NewEncoder(w).Encode(info)
	case path == "/networks":
		var list []map[string]any
		for _, n := range networks {
			short := object{}
			for key, value := range n {
				short[key] = value
			}
			short["Containers"] = object{}
			list = append(list, short)
		}
		json.NewEncoder(w).Encode(list)
	case strings.HasPrefix(path, "/networks/"):
		name := strings.TrimPrefix(path, "/networks/")
		i := slices.IndexFunc(networks, func(n map[string]any) bool { return n["Id"] == name || n["Name"] == name })
		if i < 0 {
			says(http.StatusNotFound, fmt.Sprintf(`{"message":"network %s not found"}`, name))(w, r)
			return
		}
		json.NewEncoder(w).Encode(networks[i])
	case path == "/events":
		w.(http.Flusher).Flush()
		for {
			select {
			case <-tell:
			case <-r.Context().Done():
				return
			}
			d.mu.Lock()
			tell = d.tell
			d.mu.Unlock()
			io.WriteString(w, `{"Type":"network","Action":"create"}`+"\n")
			w.(http.Flusher).Flush()
		}
	default:
		d.t.Errorf("the engine was asked for %s", r.URL)
		http.NotFound(w, r)
	}
}

// newEngineBed is an engine and its API.
func newEngineBed(t *testing.T) (*engine, *fakeDocker) {
	t.Helper()
	d := newFakeDocker(t, filepath.Join(t.TempDir(), "docker.sock"))
	e := newEngine("unix://" + d.socket)
	t.Cleanup(e.client.CloseIdleConnections)
	return e, d
}

func TestEngine(t *testing.T) {
	e, d := newEngineBed(t)
	if e.last() != (engineInfo{}) {
		t.Errorf("an engine that was never asked is %+v", e.last())
	}
	info, err := e.info(t.Context())
	if err != nil || info.ID != "ENGINE" || e.last() != info {
		t.Errorf("got %+v, %v", info, err)
	}
	net1 := dockerNet("net1", "tuplenet", "10.20.3.0/24", "e1=10.20.3.2/24")
	d.has(net1)
	all, err := e.networks(t.Context())
	if err != nil || len(all) != 2 || all[0].ID != id("net1") || all[0].Name != "net1" || all[0].IPAM.Config[0].Subnet != "10.20.3.0/24" || len(all[0].Containers) != 0 {
		t.Errorf("got %+v, %v", all, err)
	}
	n, err := e.network(t.Context(), id("net1"))
	if err != nil || !hasEndpoint(n, id("e1")) || hasEndpoint(n, id("e2")) {
		t.Errorf("got %+v, %v", n, err)
	}
	// Docker also finds networks by their names, and by what their ids begin with.
	for _, name := range []string{"net1", id("net2"), "a/../b?c"} {
		if _, err := e.network(t.Context(), name); !errors.Is(err, errGone) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// An engine that was started anew is asked over a new connection.
	d.stop()
	_, err = e.info(t.Context())
	wantError(t, err, "ask the Docker Engine at "+d.socket+" for /info", "connect")
	if e.last() != info {
		t.Error("an engine that does not answer is forgotten")
	}
	d.start()
	if _, err := e.info(t.Context()); err != nil {
		t.Error(err)
	}
}

// Whatever answers at the socket, the plugin says so, and takes no more of it than
// it has room for.
func TestEngineAnswersStrangely(t *testing.T) {
	e, d := newEngineBed(t)
	if e.limit < 20<<20 {
		t.Errorf("a large network has no room in %d bytes", e.limit)
	}
	e.limit = 1 << 20
	endless := func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `[{"Name":"`)
		for chunk := []byte(strings.Repeat("x", 1<<20)); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	header := func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) }
	for name, tt := range map[string]struct {
		do   http.HandlerFunc
		says string
	}{
		"an error":         {says(500, `{"message":"out of order"}`), `500 Internal Server Error "out of order"`},
		"a long error":     {says(500, strings.Repeat("x", 1<<20)), "500 Internal Server Error"},
		"no JSON":          {says(200, "hello"), "invalid character"},
		"other JSON":       {says(200, `{"a":1}`), "cannot unmarshal"},
		"half of it":       {says(200, `[{"Name":"n"`), "unexpected EOF"},
		"nothing":          {says(200, ""), "EOF"},
		"deep":             {says(200, strings.Repeat("[", 1<<20)), "exceeded max depth"},
		"too much":         {endless, "larger than 1 MB"},
		"a huge header":    {header, "exceeded"},
		"another location": {http.RedirectHandler("http://192.0.2.1/", http.StatusFound).ServeHTTP, "302 Found"},
	} {
		t.Run(name, func(t *testing.T) {
			d.answer("/networks", tt.do)
			_, err := e.networks(t.Context())
			wantError(t, err, "ask the Docker Engine at "+d.socket+" for /networks", tt.says)
			if len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
	d.answer("/info", says(200, `{"ID":""}`))
	_, err := e.info(t.Context())
	wantError(t, err, "is this the socket of a Docker Engine?")
	d.answer("/networks", says(200, `null`))
	if all, err := e.networks(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("got %v, %v", all, err)
	}
}

func TestEngineHangs(t *testing.T) {
	e, d := newEngineBed(t)
	d.answer("/info", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	d.answer("/networks", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "[")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := e.info(ctx)
	wantError(t, err, "no answer in time: is it starting, or does it hang?")
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = e.networks(ctx)
	wantError(t, err, "for /networks", "deadline exceeded")
}

// One that takes connections and never answers, as a Docker that is starting, is
// given up by itself.
func TestEngineStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		go io.Copy(io.Discard, theirs)
		e := newEngine("/docker.sock")
		e.client.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) { return ours, nil }
		defer e.client.CloseIdleConnections()
		begun := time.Now()
		_, err := e.info(t.Context())
		wantError(t, err, "/info")
		if took := time.Since(begun); took != enginePatience {
			t.Errorf("it was given up after %s", took)
		}
	})
}

func TestEvents(t *testing.T) {
	e, d := newEngineBed(t)
	heard, ended := make(chan struct{}, 10), make(chan error, 1)
	listen := func(ctx context.Context) {
		go func() { ended <- e.events(ctx, func() { heard <- struct{}{} }) }()
	}
	wait := func(what string) {
		t.Helper()
		select {
		case <-heard:
		case err := <-ended:
			if ended <- err; len(heard) == 0 {
				t.Fatalf("%s: it has ended: %v", what, err)
			}
			<-heard
		case <-time.After(10 * time.Second):
			t.Fatalf("nothing was heard of %s", what)
		}
	}
	listen(t.Context())
	wait("the beginning")
	for range 3 {
		d.event()
		wait("an event")
	}
	if want := "/events?filters=%7B%22type%22%3A%5B%22network%22%5D%2C%22event%22%3A%5B%22create%22%2C%22destroy%22%2C%22remove%22%5D%7D"; !slices.Contains(d.asked, want) {
		t.Errorf("asked were %q", d.asked)
	}
	d.stop()
	wantError(t, <-ended, "for /events: ")
	listen(t.Context())
	wantError(t, <-ended, "for /events: ")
	d.start()

	// An event that never ends is none.
	d.answer("/events", func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := io.WriteString(w, strings.Repeat("x", 1<<16)); err != nil {
				return
			}
		}
	})
	listen(t.Context())
	wait("the beginning")
	wantError(t, <-ended, "for /events: ", "too long")
	d.answer("/events", says(200, "\n\n{}\n"))
	listen(t.Context())
	wait("the beginning")
	wait("an event")
	wantError(t, <-ended, "it has ended the connection")
	if len(heard) > 0 {
		t.Error("empty lines are no events")
	}
	d.answer("/events", nil)
	ctx, cancel := context.WithCancel(t.Context())
	listen(ctx)
	wait("the beginning")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
