package cnm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docker/go-plugins-helpers/network"
	"github.com/docker/go-plugins-helpers/sdk"

	"tuplenet/internal/suggest"
	"tuplenet/internal/topology"
)

const (
	maxBody = 1 << 20 // of a call
	// farewell is how long the calls under way may take when the plugin ends: as
	// long as an endpoint takes where everything is slow. systemd waits for longer.
	farewell = 30 * time.Second
)

// method carries out one call of Docker's and returns what is answered as JSON.
type method func(ctx context.Context, p *Plugin, body []byte) (any, error)

// methods are the calls of both of Docker's protocols, by the path after "/".
// They are not served by the library's own handlers, which offer one protocol
// each, bound neither a call's size nor the end of the plugin, and have no context.
var methods = map[string]method{
	"Plugin.Activate": func(context.Context, *Plugin, []byte) (any, error) {
		return map[string][]string{"Implements": {"NetworkDriver", "IpamDriver"}}, nil
	},

	"NetworkDriver.GetCapabilities":             onNetwork(plain((*networkDriver).GetCapabilities)),
	"NetworkDriver.AllocateNetwork":             onNetwork((*networkDriver).AllocateNetwork),
	"NetworkDriver.FreeNetwork":                 onNetwork(silent((*networkDriver).FreeNetwork)),
	"NetworkDriver.CreateNetwork":               onNetwork(silent((*networkDriver).CreateNetwork)),
	"NetworkDriver.DeleteNetwork":               onNetwork(silent((*networkDriver).DeleteNetwork)),
	"NetworkDriver.CreateEndpoint":              onNetwork((*networkDriver).CreateEndpoint),
	"NetworkDriver.EndpointOperInfo":            onNetwork((*networkDriver).EndpointInfo),
	"NetworkDriver.DeleteEndpoint":              onNetwork(silent((*networkDriver).DeleteEndpoint)),
	"NetworkDriver.Join":                        onNetwork((*networkDriver).Join),
	"NetworkDriver.Leave":                       onNetwork(silent((*networkDriver).Leave)),
	"NetworkDriver.DiscoverNew":                 onNetwork(silent((*networkDriver).DiscoverNew)),
	"NetworkDriver.DiscoverDelete":              onNetwork(silent((*networkDriver).DiscoverDelete)),
	"NetworkDriver.ProgramExternalConnectivity": onNetwork(silent((*networkDriver).ProgramExternalConnectivity)),
	"NetworkDriver.RevokeExternalConnectivity":  onNetwork(silent((*networkDriver).RevokeExternalConnectivity)),

	"IpamDriver.GetCapabilities":         onIPAM(plain(ipamDriver.GetCapabilities)),
	"IpamDriver.GetDefaultAddressSpaces": onIPAM(plain(ipamDriver.GetDefaultAddressSpaces)),
	"IpamDriver.RequestPool":             onIPAM(ipamDriver.RequestPool),
	"IpamDriver.ReleasePool":             onIPAM(silent(ipamDriver.ReleasePool)),
	"IpamDriver.RequestAddress":          onIPAM(ipamDriver.RequestAddress),
	"IpamDriver.ReleaseAddress":          onIPAM(silent(ipamDriver.ReleaseAddress)),
}

// onNetwork makes a method of one of the network driver's.
func onNetwork[Q, A any](do func(*networkDriver, *Q) (A, error)) method {
	return func(ctx context.Context, p *Plugin, body []byte) (any, error) {
		return call(&networkDriver{Plugin: p, ctx: ctx}, do, body)
	}
}

// onIPAM makes a method of one of the IPAM driver's.
func onIPAM[Q, A any](do func(ipamDriver, *Q) (A, error)) method {
	return func(_ context.Context, p *Plugin, body []byte) (any, error) {
		return call(ipamDriver{p}, do, body)
	}
}

// plain gives a driver's method that needs no request one.
func plain[D, A any](do func(D) (A, error)) func(D, *struct{}) (A, error) {
	return func(d D, _ *struct{}) (A, error) { return do(d) }
}

