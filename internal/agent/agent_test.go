package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/embedded"
	"tuplenet/internal/ovs"
	"tuplenet/internal/ovs/ovstest"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// site is an etcd and what runs on it.
type site struct {
	t        *testing.T
	dir      string
	server   *embedded.Server
	endpoint string
	store    *store.Store
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{t: t, dir: dir, endpoint: "unix://" + filepath.Join(dir, "etcd.sock")}
	s.startEtcd()
	var err error
	s.store, err = store.Open(t.Context(), store.Config{Endpoints: []string{s.endpoint}, Log: logTo(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.store.Close() })
	return s
}

// startEtcd starts the server, anew if it was stopped.
func (s *site) startEtcd() {
	s.t.Helper()
	var err error
	s.server, err = embedded.Start(s.t.Context(), embedded.Config{DataDir: filepath.Join(s.dir, "data"),
		ClientURLs: []string{s.endpoint}, PeerURLs: []string{"unix://" + filepath.Join(s.dir, "peer.sock")}, Log: logTo(s.t), Fast: true})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.server.Stop)
}

func (s *site) create(entities ...topology.Stored) {
	s.t.Helper()
	if _, err := s.store.Create(s.t.Context(), entities...); err != nil {
		s.t.Fatal(err)
	}
}

// put writes a key as etcdctl would.
func (s *site) put(path, value string) {
	s.t.Helper()
	raw, err := clientv3.New(clientv3.Config{Endpoints: []string{s.endpoint}})
	if err != nil {
		s.t.Fatal(err)
	}
	defer raw.Close()
	if _, err := raw.Put(s.t.Context(), "/tuplenet/"+path, value); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) port(sw, name, ip string) topology.Key {
	s.t.Helper()
	a := netip.MustParseAddr(ip)
	p := topology.SwitchPort{Switch: sw, Name: name, IP: a, MAC: topology.MACFromIP(a)}
	s.create(p)
	return p.Key()
}

// chassisOf returns what the store says of where a port is.
func (s *site) chassisOf(key topology.Key) string {
	e, err := s.store.Get(s.t.Context(), key)
	if err != nil {
		s.t.Fatal(err)
	}
	return e.(topology.SwitchPort).Chassis
}

// host is an Open vSwitch and the agent on it.
type host struct {
	*ovstest.OVS
	site    *site
	ip      string
	changes chan Settings
	stop    func() error // stops the agent and returns what Run did
	done    chan error
	log     *logbook
	metrics string // HOST:PORT, if the agent is to serve metrics
	user    string // of etcd, whose password is "secret"; empty: none
	initial Settings
}

// logbook keeps what an agent said.
type logbook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// logger writes into the book, and to the output of the test.
func (l *logbook) logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(io.MultiWriter(t.Output(), l), nil))
}

// said counts the lines with all of the words.
func (l *logbook) said(words ...string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for line := range strings.Lines(l.text.String()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			n++
		}
	}
	return n
}

func (s *site) host(name, ip string) *host {
	s.t.Helper()
	h := s.newHost(name, ip)
	h.start()
	return h
}

// newHost makes a host whose agent does not run yet.
func (s *site) newHost(name, ip string) *host {
	s.t.Helper()
	h := &host{OVS: ovstest.Start(s.t), site: s, ip: ip, changes: make(chan Settings), log: &logbook{}}
	h.Vsctl("set", "Open_vSwitch", ".", "external_ids:system-id="+name)
	h.Vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=dummy", "fail_mode=secure")
	return h
}

func (h *host) start() {
	t := h.site.t
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	st, err := store.New(store.Config{Endpoints: []string{h.site.endpoint}, Username: h.user, Password: "secret", Log: logTo(t)})
	if err != nil {
		t.Fatal(err)
	}
	h.done = make(chan error, 1)
	go func() {
		h.done <- Run(ctx, Config{Store: st, OVS: ovs.Config{RunDir: h.RunDir(), Log: logTo(t)}, TunnelIP: netip.MustParseAddr(h.ip), RunDir: h.RunDir(),
			Changes: h.changes, Log: h.log.logger(t), Metrics: h.metrics, Settings: h.initial})
	}()
	stopped := false
	h.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		err := <-h.done
		st.Close()
		return err
	}
	t.Cleanup(func() { h.stop() })
}

func (h *host) plug(port string) {
	h.Vsctl("add-port", "br-int", "if-"+port, "--", "set", "Interface", "if-"+port, "type=dummy", "external_ids:iface-id="+port)
}

