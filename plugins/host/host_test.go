package host

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cni.tuplenet/attach"

	"tuplenet/internal/topology"
)

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
		m.wantAttached()
	}
	check.IP = "10.0.0.2"
	b.wantError(m.ask(check), attach.CodeNotAttached, "Open vSwitch has no port of container c1")
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
		m.wantAttached()
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
		{"another subnet than the router's", attach.CodeConfig, "subnet 10.9.0.1/24 is no part of the network of switch LS-A, whose router has 10.0.0.1/29", []func(*attach.Request){on(attach.Switch{Name: "LS-A", Subnet: "10.9.0.1/24"})}},
		{"a wider one", attach.CodeConfig, "is no part of the network of switch LS-A", []func(*attach.Request){on(attach.Switch{Name: "LS-A", Subnet: "10.0.0.1/24"})}},
		{"nobody's gateway", attach.CodeConfig, "nobody has the address 10.0.0.6, which subnet 10.0.0.6/29 makes the gateway; the router of switch LS-A has 10.0.0.1", []func(*attach.Request){on(attach.Switch{Name: "LS-A", Subnet: "10.0.0.6/29"})}},
		{"too wide", attach.CodeConfig, "wider than /16", []func(*attach.Request){on(attach.Switch{Name: "LS-B", Subnet: "10.0.0.1/15"})}},
		{"bad reserved", attach.CodeConfig, `reserved: "x" is neither`, []func(*attach.Request){on(attach.Switch{Name: "LS-B", Subnet: "10.0.0.0/24", Reserved: []string{"x"}})}},
		{"bad address", attach.CodeConfig, `invalid IP "::1"`, []func(*attach.Request){asks("::1", "")}},
		{"bad MAC", attach.CodeConfig, "belongs to no single interface", []func(*attach.Request){asks("", "ff:ff:ff:ff:ff:ff")}},
		{"the gateway", attach.CodeTaken, "address 10.0.0.1 is the gateway", []func(*attach.Request){asks("10.0.0.1", "")}},
		{"the network", attach.CodeConfig, "the network's own", []func(*attach.Request){asks("10.0.0.0", "")}},
		{"elsewhere", attach.CodeConfig, "address 10.9.0.1 is not in the subnet 10.0.0.0/29 of switch LS-A", []func(*attach.Request){asks("10.9.0.1", "")}},
		{"another's address", attach.CodeTaken, "address 10.0.0.3 belongs to switch port LS-A/static", []func(*attach.Request){asks("10.0.0.3", "")}},
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
	if a := m.mustAdd("part", on(attach.Switch{Name: "LS-B", Subnet: "10.0.1.0/24"})); a.IP != "10.0.1.2/24" || a.Gateway != "10.0.1.1" {
		t.Errorf("without a router: got %+v", a)
	}
	m.del("part")
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
	b.wantError(m.add("c3"), attach.CodeFull, "switch LS-A has no free address in 10.0.0.0/29 for container c3 (1 more are kept for other nodes, such as hv2)")
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
	m.Vsctl("set", "Interface", id("c1").Device(), "type=nonsense") // which is an error, as that of a device that is not there
	m.Vsctl("del-port", id("c2").Device())
	m.start()
	b.eventually("what has no device is released", func() bool { return len(b.owned()) == 1 && len(m.host.Attachments()) == 1 })
	b.wantOwned("lsp-eth0-c3 10.0.0.4 cni:net/c3/eth0")
	// What Open vSwitch has open is there, whether the agent can see it or not.
	m.device(id("c3").Device(), false)
	m.stop()
	m.start()
	m.mustAdd("c5")
	m.del("c5")
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

// A runtime may give containers of several hosts the same id: what is attached on
// one is not another's to take, or to release.
func TestSameContainer(t *testing.T) {
	b := newBed(t)
	one, two := b.machine("hv1", "10.1.0.1"), b.machine("hv2", "10.1.0.2")
	one.mustAdd("c1")
	b.eventually("the other host knows of it", func() (known bool) {
		_ = two.host.View(t.Context(), func(m *topology.Model, _ int) {
			known = m.Get(topology.Key{Kind: topology.KindPortName, Name: "lsp-eth0-c1"}) != nil
		})
		return known
	})
	b.wantError(two.add("c1"), attach.CodeTaken, `not this attachment's (chassis "hv1", owner "cni:net/c1/eth0"); remove it with: tpctl lsp del LS-A lsp-eth0-c1`)
	if a := two.del("c1"); a.Error != nil || a.Pending {
		t.Errorf("DEL: %+v", a)
	}
	b.wantOwned("lsp-eth0-c1 10.0.0.2 cni:net/c1/eth0")
	one.wantAttached("lsp-eth0-c1")
}

