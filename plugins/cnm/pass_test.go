package cnm

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// passBed is a plugin whose comparisons are made when the test says so, with a
// clock that the test sets.
type passBed struct {
	*bed
	docker *fakeDocker
	r      *reconciler
	time   time.Time
}

func newPassBed(t *testing.T) *passBed {
	t.Helper()
	return passBedOf(newStoreBed(t))
}

func passBedOf(b *bed) *passBed {
	p := &passBed{bed: b, time: time.Now()}
	// Not where the plugin itself looks for the engine.
	p.docker = newFakeDocker(b.t, b.dir+"/docker2.sock")
	plugin := New(b.plugin.cfg, b.store, b.plugin.log)
	plugin.engine, plugin.self = newEngine(p.docker.socket), "hv1"
	b.t.Cleanup(plugin.engine.client.CloseIdleConnections)
	p.r = plugin.newReconciler()
	p.r.now = func() time.Time { return p.time }
	return p
}

// pass makes a comparison after a while, and returns when the next one is due.
func (b *passBed) pass(after time.Duration) time.Duration {
	b.t.Helper()
	b.time = b.time.Add(after)
	next, err := b.r.pass(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return next
}

func (b *passBed) failingPass(after time.Duration, words ...string) {
	b.t.Helper()
	b.time = b.time.Add(after)
	_, err := b.r.pass(b.t.Context())
	wantError(b.t, err, words...)
	clear(b.r.lost) // as follow does
}

// network makes a network in etcd, on a switch of its own.
func (b *passBed) network(name string, edit ...func(*store.Network)) {
	b.t.Helper()
	n := store.Network{ID: id(name), Switch: id(name), Made: true, Subnet: netip.MustParsePrefix("10.20.3.0/24"), Gateway: netip.MustParseAddr("10.20.3.1"),
		Scope: store.ScopeLocal, Chassis: "hv1", Engine: id("none")}
	for _, f := range edit {
		f(&n)
	}
	if err := b.store.CreateNetwork(b.t.Context(), n); err != nil {
		b.t.Fatal(err)
	}
}

// networks returns the names of the networks in etcd.
func (b *passBed) networks() (names []string) {
	b.t.Helper()
	all, err := b.store.Networks(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, n := range all {
		names = append(names, n.ID)
	}
	return names
}

func (b *passBed) wantNetworks(names ...string) {
	b.t.Helper()
	var want []string
	for _, name := range names {
		want = append(want, id(name))
	}
	slices.Sort(want)
	if got := b.networks(); !slices.Equal(got, want) {
		b.t.Errorf("etcd has the networks %q, want %q", got, want)
	}
}

func TestNames(t *testing.T) {
	b := newPassBed(t)
	unknown := func(n *store.Network) { n.Engine = "" }
	b.network("new", unknown)
	b.network("elsewhere", unknown, func(n *store.Network) { n.Chassis = "hv2" })
	b.network("global", unknown, func(n *store.Network) { n.Scope = store.ScopeGlobal })
	b.network("other", unknown)
	b.network("strange", unknown)
	named := func(network, name string) map[string]any {
		n := dockerNet(network, "tuplenet", "10.20.3.0/24")
		n["Name"] = name
		return n
	}
	b.docker.has(named("new", "tp-docker-net1"), named("elsewhere", "moved"), named("global", "the world"), named("strange", "evil\x1b[2J\nname"), dockerNet("unknown", "tuplenet", ""))
	for range 2 {
		if next := b.pass(0); next != 0 {
			t.Errorf("something is due in %s", next)
		}
	}
	for name, want := range map[string]string{"new": "tp-docker-net1 " + id("none"), "elsewhere": "moved ", "global": "the world ", "other": " ", "strange": " " + id("none")} {
		if n := b.record(name); n.Name+" "+n.Engine != want {
			t.Errorf("%s is %q %q, want %q", name, n.Name, n.Engine, want)
		}
	}
	for name, want := range map[string]bool{"a b/c": true, "ä": true, "": false, "a\n": false, "a\x00": false, strings.Repeat("x", 255): true, strings.Repeat("x", 256): false, "\xff": false} {
		if (store.CheckNetworkName(name) == nil) != want {
			t.Errorf("%q: %t", name, !want)
		}
	}
}

// A network that Docker has removed while the plugin was away goes, with its
// switch.
func TestNetworkEnds(t *testing.T) {
	b := newPassBed(t)
	b.network("gone", func(n *store.Network) {
		n.Router, n.Gateway, n.Subnet = "LR", netip.MustParseAddr("10.20.4.1"), netip.MustParsePrefix("10.20.4.0/24")
	})
	b.network("there")
	b.docker.has(dockerNet("there", "tuplenet", "10.20.3.0/24"))
	if next := b.pass(0); next != grace {
		t.Errorf("the next one is due in %s", next)
	}
	if next := b.pass(grace - time.Second); next != time.Second {
		t.Errorf("the next one is due in %s", next)
	}
	b.wantNetworks("gone", "there")
	if next := b.pass(time.Second); next != 0 {
		t.Errorf("the next one is due in %s", next)
	}
	b.wantNetworks("there")
	if _, err := b.store.Get(t.Context(), topology.Switch{Name: id("gone")}.Key()); err == nil {
		t.Error("its switch is there")
	}
	if ports, _, err := b.store.List(t.Context(), topology.KindRouterPort, "LR"); err != nil || len(ports) != 1 {
		t.Errorf("the router has %v, %v", ports, err)
	}

	// One whose switch has something waits for that to go.
	b.network("used")
	ip := netip.MustParseAddr("10.20.3.2")
	port := topology.SwitchPort{Switch: id("used"), Name: "p", IP: ip, MAC: topology.MACFromIP(ip)}
	b.create(port)
	b.pass(0)
	if next := b.pass(grace); next != retryRemoval {
		t.Errorf("the next one is due in %s", next)
	}
	b.wantNetworks("there", "used")
	if err := b.store.Delete(t.Context(), port.Key(), false); err != nil {
		t.Fatal(err)
	}
	b.pass(retryRemoval)
	b.wantNetworks("there")
}

// What is said of a network that goes late: why it does.
func TestNetworkEndsLate(t *testing.T) {
	b := newPassBed(t)
	var said bytes.Buffer
	b.r.log = slog.New(slog.NewTextHandler(&said, nil))
	b.network("missed")
	b.network("refused", func(n *store.Network) { n.Freed = true })
	ip := netip.MustParseAddr("10.20.3.2")
	port := topology.SwitchPort{Switch: id("refused"), Name: "p", IP: ip, MAC: topology.MACFromIP(ip)}
	b.create(port)
	b.pass(0)
	b.pass(grace)
	b.wantNetworks("refused")
	if err := b.store.Delete(t.Context(), port.Key(), false); err != nil {
		t.Fatal(err)
	}
	b.pass(retryRemoval)
	b.wantNetworks()
	for network, want := range map[string]string{
		"missed":  `"removed a network that Docker has removed while the plugin or etcd was away"`,
		"refused": `"network goes when its last port does","network goes when its last port does","network deleted"`,
	} {
		var messages []string
		for line := range strings.Lines(said.String()) {
			if _, message, _ := strings.Cut(line, "msg="); strings.Contains(line, id(network)) {
				messages = append(messages, message[:strings.Index(message[1:], `"`)+2])
			}
		}
		if got := strings.Join(messages, ","); got != want {
			t.Errorf("of network %s it says %s\nwant %s", network, got, want)
		}
	}
}

// What cannot be ended does not keep the rest from it.
func TestOneThatCannotEnd(t *testing.T) {
	b := newPassBed(t)
	b.network("stuck")
	b.network("shared", func(n *store.Network) { n.Made, n.Switch = false, "LS-A" })
	b.reserve("10.20.3.9", "hv1")
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{b.endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	if _, err := etcd.Put(t.Context(), "/tuplenet/globals/device_ids", "nonsense"); err != nil {
		t.Fatal(err)
	}
	b.pass(0)
	if next := b.pass(reservationLife); next != retryRemoval {
		t.Errorf("the next one is due in %s", next)
	}
	b.wantNetworks("stuck")
	b.wantReserved()
}

// Nothing ends that may be somebody else's, or may be there after all.
func TestNetworkStays(t *testing.T) {
	for name, edit := range map[string]func(*store.Network){
		"of another host":      func(n *store.Network) { n.Chassis = "hv2" },
		"of another engine":    func(n *store.Network) { n.Engine = id("other") },
		"of an unknown engine": func(n *store.Network) { n.Engine = "" },
		"of all hosts":         func(n *store.Network) { n.Scope = store.ScopeGlobal },
		"of a swarm":           func(n *store.Network) { n.Scope = store.ScopeSwarm },
		"of no scope":          func(n *store.Network) { n.Scope = "" },
	} {
		t.Run(name, func(t *testing.T) {
			b := newPassBed(t)
			b.network("n1", edit)
			for range 3 {
				if next := b.pass(time.Hour); next != 0 {
					t.Errorf("something is due in %s", next)
				}
			}
			b.wantNetworks("n1")
		})
	}

	b := newPassBed(t)
	b.network("n1")
	own := dockerNet("n1", "tuplenet", "10.20.3.0/24")
	t.Run("Docker has it in between", func(t *testing.T) {
		b.t = t
		b.pass(0)
		b.docker.has(own)
		b.pass(grace - time.Second)
		b.docker.has()
		b.pass(time.Second)
		b.pass(grace - time.Second)
		b.wantNetworks("n1")
	})
	t.Run("Docker does not list it, but has it", func(t *testing.T) {
		b.t = t
		clear(b.r.lost)
		b.docker.answer("/networks/"+id("n1"), says(http.StatusOK, `{"Id":"`+id("n1")+`"}`))
		b.pass(0)
		b.pass(grace)
		b.docker.answer("/networks/"+id("n1"), says(http.StatusInternalServerError, `{"message":"database is closed"}`))
		b.failingPass(0, "database is closed")
		b.docker.answer("/networks/"+id("n1"), nil)
		b.wantNetworks("n1")
	})
	t.Run("Docker cannot read its networks", func(t *testing.T) {
		b.t = t
		b.docker.set()
		b.failingPass(0, "lists its networks without its own, none")
		b.failingPass(time.Hour, "lists its networks without its own, none")
		b.wantNetworks("n1")
	})
	t.Run("Docker answers errors in between", func(t *testing.T) {
		b.t = t
		b.docker.has()
		b.pass(time.Hour)
		b.docker.answer("/networks", says(http.StatusServiceUnavailable, ""))
		b.failingPass(time.Hour, "/networks", "503")
		b.docker.answer("/networks", nil)
		b.pass(time.Hour)
		b.wantNetworks("n1")
	})
	t.Run("another engine in between", func(t *testing.T) {
		b.t = t
		clear(b.r.lost)
		b.pass(0)
		other := dockerNet("none", "null", "")
		other["Id"] = id("other") // its directory is not mounted, say
		b.docker.set(other)
		b.pass(time.Hour)
		b.docker.has()
		b.pass(time.Hour)
		b.wantNetworks("n1")
	})
	t.Run("then it ends", func(t *testing.T) {
		b.t = t
		b.pass(grace)
		b.wantNetworks()
	})
}

// An endpoint that no container got, or that was given back while the plugin was
// away, goes with its veth pair, its port and its address.
func TestEndpointEnds(t *testing.T) {
	b := passBedOf(newBed(t))
	b.must("NetworkDriver.CreateNetwork", networkRequest("n1", "10.20.3.0/24", "10.20.3.1/24"), nil)
	b.must("NetworkDriver.CreateNetwork", networkRequest("n2", "10.20.4.0/24", "10.20.4.1/24"), nil)
	for _, e := range []struct{ network, name, address string }{{"n1", "kept", "10.20.3.2/24"}, {"n1", "lost", "10.20.3.3/24"}, {"n2", "lone", "10.20.4.2/24"}} {
		b.must("NetworkDriver.CreateEndpoint", endpointRequest(e.network, e.name, e.address), nil)
	}
	orphan := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "tp0123456789abc"}, PeerName: "tc0123456789abc"}
	stranger := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "tcp-0"}, PeerName: "tcp-1"}
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "tc00000000000ff"}}
	for _, link := range []netlink.Link{orphan, stranger, bridge} {
		if err := netlink.LinkAdd(link); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { netlink.LinkDel(link) })
	}
	b.docker.has(dockerNet("n1", "tuplenet", "10.20.3.0/24", "kept=10.20.3.2/24"))
	if before := len(devices(t)); before != 10 {
		t.Fatalf("there are %d ends: %q", before, devices(t))
	}
	making := b.r.endpoints.lock(endpointID(id("n2"), id("lone")).Device()) // for longer than that
	if next := b.pass(0); next != grace {
		t.Errorf("the next one is due in %s", next)
	}
	if next := b.pass(grace); next != grace {
		t.Errorf("while an endpoint is made, the next one is due in %s", next)
	}
	if now := len(devices(t)); now != 6 {
		t.Errorf("what is just being made, and what Docker has, are not left alone: there are %q", devices(t))
	}
	making()
	b.pass(0)
	b.pass(grace - time.Second)
	if now := len(devices(t)); now != 6 {
		t.Errorf("too early: there are %q", devices(t))
	}
	if next := b.pass(time.Second); next != grace {
		t.Errorf("as Docker has an endpoint whose interface is on the host, the next one is due in %s", next)
	}
	if now := devices(t); len(now) != 4 || !slices.Contains(now, containerEnd(endpointID(id("n1"), id("kept")))) || !slices.Contains(now, "tcp-0") {
		t.Errorf("there are %q", now)
	}
	if _, err := netlink.LinkByName("tc00000000000ff"); err != nil {
		t.Error("what is no veth pair was removed")
	}
	b.eventually("the ports are released", func() bool {
		return len(b.ports(id("n1"))) == 1 && !slices.ContainsFunc(b.ports(id("n2")), func(p string) bool { return strings.HasPrefix(p, id("lone")) })
	})
	b.must("NetworkDriver.DeleteEndpoint", object{"NetworkID": id("n1"), "EndpointID": id("kept")}, nil)
}

