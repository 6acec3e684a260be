// Package host is the agent's side of plugging workloads in: it makes addresses,
// ports in etcd and ports of the bridge for plugins on the agent's host, as they
// ask for them over a socket (package cni.tuplenet/attach, which has the
// protocol), and takes back what plugins have left.
//
// There are no records but what is there: a port in etcd has an owner, and so has
// the bridge's port, in Open vSwitch's database. From these, and from the network
// devices that the host has, everything else follows, also after a restart of the
// agent or the host (see sweep).
//
// modes/agent.go runs it beside the agent.
package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"cni.tuplenet/attach"

	"tuplenet/internal/ovs"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// Agent is the host's agent; agent.Host has the methods.
type Agent interface {
	Chassis() string
	Bridge() string
	Store() *store.Store
	View(ctx context.Context, look func(m *topology.Model, mtu int)) error
	Attach(ctx context.Context, a ovs.Attachment) error
	Detach(ctx context.Context, devices ...string) error
	Attachments() []ovs.Attachment
	Userspace() bool
	Carried(ctx context.Context, port topology.Key, device string) error
	Forwards() bool
	Changed() <-chan struct{}
	Returned() <-chan struct{}
}

// How long etcd and Open vSwitch may take for one step, and the flows of a port
// for being in. A runtime waits for minutes, and calls again.
const (
	patience        = 5 * time.Second
	releasePatience = 2 * time.Second // what is late then is done later
	flowsPatience   = 10 * time.Second
	sweepPause      = 5 * time.Second // until what failed is tried again
	acceptPause     = time.Second
)

// maxRequests bounds how many bytes the requests of one conversation may have.
const maxRequests = 16 << 20

// server serves one agent's host.
type server struct {
	agent  Agent
	log    *slog.Logger
	stores stores

	exists func(device string) bool // whether the host has a network device

	denied denials

	busy  *locks // by owner: what is done to an attachment, is done one after another
	turns *locks // by switch: a host does not contend with itself for addresses
	again chan struct{}
}

// listen makes the socket in an agent's run directory, in place of one that an
// agent before has left. Only root can connect.
func listen(runDir string) (net.Listener, error) {
	path := filepath.Join(runDir, attach.SocketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("socket for plugins: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("socket for plugins: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("socket for plugins: %w", err)
	}
	return l, nil
}

// Serve serves plugins on a socket in the agent's run directory until ctx ends.
// What is under way then is taken back.
func Serve(ctx context.Context, runDir string, agent Agent, log *slog.Logger) {
	serve(ctx, runDir, agent, log, exists)
}

// exists reports whether this host has a network device. Only the kernel's word
// that there is none counts as no: what a live container has must not be
// released because of a question that failed.
func exists(device string) bool {
	_, err := netlink.LinkByName(device)
	return !errors.As(err, &netlink.LinkNotFoundError{})
}

func serve(ctx context.Context, runDir string, agent Agent, log *slog.Logger, exists func(string) bool) {
	l, err := listen(runDir)
	if err != nil {
		log.Error("no container can be attached on this host", "error", err)
		return
	}
	s := &server{agent: agent, log: log, exists: exists, busy: newLocks(), turns: newLocks(), again: make(chan struct{}, 1)}
	s.stores.own = agent.Store()
	defer s.stores.close()
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { s.sweepAlways(ctx) })
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			// As when there are too many open files.
			log.Error("cannot take a plugin's connection, will try again", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(acceptPause):
			}
			continue
		}
		running.Go(func() {
			defer conn.Close()
			s.converse(ctx, conn)
		})
	}
}

// converse answers one plugin until it hangs up.
func (s *server) converse(ctx context.Context, conn net.Conn) {
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &conversation{server: s}
	// A plugin that hangs up halfway may wait for its end of the connection to be
	// closed: by then everything is taken back.
	defer c.end()
	requests := make(chan attach.Request)
	go func() { // a plugin that has gone must be noticed while its request is worked on
		defer cancel()
		in := json.NewDecoder(io.LimitReader(conn, maxRequests))
		for {
			var r attach.Request
			if err := in.Decode(&r); err != nil {
				return
			}
			select {
			case requests <- r:
			case <-ctx.Done():
				return
			}
		}
	}()
	out := json.NewEncoder(conn)
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-requests:
			start, owner := time.Now(), r.ID.Owner(r.Plugin)
			if c.made != nil { // only the first request names it
				owner = c.made.owner
			}
			answer, err := c.carryOut(ctx, r)
			if err != nil {
				answer = attach.Answer{Error: asError(err)}
				s.log.Warn("a plugin's request failed", "op", r.Op, "owner", owner, "error", err)
			}
			s.log.Debug("plugin served", "op", r.Op, "owner", owner, "took", time.Since(start))
			if out.Encode(answer) != nil {
				return
			}
		}
	}
}

// conversation is one connection of a plugin.
type conversation struct {
	*server
	made *reservation // not kept yet
}

func (c *conversation) carryOut(ctx context.Context, r attach.Request) (attach.Answer, error) {
	switch r.Op {
	case attach.Reserve, attach.Release, attach.Check:
		if err := checkID(r); err != nil {
			return attach.Answer{}, err
		}
	}
	switch r.Op {
	case attach.Reserve:
		return c.reserve(ctx, r)
	case attach.Plug:
		return attach.Answer{}, c.plug(ctx, r)
	case attach.Keep:
		return attach.Answer{}, c.keep()
	case attach.Release:
		return c.releaseOne(ctx, r)
	case attach.Check:
		return attach.Answer{}, c.check(ctx, r)
	case attach.Collect:
		return c.collect(ctx, r)
	case attach.Status:
		return c.status(ctx, r)
	}
	return attach.Answer{}, fail(attach.CodeUnsupported, "this agent does not know the operation %q; plugin and agent are of different versions", r.Op)
}

// checkID refuses what cannot name an attachment.
func checkID(r attach.Request) error {
	for what, name := range map[string]string{"plugin": r.Plugin, "network": r.ID.Network, "container": r.ID.Container, "interface": r.ID.Ifname, "device": r.Device} {
		if err := topology.CheckName(name); err != nil || !isPlain(name) {
			return fail(attach.CodeEnvironment, "invalid name of the %s: %q", what, name)
		}
	}
	return nil
}

// isPlain reports whether a name can stand in an owner, within a value of the
// store.
func isPlain(name string) bool {
	for _, c := range name {
		switch c {
		case ',', '=', ':', ' ':
			return false
		}
	}
	return true
}

// fail makes an error with a code.
func fail(code attach.Code, format string, args ...any) error {
	return &attach.Error{Code: code, Msg: fmt.Sprintf(format, args...)}
}

// asError gives an error that has none a code. What fails here otherwise is etcd
// or Open vSwitch, and passes.
func asError(err error) *attach.Error {
	var e *attach.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, store.ErrDenied):
		return &attach.Error{Code: attach.CodeDenied, Msg: err.Error()}
	}
	return &attach.Error{Code: attach.CodeTryLater, Msg: err.Error()}
}