// A device that goes while it is attached is noticed, too.
func TestVanishes(t *testing.T) {
	b := newBed(t)
	m := b.machine("hv1", "10.1.0.1")
	p := m.plugin()
	defer p.hangUp()
	p.say(request(attach.Reserve, "c1"))
	if a := p.say(attach.Request{Op: attach.Plug}); a.Error != nil {
		t.Fatal(a.Error)
	}
	m.Vsctl("set", "Interface", id("c1").Device(), "type=nonsense")
	b.eventually("Open vSwitch has lost it", func() bool { return m.host.Attachments()[0].Failed })
	if a := p.say(attach.Request{Op: attach.Keep}); a.Error != nil {
		t.Fatal(a.Error)
	}
	b.eventually("it is released", func() bool { return len(b.owned()) == 0 && len(m.host.Attachments()) == 0 })
}

// What was released just now can be had again at once.
func TestAtOnce(t *testing.T) {
	b := newBed(t)
	m := b.machine("hv1", "10.1.0.1")
	for i := range 5 {
		a := m.mustAdd(fmt.Sprint("c", i%2), func(r *attach.Request) { r.IP, r.MAC = "10.0.0.5", "02:00:00:00:00:05" })
		if a.IP != "10.0.0.5/29" {
			t.Errorf("got %+v", a)
		}
		m.del(fmt.Sprint("c", i%2))
		m.wantAttached()
	}
}

func TestExists(t *testing.T) {
	if !exists("lo") {
		t.Error("there is no lo")
	}
	if exists("tpnobody") {
		t.Error("there is what nobody has made")
	}
}

// A part of the router's network is given out with the router's prefix length.
func TestPart(t *testing.T) {
	b := newBed(t)
	m := b.machine("hv1", "10.1.0.1")
	a := m.mustAdd("c1", func(r *attach.Request) { r.Switches = []attach.Switch{{Name: "LS-A", Subnet: "10.0.0.4/30"}} })
	if a.IP != "10.0.0.5/29" || a.Gateway != "10.0.0.1" {
		t.Errorf("got %+v", a)
	}
}

// A bridge that somebody has made anew has the ports of containers again.
func TestPlugAgain(t *testing.T) {
	b := newBed(t)
	m := b.machine("hv1", "10.1.0.1")
	m.mustAdd("c1")
	for _, command := range [][]string{{"del-port", id("c1").Device()}, {"del-br", "br-int"}} {
		m.Vsctl(command...)
		b.eventually("the container's port is back", func() bool {
			at := m.host.Attachments()
			return len(at) == 1 && at[0].Port == "lsp-eth0-c1"
		})
	}
	check := request(attach.Check, "c1", func(r *attach.Request) { r.IP, r.MAC = "10.0.0.2", "f2:01:0a:00:00:02" })
	b.eventually("it carries traffic", func() bool { return m.ask(check).Error == nil })
	// What is wrong with the configuration by now is no reason to keep anything.
	m.device(id("c1").Device(), false)
	gone := request(attach.Release, "c1", func(r *attach.Request) { r.Etcd = &attach.Etcd{Endpoints: []string{"x:1"}, Prefix: "/else"} })
	if a := m.ask(gone); a.Error != nil || a.Pending {
		t.Errorf("DEL: %+v", a)
	}
	b.wantOwned()
}

// Many containers on several hosts at the same time get addresses of their own.
func TestMany(t *testing.T) {
	b := newBed(t)
	wide := func(r *attach.Request) { r.Switches = []attach.Switch{{Name: "LS-B", Subnet: "10.0.1.1/24"}} }
	var machines []*machine
	for i := range 4 {
		machines = append(machines, b.machine(fmt.Sprint("hv", i), fmt.Sprint("10.1.0.", i+1)))
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	has := map[string]string{}
	var times []time.Duration
	for i := range 64 {
		all.Go(func() {
			name := fmt.Sprint("c", i)
			begin := time.Now()
			a := machines[i%4].add(name, wide)
			took := time.Since(begin)
			mu.Lock()
			defer mu.Unlock()
			switch other, twice := has[a.IP]; {
			case a.Error != nil:
				t.Errorf("%s: %v", name, a.Error)
			case twice:
				t.Errorf("%s and %s both have %s", name, other, a.IP)
			}
			has[a.IP] = name
			times = append(times, took)
		})
	}
	all.Wait()
	slices.Sort(times)
	t.Logf("%d ADDs at once on %d hosts: median %s, longest %s", len(times), len(machines), times[len(times)/2], times[len(times)-1])
	if n := len(b.owned()); n != 64 {
		t.Errorf("the store has %d ports, want 64", n)
	}
	begin := time.Now()
	for i := range 64 {
		all.Go(func() { machines[i%4].del(fmt.Sprint("c", i)) })
	}
	all.Wait()
	t.Logf("%d DELs at once: %s", 64, time.Since(begin))
	b.wantOwned()
	for _, m := range machines {
		m.wantAttached()
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
