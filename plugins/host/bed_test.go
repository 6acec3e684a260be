package host

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cni.tuplenet/attach"

	"tuplenet/embedded"
	"tuplenet/internal/agent"
	"tuplenet/internal/ovs"
	"tuplenet/internal/ovs/ovstest"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// bed is an etcd with a router and a switch, and hosts with a real Open vSwitch
// and agent.
type bed struct {
	t        *testing.T
	etcd     *embedded.Server
	endpoint string
	dir      string
	store    *store.Store
}

// LS-A has the addresses 10.0.0.2 to 10.0.0.6 to give.
var gateway = netip.MustParsePrefix("10.0.0.1/29")

func newBed(t *testing.T) *bed {
	t.Helper()
	dir, err := os.MkdirTemp("", "host")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &bed{t: t, dir: dir, endpoint: "unix://" + filepath.Join(dir, "etcd.sock")}
	b.startEtcd()
	b.store, err = store.Open(t.Context(), store.Config{Endpoints: []string{b.endpoint}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.store.Close() })
	mac := topology.MACFromIP(gateway.Addr())
	b.create(topology.Switch{Name: "LS-A"}, topology.Switch{Name: "LS-B"}, topology.Router{Name: "LR"},
		topology.SwitchPort{Switch: "LS-A", Name: "LS-A_to_LR", IP: gateway.Addr(), MAC: mac, Peer: "LR_to_LS-A"},
		topology.RouterPort{Router: "LR", Name: "LR_to_LS-A", Net: gateway, MAC: mac, Peer: "LS-A_to_LR"})
	return b
}

func (b *bed) startEtcd() {
	b.t.Helper()
	server, err := embedded.Start(b.t.Context(), embedded.Config{DataDir: filepath.Join(b.dir, "etcd"), ClientURLs: []string{b.endpoint},
		PeerURLs: []string{"unix://" + filepath.Join(b.dir, "peer.sock")}, Log: slog.New(slog.DiscardHandler), Fast: true})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(server.Stop)
	b.etcd = server
}

func (b *bed) create(entities ...topology.Stored) {
	b.t.Helper()
	if _, err := b.store.Create(b.t.Context(), entities...); err != nil {
		b.t.Fatal(err)
	}
}

// owned returns the ports that have owners, as NAME IP OWNER.
func (b *bed) owned() (list []string) {
	b.t.Helper()
	ports, _, err := b.store.List(b.t.Context(), topology.KindSwitchPort, "")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range ports {
		if p := e.(topology.SwitchPort); p.Owner != "" {
			list = append(list, fmt.Sprintf("%s %s %s", p.Name, p.IP, p.Owner))
		}
	}
	return list
}

// machine is a host with its agent.
type machine struct {
	*ovstest.OVS
	bed    *bed
	ip     string
	runDir string
	log    *slog.Logger
	stop   func()

	mu      sync.Mutex
	devices map[string]bool // those that the kernel would have
	host    *agent.Host
}

func (b *bed) machine(name, ip string) *machine {
	b.t.Helper()
	m := &machine{OVS: ovstest.Start(b.t), bed: b, ip: ip, devices: map[string]bool{}}
	m.Vsctl("set", "Open_vSwitch", ".", "external_ids:system-id="+name)
	m.runDir = filepath.Join(b.dir, name)
	if err := os.Mkdir(m.runDir, 0o700); err != nil {
		b.t.Fatal(err)
	}
	m.start()
	return m
}

// start starts the agent, and returns once it serves.
func (m *machine) start() {
	m.bed.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.NewTextHandler(m.bed.t.Output(), nil))
	m.log = log
	st, err := store.New(store.Config{Endpoints: []string{m.bed.endpoint}, Log: log})
	if err != nil {
		m.bed.t.Fatal(err)
	}
	cfg := agent.Config{Store: st, OVS: ovs.Config{RunDir: m.RunDir(), DatapathType: "dummy", Log: log}, TunnelIP: netip.MustParseAddr(m.ip), RunDir: m.runDir, Log: log,
		Plugins: m}
	done := make(chan error, 1)
	go func() { done <- agent.Run(ctx, cfg) }()
	m.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			m.bed.t.Errorf("the agent ended with: %v", err)
		}
		st.Close()
	})
	m.bed.t.Cleanup(m.stop)
	m.bed.eventually("the agent is ready", func() bool {
		c, err := net.Dial("unix", filepath.Join(m.runDir, attach.SocketName))
		if err != nil {
			return false
		}
		defer c.Close()
		p := &plugin{t: m.bed.t, conn: c, in: json.NewDecoder(c)}
		a := p.say(attach.Request{Op: attach.Collect, Plugin: "none", ID: attach.ID{Network: "none"}})
		return a.Error == nil
	})
}