func (h *host) unplug(port string) { h.Vsctl("del-port", "br-int", "if-"+port) }

// flows returns the flows of a table.
func (h *host) flows(table string) string {
	return h.Ofctl("-O", "OpenFlow14", "--no-stats", "--no-names", "dump-flows", "br-int", "table="+table)
}

func (h *host) bridge() string {
	return h.Ofctl("-O", "OpenFlow14", "--no-stats", "--no-names", "--sort=priority", "dump-flows", "br-int")
}

const (
	classify = "0"
	lookup   = "204"
	deliver  = "210"
)

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting until %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func logTo(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// A port is bound when its interface comes, on whichever side comes first, and
// the other host reaches it through the tunnel.
func TestBindAndReach(t *testing.T) {
	s := newSite(t)
	a, b := s.host("hv-a", "192.168.1.1"), s.host("hv-b", "192.168.1.2")
	a.plug("early") // before its port is there
	s.create(topology.Switch{Name: "LS"})
	early, late := s.port("LS", "early", "10.0.0.1"), s.port("LS", "late", "10.0.0.2")
	b.plug("late")
	eventually(t, "both ports are bound", func() bool { return s.chassisOf(early) == "hv-a" && s.chassisOf(late) == "hv-b" })
	eventually(t, "each host reaches the other's port through its tunnel", func() bool {
		return strings.Contains(a.flows(lookup), "dl_dst=f2:01:0a:00:00:02") && strings.Contains(b.flows(lookup), "dl_dst=f2:01:0a:00:00:01") &&
			strings.Contains(a.flows(lookup), "goto_table:206")
	})
	chassis, _, err := s.store.List(t.Context(), topology.KindChassis, "")
	if err != nil || len(chassis) != 2 {
		t.Errorf("chassis registered: %v, %v", chassis, err)
	}
	// The interface goes: nothing is delivered, the record stays.
	b.unplug("late")
	eventually(t, "the unplugged port is delivered no more", func() bool { return !strings.Contains(b.flows(deliver), "output:") })
	if got := s.chassisOf(late); got != "hv-b" {
		t.Errorf("chassis of the unplugged port is %q", got)
	}
	// The chassis moves to another address, and the tunnel with it.
	s.put("entity_view/chassis/hv-b", "ip=192.168.1.20,tick=2000000000")
	eventually(t, "the tunnel leads to the new address, and the flows into it", func() bool {
		ports := a.Vsctl("list-ports", "br-int")
		if !strings.Contains(ports, "tupleNet-3232235796") || strings.Contains(ports, "tupleNet-3232235778") {
			return false
		}
		ofport := strings.TrimSpace(a.Vsctl("get", "Interface", "tupleNet-3232235796", "ofport"))
		n, _ := strconv.Atoi(ofport)
		return n > 0 && strings.Contains(a.flows(lookup), fmt.Sprintf("load:%#x->NXM_NX_REG6[]", n))
	})
	// The chassis record goes: so does the tunnel to it.
	if err := s.store.Delete(t.Context(), topology.Chassis{Name: "hv-b"}.Key(), false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the tunnel is gone", func() bool { return !strings.Contains(a.Vsctl("list-ports", "br-int"), "tupleNet-") })
}

// A port that is plugged in on another host moves there, though its old
// interface stays; and comes back when that is plugged in anew.
func TestPortMoves(t *testing.T) {
	s := newSite(t)
	a, b := s.host("hv-a", "192.168.1.1"), s.host("hv-b", "192.168.1.2")
	s.create(topology.Switch{Name: "LS"})
	// Else the switch were of no concern to a host without the port.
	s.port("LS", "one-stays", "10.0.0.2")
	a.plug("one-stays")
	s.port("LS", "other-stays", "10.0.0.3")
	b.plug("other-stays")
	key := s.port("LS", "vm", "10.0.0.1")
	a.plug("vm")
	eventually(t, "the port is bound to hv-a", func() bool { return s.chassisOf(key) == "hv-a" })
	b.plug("vm")
	eventually(t, "the port is bound to hv-b", func() bool { return s.chassisOf(key) == "hv-b" })
	eventually(t, "hv-a delivers no more and sends to hv-b", func() bool {
		return strings.Count(a.flows(deliver), "output:") == 1 && strings.Contains(a.flows(lookup), "goto_table:206")
	})
	a.unplug("vm")
	a.plug("vm")
	eventually(t, "the port is back", func() bool {
		return s.chassisOf(key) == "hv-a" && strings.Count(a.flows(deliver), "output:") == 2 && strings.Contains(b.flows(lookup), "goto_table:206")
	})
}

// What names a port and where it is may change under a running agent.
func TestInterfaceChanges(t *testing.T) {
	s := newSite(t)
	h := s.host("hv-a", "192.168.1.1")
	s.create(topology.Switch{Name: "LS"})
	one, two := s.port("LS", "one", "10.0.0.1"), s.port("LS", "two", "10.0.0.2")
	h.plug("one")
	eventually(t, "port one is bound", func() bool { return s.chassisOf(one) == "hv-a" })
	h.Vsctl("set", "Interface", "if-one", "external_ids:iface-id=two")
	eventually(t, "the interface is port two", func() bool {
		return s.chassisOf(two) == "hv-a" && strings.Contains(h.flows(classify), "load:0x2->NXM_NX_REG5[0..15]") &&
			!strings.Contains(h.flows(classify), "load:0x1->NXM_NX_REG5[0..15]")
	})
	h.Vsctl("set", "Interface", "if-one", "ofport_request=77")
	eventually(t, "the flows follow the OpenFlow port", func() bool {
		return strings.Contains(h.flows(classify), "in_port=77 ") && strings.Contains(h.flows(deliver), "output:77")
	})
	h.Vsctl("remove", "Interface", "if-one", "external_ids", "iface-id")
	eventually(t, "the interface is no port", func() bool { return !strings.Contains(h.flows(deliver), "output:") })
}

// A restarted agent changes no flow and no record, and takes over what
// happened meanwhile.
func TestRestart(t *testing.T) {
	s := newSite(t)
	h := s.host("hv-a", "192.168.1.1")
	s.create(topology.Switch{Name: "LS"}, topology.Chassis{Name: "hv-b", IP: netip.MustParseAddr("192.168.1.2"), Tick: 1})
	key := s.port("LS", "one", "10.0.0.1")
	h.plug("one")
	eventually(t, "the port is delivered and the chassis registered", func() bool {
		_, err := s.store.Get(t.Context(), topology.Chassis{Name: "hv-a"}.Key())
		return s.chassisOf(key) == "hv-a" && err == nil && strings.Contains(h.flows(deliver), "output:") && strings.Contains(h.flows(classify), "move:NXM_NX_TUN_ID")
	})
	before, record := h.bridge(), get(t, s, topology.Chassis{Name: "hv-a"}.Key())
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	if got := h.bridge(); got != before {
		t.Errorf("the agent changed flows when it stopped:\n%s", got)
	}
	h.start()
	s.port("LS", "other", "10.0.0.9")
	eventually(t, "the restarted agent works", func() bool { return strings.Contains(h.flows("236"), "0xa000009") })
	for _, line := range strings.Split(strings.TrimSpace(before), "\n") {
		if !strings.Contains(h.bridge(), line) {
			t.Errorf("the restart lost the flow %s", line)
		}
	}
	if got := get(t, s, topology.Chassis{Name: "hv-a"}.Key()); got != record {
		t.Errorf("the restart wrote the chassis record: %v, was %v", got, record)
	}
	// A record that the operator deletes comes back with the next start, not before.
	if err := s.store.Delete(t.Context(), topology.Chassis{Name: "hv-a"}.Key(), false); err != nil {
		t.Fatal(err)
	}
	s.port("LS", "third", "10.0.0.3")
	eventually(t, "the agent has seen what came after", func() bool { return strings.Contains(h.flows("236"), "0xa000003") })
	if _, err := s.store.Get(t.Context(), topology.Chassis{Name: "hv-a"}.Key()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the record is there again: %v", err)
	}
	h.stop()
	h.start()
	eventually(t, "the new agent registers", func() bool {
		_, err := s.store.Get(t.Context(), topology.Chassis{Name: "hv-a"}.Key())
		return err == nil
	})
}

// ovs-vswitchd comes back without flows; the agent puts them in again.
func TestVswitchdRestart(t *testing.T) {
	s := newSite(t)
	h := s.host("hv-a", "192.168.1.1")
	s.create(topology.Switch{Name: "LS"})
	s.port("LS", "one", "10.0.0.1")
	h.plug("one")
	eventually(t, "the port is delivered", func() bool { return strings.Contains(h.flows(deliver), "output:") })
	before := strings.Count(h.bridge(), "\n")
	h.StopVswitchd()
	h.StartVswitchd()
	eventually(t, "all flows are back", func() bool { return strings.Count(h.bridge(), "\n") == before })
}

// Bad data of others harms nobody, is reported once, and leaves the last valid
// state in force.
func TestBadValues(t *testing.T) {
	s := newSite(t)
	h := s.host("hv-a", "192.168.1.1")
	s.create(topology.Switch{Name: "LS"})
	key := s.port("LS", "one", "10.0.0.1")
	h.plug("one")
	eventually(t, "the port is bound", func() bool { return s.chassisOf(key) == "hv-a" && strings.Contains(h.flows(deliver), "output:") })
	put := s.put
	put("entity_view/LS/LS/lsp/one", "ip=999,mac=none")
	put("entity_view/LS/LS/lsp/dup", "ip=10.0.0.1,mac=f2:01:0a:00:00:07")
	put("entity_view/LS/LS/nonsense/x/y", "?")
	put("entity_view/LR/", "")
	s.port("LS", "after", "10.0.0.5")
	eventually(t, "what came after is in", func() bool { return strings.Contains(h.flows("236"), "0xa000005") })
	if !strings.Contains(h.flows(deliver), "output:") {
		t.Error("the invalid value displaced the valid one")
	}
	if strings.Contains(h.flows(lookup), "f2:01:0a:00:00:07") {
		t.Error("a second port with the address counts")
	}
	put("entity_view/LS/LS/lsp/wide", "ip=10.9.0.5,mac=f2:01:0a:09:00:05") // the low half is after's
	put("entity_view/LS/LS/lsp/one", "ip=999,mac=none")
	h.plug("after")
	h.Vsctl("add-port", "br-int", "twin", "--", "set", "Interface", "twin", "type=dummy", "external_ids:iface-id=after")
	h.plug("unrelated")
	s.port("LS", "last", "10.0.0.6")
	eventually(t, "what came last is in", func() bool { return strings.Contains(h.flows("236"), "0xa000006") && h.log.said("port=unrelated") == 1 })
	for what, words := range map[string][]string{
		"an invalid value":              {"level=WARN", "key=/tuplenet/entity_view/LS/LS/lsp/one", "invalid IP"},
		"a second port with an address": {"level=WARN", "LS/dup", "LS/one", "address 10.0.0.1"},
		"a switch that is too wide":     {"level=WARN", "LS/wide", "LS/after", "wider than /16"},
		"a second interface of a port":  {"level=WARN", "same iface-id", "port=after"},
	} {
		if n := h.log.said(words...); n != 1 {
			t.Errorf("%s was reported %d times, want once", what, n)
		}
	}
	// A good value again, and the first of two gone: both are said, too.
	put("entity_view/LS/LS/lsp/one", "ip=10.0.0.7,mac=f2:01:0a:00:00:08")
	eventually(t, "both ports count", func() bool {
		return h.log.said("valid again", "lsp/one") == 1 && h.log.said("conflict is over", "LS/dup") == 1
	})
}

// A host with the system-id of another that is alive does not take part.
func TestSecondHostWithOneSystemID(t *testing.T) {
	s := newSite(t)
	first := s.host("twin", "192.168.1.1")
	eventually(t, "the first is registered", func() bool {
		_, err := s.store.Get(t.Context(), topology.Chassis{Name: "twin"}.Key())
		return err == nil
	})
	// Its port is plugged in on the second host, too.
	s.create(topology.Switch{Name: "LS"})
	key := s.port("LS", "vm", "10.0.0.1")
	other := s.host("other", "192.168.1.9")
	other.plug("vm")
	eventually(t, "the port is bound", func() bool { return s.chassisOf(key) == "other" })

	second := s.newHost("twin", "192.168.1.2")
	second.plug("vm")
	second.start()
	select {
	case err := <-second.done:
		second.done <- err
		if err == nil || !strings.Contains(err.Error(), "192.168.1.1") || !strings.Contains(err.Error(), "system-id") {
			t.Errorf("the second agent ended with %v", err)
		}
	case <-time.After(2 * presenceTTL):
		t.Error("the second agent goes on")
	}
	if got := second.bridge(); strings.Count(got, "\n") > 1 {
		t.Errorf("the second agent made flows:\n%s", got)
	}
	if got := s.chassisOf(key); got != "other" {
		t.Errorf("the second agent took a port: it is at %s", got)
	}
	if got := second.Vsctl("list-ports", "br-int"); strings.Contains(got, "tupleNet-") {
		t.Errorf("the second agent made tunnels: %s", got)
	}
	if n := first.log.said("level=ERROR", "system-id", "its_ip=192.168.1.2"); n != 1 {
		t.Errorf("the first said %d times that there is a second, want once", n)
	}
	// One that has moved to a new address is not kept out.
	first.stop()
	first.ip = "192.168.1.3"
	first.start()
	eventually(t, "the record shows the new address", func() bool {
		c, ok := get(t, s, topology.Chassis{Name: "twin"}.Key()).(topology.Chassis)
		return ok && c.IP.String() == "192.168.1.3"
	})
}

// A store of a later version is left alone, and so is the bridge.
func TestLaterVersion(t *testing.T) {
	s := newSite(t)
	s.put("globals/version", "99")
	h := s.host("hv-a", "192.168.1.1")
	select {
	case err := <-h.done:
		h.done <- err
		if !errors.Is(err, store.ErrVersion) {
			t.Errorf("the agent ended with %v", err)
		}
	case <-time.After(15 * time.Second):
		t.Error("the agent goes on")
	}
	if got := h.bridge(); got != "" {
		t.Errorf("it made flows:\n%s", got)
	}
}

// A port that is deleted and made again while a claim on it waits for etcd is
// bound all the same.
func TestPortMadeAgain(t *testing.T) {
	s := newSite(t)
	h := s.host("hv-a", "192.168.1.1")
	s.create(topology.Switch{Name: "LS"})
	h.plug("vm")
	for i := range 20 {
		key := s.port("LS", "vm", fmt.Sprintf("10.0.0.%d", 1+i))
		if i%3 == 0 { // sometimes later
			eventually(t, "the port is bound", func() bool { return s.chassisOf(key) == "hv-a" })
		}
		if err := s.store.Delete(t.Context(), key, false); err != nil {
			t.Fatal(err)
		}
	}
	key := s.port("LS", "vm", "10.0.0.99")
	eventually(t, "the last port is bound and delivered", func() bool {
		return s.chassisOf(key) == "hv-a" && strings.Contains(h.flows(classify), "load:0x63->")
	})
}

// A host that gave a port away stays without it when the port is deleted and
// comes back on the other host.
func TestYieldedStaysYielded(t *testing.T) {
	s := newSite(t)
	a, b := s.host("hv-a", "192.168.1.1"), s.host("hv-b", "192.168.1.2")
	s.create(topology.Switch{Name: "LS"})
	s.port("LS", "stays", "10.0.0.2") // else the switch were of no concern to hv-a later
	a.plug("stays")
	key := s.port("LS", "vm", "10.0.0.1")
	a.plug("vm")
	eventually(t, "the port is bound to hv-a", func() bool { return s.chassisOf(key) == "hv-a" })
	b.plug("vm")
	eventually(t, "hv-a has given the port away", func() bool { return a.log.said("has moved") == 1 })
	if err := s.store.Delete(t.Context(), key, false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "hv-b has seen the port go", func() bool { return !strings.Contains(b.flows(deliver), "output:") })
	s.put("entity_view/LS/LS/lsp/vm", "ip=10.0.0.1,mac=f2:01:0a:00:00:01,chassis=hv-b")
	eventually(t, "hv-b delivers again", func() bool { return strings.Contains(b.flows(deliver), "output:") })
	s.port("LS", "after", "10.0.0.9")
	eventually(t, "hv-a has seen what came after", func() bool { return strings.Contains(a.flows("236"), "0xa000009") })
	if got := s.chassisOf(key); got != "hv-b" || strings.Count(a.flows(deliver), "output:") != 1 {
		t.Errorf("hv-a took the port back: it is at %s", got)
	}
}

// A system-id that cannot be a key of the store is refused.
func TestSystemIDIsAName(t *testing.T) {
	s := newSite(t)
	h := s.host("a/b", "192.168.1.1")
	err := <-h.done
	h.done <- err
	if err == nil || !strings.Contains(err.Error(), `system-id is an invalid name "a/b"`) {
		t.Errorf("the agent ended with %v", err)
	}
}

func TestRunDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	p, err := TakeRunDir(t.Context(), dir, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(readPid(filepath.Join(dir, "tuplenet.pid"))); got != "0" {
		t.Errorf("own pid is read as %s, an agent must not stop itself", got)
	}
	p.Release()
	if p, err = TakeRunDir(t.Context(), dir, time.Second); err != nil {
		t.Fatal("a released run directory cannot be taken:", err)
	}
	p.Release()
}

func get(t *testing.T, s *site, key topology.Key) topology.Stored {
	t.Helper()
	e, err := s.store.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