// reserve reserves an address, or for "" the subnet, as that was a while ago.
func (b *passBed) reserve(ip, chassis string) {
	b.t.Helper()
	subnet := netip.MustParsePrefix("10.20.3.0/24")
	var err error
	if ip == "" {
		_, err = b.store.HoldSubnet(b.t.Context(), subnet, chassis)
	} else {
		_, err = b.store.ReserveAddress(b.t.Context(), subnet, subnet, netip.MustParseAddr(ip), netip.Addr{}, chassis)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *passBed) wantReserved(want ...string) {
	b.t.Helper()
	all, err := b.store.Reservations(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	var got []string
	for _, r := range all {
		if r.IP.IsValid() {
			got = append(got, r.IP.String())
		} else {
			got = append(got, r.Subnet.String())
		}
	}
	if !slices.Equal(got, want) {
		b.t.Errorf("reserved are %q, want %q", got, want)
	}
}

func TestReservationsEnd(t *testing.T) {
	b := newPassBed(t)
	own := dockerNet("n1", "macvlan", "10.20.3.0/24", "e1=10.20.3.2/24") // another driver's, with addresses from ours
	own["IPAM"].(object)["Config"].([]object)[0]["AuxiliaryAddresses"] = object{"printer": "10.20.3.3"}
	b.docker.has(own)
	b.reserve("", "hv1")
	for ip, chassis := range map[string]string{"10.20.3.2": "hv1", "10.20.3.3": "hv1", "10.20.3.4": "hv1", "10.20.3.5": "hv2"} {
		b.reserve(ip, chassis)
	}
	if next := b.pass(0); next != reservationLife {
		t.Errorf("the next one is due in %s", next)
	}
	b.wantReserved("10.20.3.0/24", "10.20.3.2", "10.20.3.3", "10.20.3.4", "10.20.3.5")
	if next := b.pass(reservationLife); next != 0 {
		t.Errorf("the next one is due in %s", next)
	}
	b.wantReserved("10.20.3.0/24", "10.20.3.2", "10.20.3.3", "10.20.3.5")

	// Unless somebody else may have them, or Docker does not say.
	b.docker.has(own)
	b.docker.answer("/networks/"+id("n1"), says(500, ""))
	if _, err := b.r.pass(t.Context()); err == nil {
		t.Error("an error about a network was not told")
	}
	b.docker.answer("/networks/"+id("n1"), nil)
	b.wantReserved("10.20.3.0/24", "10.20.3.2", "10.20.3.3", "10.20.3.5")
	for name, tt := range map[string]struct {
		listed bool
		edit   func(*store.Network)
	}{
		"a cluster's network":   {false, func(n *store.Network) { n.Scope = store.ScopeGlobal }},
		"one of a swarm":        {true, func(n *store.Network) { n.Scope, n.Chassis = store.ScopeSwarm, "hv2" }},
		"one of another engine": {false, func(n *store.Network) { n.Engine = id("other") }},
	} {
		t.Run(name, func(t *testing.T) {
			b.t = t
			b.docker.has()
			b.network("g", tt.edit)
			if tt.listed {
				b.docker.has(dockerNet("g", "tuplenet", "10.20.3.0/24"))
			}
			b.reserve("", "hv1") // the network has ended it
			b.pass(0)
			b.pass(reservationLife)
			b.wantReserved("10.20.3.0/24", "10.20.3.2", "10.20.3.3", "10.20.3.5")
			if err := b.store.DeleteNetwork(t.Context(), id("g")); err != nil {
				t.Fatal(err)
			}
		})
	}
	b.t = t
	b.docker.has()
	b.pass(reservationLife)
	b.wantReserved("10.20.3.5")
}

func TestPassWithoutAgentOrEtcd(t *testing.T) {
	b := newPassBed(t)
	b.r.self = ""
	b.failingPass(0, "find out which chassis this host is: no agent of TupleNet answers")
	b.r.self = "hv1"
	b.pass(0)
}