// Serve implements agent.PluginServer.
func (m *machine) Serve(ctx context.Context, h *agent.Host) {
	m.host = h
	serve(ctx, m.runDir, h, m.log, m.exists)
}

func (m *machine) exists(device string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.devices[device]
}

// device makes, or removes, what is a network device to the agent.
func (m *machine) device(name string, there bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.devices[name] = there
}

func (b *bed) eventually(what string, is func() bool) {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if is() {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("not so after 20 s: %s; ports with owners: %q", what, b.owned())
		}
	}
}

// plugin is a plugin's end of a conversation.
type plugin struct {
	t    *testing.T
	m    *machine
	conn net.Conn
	in   *json.Decoder
}

func (m *machine) plugin() *plugin {
	m.bed.t.Helper()
	c, err := net.Dial("unix", filepath.Join(m.runDir, attach.SocketName))
	if err != nil {
		m.bed.t.Fatal(err)
	}
	m.bed.t.Cleanup(func() { c.Close() })
	return &plugin{m.bed.t, m, c, json.NewDecoder(c)}
}

// hangUp ends the conversation and waits until the agent has taken it in.
func (p *plugin) hangUp() {
	_ = p.conn.(*net.UnixConn).CloseWrite()
	_, _ = io.Copy(io.Discard, p.conn)
	p.conn.Close()
}

func (p *plugin) say(r attach.Request) (a attach.Answer) {
	if err := json.NewEncoder(p.conn).Encode(r); err != nil {
		return attach.Answer{Error: &attach.Error{Msg: err.Error()}}
	}
	if err := p.in.Decode(&a); err != nil {
		return attach.Answer{Error: &attach.Error{Msg: err.Error()}}
	}
	return a
}

func id(container string) attach.ID {
	return attach.ID{Network: "net", Container: container, Ifname: "eth0"}
}

func request(op attach.Op, container string, more ...func(*attach.Request)) attach.Request {
	r := attach.Request{Op: op, Plugin: "cni", ID: id(container), Device: id(container).Device(), Switches: []attach.Switch{{Name: "LS-A"}}}
	for _, f := range more {
		f(&r)
	}
	return r
}

// add attaches a container, and keeps that.
func (m *machine) add(container string, more ...func(*attach.Request)) attach.Answer {
	p := m.plugin()
	defer p.hangUp()
	r := request(attach.Reserve, container, more...)
	a := p.say(r)
	if a.Error != nil {
		return a
	}
	m.device(r.Device, true)
	for _, op := range []attach.Op{attach.Plug, attach.Keep} {
		if done := p.say(attach.Request{Op: op}); done.Error != nil {
			return done
		}
	}
	return a
}

func (m *machine) mustAdd(container string, more ...func(*attach.Request)) attach.Answer {
	m.bed.t.Helper()
	a := m.add(container, more...)
	if a.Error != nil {
		m.bed.t.Fatalf("ADD of %s: %v", container, a.Error)
	}
	return a
}

func (m *machine) ask(r attach.Request) attach.Answer {
	p := m.plugin()
	defer p.hangUp()
	return p.say(r)
}

// del is what a plugin does: the device goes, and the agent is told.
func (m *machine) del(container string) attach.Answer {
	m.device(id(container).Device(), false)
	return m.ask(request(attach.Release, container))
}

func (b *bed) wantError(a attach.Answer, code attach.Code, words string) {
	b.t.Helper()
	if a.Error == nil || a.Error.Code != code || !strings.Contains(a.Error.Error(), words) {
		b.t.Errorf("got %+v, want code %d and %q", a.Error, code, words)
	}
}

func (b *bed) wantOwned(want ...string) {
	b.t.Helper()
	if got := b.owned(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		b.t.Errorf("ports with owners:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func (m *machine) wantAttached(want ...string) {
	m.bed.t.Helper()
	var got []string
	for _, a := range m.host.Attachments() {
		got = append(got, a.Port)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		m.bed.t.Errorf("the bridge has ports for %v, want %v", got, want)
	}
}
