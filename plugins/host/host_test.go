package host

import (
	"context"
	"encoding/json"
	"errors"
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
	a := p.say(request(attach.Reserve, container, more...))
	if a.Error != nil {
		return a
	}
	m.device(id(container).Device(), true)
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

func TestAttach(t *testing.T) {
	b := newBed(t)
	m := b.machine("hv1", "10.1.0.1")
	got := m.mustAdd("c1", func(r *attach.Request) { r.Secured = true })
	want := attach.Answer{Switch: "LS-A", Port: "lsp-eth0-c1", IP: "10.0.0.2/29", MAC: "f2:01:0a:00:00:02", Gateway: "10.0.0.1", MTU: got.MTU}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	e, err := b.store.Get(t.Context(), topology.Key{Kind: topology.KindSwitchPort, Parent: "LS-A", Name: "lsp-eth0-c1"})
	if value := "ip=10.0.0.2,mac=f2:01:0a:00:00:02,chassis=hv1,security=on,owner=cni:net/c1/eth0"; err != nil || e.Value() != value {
		t.Errorf("the store has %v, %v, want %s", e, err, value)
	}
	m.wantAttached("lsp-eth0-c1")
	if flows := m.Ofctl("dump-flows", "br-int"); !strings.Contains(flows, "f2:01:0a:00:00:02") {
		t.Error("ADD was answered before the flows were in")
	}
	check := request(attach.Check, "c1", func(r *attach.Request) { r.IP, r.MAC = "10.0.0.2", "f2:01:0a:00:00:02" })
	if a := m.ask(check); a.Error != nil {
		t.Error(a.Error)
	}
	check.IP = "10.0.0.3"
	b.wantError(m.ask(check), attach.CodeNotAttached, "port lsp-eth0-c1 has the address 10.0.0.2, the container 10.0.0.3")

	b.wantError(m.add("c1"), attach.CodeAttached, "container c1 has the interface eth0 in network net already")
	b.wantOwned("lsp-eth0-c1 10.0.0.2 cni:net/c1/eth0")

	for range 2 { // the second time there is nothing left
		if a := m.del("c1"); a.Error != nil || a.Pending {
			t.Errorf("DEL: %+v", a)
		}
		b.wantOwned()
		b.eventually("the bridge's port is gone", func() bool { return len(m.host.Attachments()) == 0 })
	}
	check.IP = "10.0.0.2"
	b.wantError(m.ask(check), attach.CodeNotAttached, "the bridge has no port of container c1")
	if a := m.mustAdd("c2"); a.IP != "10.0.0.2/29" {
		t.Errorf("an address that was given back is not given out again: %s", a.IP)
	}
}

// A plugin that ends in the middle, however, has attached nothing.
func TestHangUp(t *testing.T) {
	b := newBed(t)
	m := b.machine("hv1", "10.1.0.1")
	for _, ops := range [][]attach.Op{{}, {attach.Plug}} {
		p := m.plugin()
		if a := p.say(request(attach.Reserve, "c1")); a.Error != nil {
			t.Fatal(a.Error)
		}
		for _, op := range ops {
			if a := p.say(attach.Request{Op: op}); a.Error != nil {
				t.Fatal(a.Error)
			}
			m.wantAttached("lsp-eth0-c1")
		}
		b.wantOwned("lsp-eth0-c1 10.0.0.2 cni:net/c1/eth0")
		p.hangUp()
		b.wantOwned()
		b.eventually("the bridge's port is gone", func() bool { return len(m.host.Attachments()) == 0 })
	}
	// In the middle of waiting for a device that never comes.
	p := m.plugin()
	p.say(request(attach.Reserve, "c1"))
	m.Vsctl("del-br", "br-int") // its agent makes it again, but not the port
	b.wantError(p.say(attach.Request{Op: attach.Keep}), attach.CodeAgent, "nothing plugged in")
	b.wantError(p.say(request(attach.Reserve, "c2")), attach.CodeAgent, "one connection makes one attachment")
	p.conn.Close()
	b.eventually("everything is taken back", func() bool { return len(b.owned()) == 0 })
}

func TestAddresses(t *testing.T) {
	b := newBed(t)
	m := b.machine("hv1", "10.1.0.1")
	b.create(topology.SwitchPort{Switch: "LS-A", Name: "static", IP: netip.MustParseAddr("10.0.0.3"), MAC: topology.MACFromIP(netip.MustParseAddr("10.0.0.3"))})
	b.eventually("the agent knows that port", func() (known bool) {
		_ = m.host.View(t.Context(), func(m *topology.Model, _ int) { known = m.Get(topology.PortAt("LS-A", 3)) != nil })
		return known
	})
	on := func(switches ...attach.Switch) func(*attach.Request) {
		return func(r *attach.Request) { r.Switches = switches }
	}
	asks := func(ip, mac string) func(*attach.Request) {
		return func(r *attach.Request) { r.IP, r.MAC = ip, mac }
	}
	for _, tt := range []struct {
		what string
		code attach.Code
		text string
		more []func(*attach.Request)
	}{
		{"no switch", attach.CodeConfig, "names no switch", []func(*attach.Request){on()}},
		{"unknown switch", attach.CodeConfig, "switch LS-X not found in etcd; make it with: tpctl ls add LS-X", []func(*attach.Request){on(attach.Switch{Name: "LS-X"})}},
		{"no subnet", attach.CodeConfig, `switch LS-B is linked to no router, so it has no subnet of its own; give "subnet"`, []func(*attach.Request){on(attach.Switch{Name: "LS-B"})}},
		{"bad subnet", attach.CodeConfig, `invalid CIDR "10.0.0"`, []func(*attach.Request){on(attach.Switch{Name: "LS-B", Subnet: "10.0.0"})}},
		{"bad reserved", attach.CodeConfig, `reserved: "x" is neither`, []func(*attach.Request){on(attach.Switch{Name: "LS-B", Subnet: "10.0.0.0/24", Reserved: []string{"x"}})}},
		{"bad address", attach.CodeConfig, `invalid IP "::1"`, []func(*attach.Request){asks("::1", "")}},
		{"bad MAC", attach.CodeConfig, "belongs to no single interface", []func(*attach.Request){asks("", "ff:ff:ff:ff:ff:ff")}},
		{"the gateway", attach.CodeTaken, "address 10.0.0.1 is the gateway", []func(*attach.Request){asks("10.0.0.1", "")}},
		{"the network", attach.CodeConfig, "the network's own", []func(*attach.Request){asks("10.0.0.0", "")}},
		{"elsewhere", attach.CodeConfig, "address 10.9.0.1 is not in the subnet 10.0.0.0/29 of switch LS-A", []func(*attach.Request){asks("10.9.0.1", "")}},
		{"another's address", attach.CodeTaken, "switch LS-A", []func(*attach.Request){asks("10.0.0.3", "")}},
		{"another's MAC", attach.CodeTaken, "MAC f2:01:0a:00:00:03 belongs to switch port LS-A/static", []func(*attach.Request){asks("", "f2:01:0a:00:00:03")}},
		{"bad name", attach.CodeEnvironment, "invalid name of the container", []func(*attach.Request){func(r *attach.Request) { r.ID.Container = "a,b" }}},
		{"another's prefix", attach.CodeConfig, "data_store_prefix is /else, but this host's agent works with /tuplenet", []func(*attach.Request){
			func(r *attach.Request) { r.Etcd = &attach.Etcd{Endpoints: []string{b.endpoint}, Prefix: "/else"} }}},
	} {
		t.Run(tt.what, func(t *testing.T) { b.wantError(m.add("bad", tt.more...), tt.code, tt.text) })
	}
	b.wantOwned()
	m.wantAttached()

	if a := m.mustAdd("c5", asks("10.0.0.5", "02:00:00:00:00:05")); a.IP != "10.0.0.5/29" || a.MAC != "02:00:00:00:00:05" {
		t.Errorf("got %+v", a)
	}
	reserving := on(attach.Switch{Name: "LS-A", Reserved: []string{"10.0.0.4"}})
	for i, want := range []string{"10.0.0.2/29", "10.0.0.6/29"} {
		if a := m.mustAdd(fmt.Sprint("d", i), reserving); a.IP != want {
			t.Errorf("got %s, want %s", a.IP, want)
		}
	}
	b.wantError(m.add("d9", reserving), attach.CodeFull, "switch LS-A has no free address in 10.0.0.0/29 for container d9")
	for _, where := range []func(*attach.Request){reserving, on()} {
		if a := m.ask(request(attach.Status, "-", where)); a.Error != nil {
			t.Error(a.Error)
		}
	}
	b.wantError(m.ask(request(attach.Status, "-", on(attach.Switch{Name: "LS-X"}))), attach.CodeUnavailable, "switch LS-X not found in etcd")
	two := on(attach.Switch{Name: "LS-A", Reserved: []string{"10.0.0.4/32"}}, attach.Switch{Name: "LS-B", Subnet: "10.0.1.0/24"})
	if a := m.mustAdd("e1", two); a.IP != "10.0.1.2/24" || a.Switch != "LS-B" || a.Gateway != "10.0.1.1" {
		t.Errorf("got %+v", a)
	}
	if a := m.mustAdd("e2", two, asks("10.0.1.77", "")); a.IP != "10.0.1.77/24" || a.Switch != "LS-B" {
		t.Errorf("got %+v", a)
	}
}

// Ports that were made in advance are claimed, and free again afterwards.
func TestPool(t *testing.T) {
	b := newBed(t)
	m := b.machine("hv1", "10.1.0.1")
	for i, pool := range []string{"hv2", "hv1", "hv1"} {
		ip := netip.MustParseAddr(fmt.Sprint("10.0.0.", i+2))
		b.create(topology.SwitchPort{Switch: "LS-A", Name: fmt.Sprint("LS-A-", ip), IP: ip, MAC: topology.MACFromIP(ip), Pool: pool})
	}
	b.eventually("the agent knows the pool", func() bool {
		n := 0
		_ = m.host.View(t.Context(), func(m *topology.Model, _ int) {
			n = len(m.List(topology.Key{Kind: topology.KindPool, Parent: "LS-A", Name: "hv1"}))
		})
		return n == 2
	})
	for _, want := range []string{"LS-A-10.0.0.3", "LS-A-10.0.0.4"} {
		if a := m.mustAdd(want); a.Port != want {
			t.Errorf("got %+v, want port %s", a, want)
		}
	}
	b.wantError(m.add("c3"), attach.CodeFull, "no free address")
	m.del("LS-A-10.0.0.3")
	b.wantOwned("LS-A-10.0.0.4 10.0.0.4 cni:net/LS-A-10.0.0.4/eth0")
	if a := m.mustAdd("c4", func(r *attach.Request) { r.MAC = "02:00:00:00:00:04" }); a.Port != "LS-A-10.0.0.3" || a.MAC != "02:00:00:00:00:04" {
		t.Errorf("got %+v", a)
	}
}

// While etcd is away nothing can be attached, and what is released goes later.
func TestEtcdAway(t *testing.T) {
	b := newBed(t)
	m := b.machine("hv1", "10.1.0.1")
	m.mustAdd("c1")
	m.mustAdd("c2")
	b.etcd.Stop()
	b.wantError(m.add("c3"), attach.CodeTryLater, "etcd at")
	if a := m.del("c1"); a.Error != nil || !a.Pending {
		t.Errorf("DEL without etcd: %+v", a)
	}
	b.eventually("the bridge's port is gone", func() bool { return len(m.host.Attachments()) == 1 })
	b.startEtcd()
	b.eventually("the port is gone", func() bool { return len(b.owned()) == 1 })
	b.wantOwned("lsp-eth0-c2 10.0.0.3 cni:net/c2/eth0")
	m.mustAdd("c3")
}

// What went while no agent ran is released when one starts; what is there stays.
func TestSweep(t *testing.T) {
	b := newBed(t)
	m := b.machine("hv1", "10.1.0.1")
	for _, c := range []string{"c1", "c2", "c3"} {
		m.mustAdd(c)
	}
	m.stop()
	m.device(id("c1").Device(), false)
	m.device(id("c2").Device(), false)
	m.Vsctl("del-port", id("c2").Device())
	m.start()
	b.eventually("what has no device is released", func() bool { return len(b.owned()) == 1 && len(m.host.Attachments()) == 1 })
	b.wantOwned("lsp-eth0-c3 10.0.0.4 cni:net/c3/eth0")
	m.wantAttached("lsp-eth0-c3")
	// Of another host, and of another's network, nothing is taken.
	a := m.ask(attach.Request{Op: attach.Collect, Plugin: "cni", ID: attach.ID{Network: "other"}})
	if a.Error != nil || len(a.Released) != 0 {
		t.Errorf("GC of another network: %+v", a)
	}
	m.mustAdd("c4")
	a = m.ask(attach.Request{Op: attach.Collect, Plugin: "cni", ID: attach.ID{Network: "net"}, Valid: []attach.ID{id("c4")}})
	if a.Error != nil || fmt.Sprint(a.Released) != fmt.Sprint([]attach.ID{id("c3")}) {
		t.Errorf("GC: %+v", a)
	}
	b.wantOwned("lsp-eth0-c4 10.0.0.2 cni:net/c4/eth0")
}

// Many containers on several hosts at the same time get addresses of their own.
func TestMany(t *testing.T) {
	b := newBed(t)
	wide := func(r *attach.Request) { r.Switches = []attach.Switch{{Name: "LS-B", Subnet: "10.0.1.1/24"}} }
	machines := []*machine{b.machine("hv1", "10.1.0.1"), b.machine("hv2", "10.1.0.2")}
	var mu sync.Mutex
	var all sync.WaitGroup
	has := map[string]string{}
	for i := range 64 {
		all.Go(func() {
			name := fmt.Sprint("c", i)
			a := machines[i%2].add(name, wide)
			mu.Lock()
			defer mu.Unlock()
			switch other, twice := has[a.IP]; {
			case a.Error != nil:
				t.Errorf("%s: %v", name, a.Error)
			case twice:
				t.Errorf("%s and %s both have %s", name, other, a.IP)
			}
			has[a.IP] = name
		})
	}
	all.Wait()
	if n := len(b.owned()); n != 64 {
		t.Errorf("the store has %d ports, want 64", n)
	}
	for i := range 64 {
		all.Go(func() { machines[i%2].del(fmt.Sprint("c", i)) })
	}
	all.Wait()
	b.wantOwned()
	for _, m := range machines {
		b.eventually("the bridge has no port left", func() bool { return len(m.host.Attachments()) == 0 })
	}
}

// What is no request ends the connection, and nothing else.
func TestGarbage(t *testing.T) {
	b := newBed(t)
	m := b.machine("hv1", "10.1.0.1")
	for _, text := range []string{"x\n", `{"op":7}` + "\n", "[]\n", strings.Repeat("[", 1<<16) + "\n"} {
		p := m.plugin()
		if _, err := p.conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		var a attach.Answer
		if err := p.in.Decode(&a); err == nil {
			t.Errorf("%.20q was answered: %+v", text, a)
		}
	}
	b.wantError(m.ask(attach.Request{Op: "dance"}), attach.CodeUnsupported, "does not know the operation")
	m.mustAdd("c1")
	m.stop()
	if _, err := os.Stat(filepath.Join(m.runDir, attach.SocketName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}