// silent gives a driver's method that returns nothing an empty answer.
func silent[D, Q any](do func(D, *Q) error) func(D, *Q) (struct{}, error) {
	return func(d D, q *Q) (struct{}, error) { return struct{}{}, do(d, q) }
}

// errRepeated is the error of a call whose answer Docker has missed, as the plugin
// was killed meanwhile: Docker calls again, without what it had said.
var errRepeated = errors.New("tpcnm was started anew in the middle of this call, which Docker has repeated without its arguments: try again")

// call has a driver carry out what a body says. Docker sends none where there is
// nothing to say.
func call[D, Q, A any](d D, do func(D, *Q) (A, error), body []byte) (any, error) {
	request := new(Q)
	switch _, plain := any(request).(*struct{}); {
	case len(bytes.TrimSpace(body)) > 0:
		if err := json.Unmarshal(body, request); err != nil {
			return nil, fmt.Errorf("the call cannot be understood: %w", err)
		}
	case !plain:
		return nil, errRepeated
	}
	return do(d, request)
}

// Handler serves both protocols.
func (p *Plugin) Handler() http.Handler { return http.HandlerFunc(p.serve) }

// serve answers one call. What goes wrong becomes a sentence, which Docker shows
// to its user behind the method's name.
func (p *Plugin) serve(w http.ResponseWriter, r *http.Request) {
	begun, name := time.Now(), strings.TrimPrefix(r.URL.Path, "/")
	w.Header().Set("Content-Type", sdk.DefaultContentTypeV1_1)
	do, ok := methods[name]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		p.write(w, network.NewErrorResponse(fmt.Sprintf("tpcnm knows no call %q%s", name, suggest.DidYouMean(name, slices.Collect(maps.Keys(methods))))))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var answer any
	if err != nil {
		err = fmt.Errorf("the call cannot be read: %w", err)
	} else {
		answer, err = p.carryOut(r.Context(), do, name, body)
		err = p.denied(err, "")
	}
	var of struct{ NetworkID, EndpointID string }
	_ = json.Unmarshal(body, &of) // for the log, if it can be told
	log := p.log.With("method", name, "network", topology.ShortDockerID(of.NetworkID), "endpoint", topology.ShortDockerID(of.EndpointID), "took", time.Since(begun))
	if err != nil {
		log.Warn("a call of Docker's failed", "error", err)
		answer = network.NewErrorResponse(strings.ReplaceAll(err.Error(), "\n", "; "))
		w.WriteHeader(http.StatusInternalServerError)
	} else {
		log.Debug("called")
	}
	p.write(w, answer)
}

// carryOut carries a call out. What makes it panic ends the call alone: the
// containers of all other networks need the plugin.
func (p *Plugin) carryOut(ctx context.Context, do method, name string, body []byte) (answer any, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			p.log.Error("a call of Docker's made the plugin panic", "method", name, "reason", reason, "stack", string(debug.Stack()))
			err = fmt.Errorf("tpcnm has failed in itself (%v): its log says where, please report that", reason)
		}
	}()
	return do(ctx, p, body)
}

func (p *Plugin) write(w io.Writer, answer any) {
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		p.log.Debug("Docker has not waited for the answer", "error", err)
	}
}

// Serve serves Docker on a listener, and keeps what it was told in order with what
// Docker has, until ctx ends. Calls that are under way then are carried out.
func (p *Plugin) Serve(ctx context.Context, l net.Listener) error {
	if foundBy(p.cfg.Socket) == "" {
		p.log.Warn("Docker looks for plugins elsewhere, and does not find this one", "socket", p.cfg.Socket, "looks_in", pluginDirs[0], "remedy", leadDocker(p.cfg.Socket))
	}
	server := &http.Server{Handler: p.Handler(), ReadHeaderTimeout: patience, ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelWarn)}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { p.reconcileAlways(ctx) })
	running.Go(func() {
		<-ctx.Done()
		limit, cancel := context.WithTimeout(context.Background(), farewell)
		defer cancel()
		if err := server.Shutdown(limit); err != nil {
			p.log.Warn("the plugin ends before all calls of Docker's are carried out", "error", err)
			server.Close()
		}
	})
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve Docker at %s: %w", l.Addr(), err)
	}
	return nil
}
