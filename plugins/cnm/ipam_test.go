package cnm

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/go-plugins-helpers/ipam"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// newIPAM is the IPAM driver of hv1, in a network without agents.
func newIPAM(t testing.TB, edit ...func(*Config)) (ipamDriver, *bed) {
	t.Helper()
	b := newStoreBed(t, edit...)
	return b.ipamOf("hv1"), b
}

// ipamOf is the IPAM driver of another host, as if that were served there.
func (b *bed) ipamOf(chassis string) ipamDriver {
	p := New(b.plugin.cfg, b.store, slog.New(slog.DiscardHandler))
	p.self = chassis
	return ipamDriver{p}
}

// get requests an address and returns it without its length.
func (d ipamDriver) get(pool, address string) (string, error) {
	a, err := d.RequestAddress(&ipam.RequestAddressRequest{PoolID: pool, Address: address})
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(a.Address, "/24"), nil
}

func (d ipamDriver) give(pool, address string) error {
	return d.ReleaseAddress(&ipam.ReleaseAddressRequest{PoolID: pool, Address: address})
}

func (b *bed) makeNetwork(n store.Network) {
	b.t.Helper()
	if err := b.store.CreateNetwork(b.t.Context(), n); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) reservations() (list []string) {
	b.t.Helper()
	all, err := b.store.Reservations(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, r := range all {
		what := r.Subnet.String()
		if r.IP.IsValid() {
			what = r.IP.String()
		}
		list = append(list, what+" "+r.Chassis)
	}
	return list
}

func (b *bed) wantReservations(want ...string) {
	b.t.Helper()
	if got := b.reservations(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		b.t.Errorf("reserved are %q, want %q", got, want)
	}
}

func TestIPAMIsWhatDockerWants(t *testing.T) {
	b := newStoreBed(t)
	var caps, spaces object
	b.must("IpamDriver.GetCapabilities", object{}, &caps)
	b.must("IpamDriver.GetDefaultAddressSpaces", object{}, &spaces)
	if caps["RequiresMACAddress"] != false || spaces["LocalDefaultAddressSpace"] != "tuplenet" || spaces["GlobalDefaultAddressSpace"] != "tuplenet" {
		t.Errorf("got %v, %v", caps, spaces)
	}
	var pool ipam.RequestPoolResponse
	b.must("IpamDriver.RequestPool", object{"AddressSpace": "tuplenet", "Pool": "10.20.3.7/24", "SubPool": "10.20.3.128/25", "Options": nil, "V6": false}, &pool)
	if pool.PoolID != "10.20.3.0/24 10.20.3.128/25" || pool.Pool != "10.20.3.0/24" || len(pool.Data) > 0 {
		t.Errorf("got %+v", pool)
	}
	var address ipam.RequestAddressResponse
	b.must("IpamDriver.RequestAddress", object{"PoolID": pool.PoolID, "Address": "", "Options": object{"RequestAddressType": "com.docker.network.gateway"}}, &address)
	if address.Address != "10.20.3.1/24" {
		t.Errorf("got %+v", address)
	}
	wantError(t, b.call("IpamDriver.RequestAddress", object{"PoolID": pool.PoolID}, nil), "no agent of TupleNet answers", "tuplenet agent")
	b.wantReservations()
}

func TestRequestPool(t *testing.T) {
	d, b := newIPAM(t, func(c *Config) { c.AddressPools = nil })
	b.create(topology.Switch{Name: "LS-lone"}, topology.Switch{Name: "LS-two"})
	for _, cidr := range []string{"10.1.1.1/24", "10.2.2.1/24"} {
		net := netip.MustParsePrefix(cidr)
		mac, name := topology.MACFromIP(net.Addr()), "two-"+net.Addr().String()
		b.create(topology.SwitchPort{Switch: "LS-two", Name: name, IP: net.Addr(), MAC: mac, Peer: "to-" + name},
			topology.RouterPort{Router: "LR", Name: "to-" + name, Net: net, MAC: mac, Peer: name})
	}
	b.create(topology.Router{Name: "LR-2"}, topology.SwitchPort{Switch: "LS-A", Name: "to_LR-2", IP: netip.MustParseAddr("10.0.0.254"), MAC: topology.MACFromIP(netip.MustParseAddr("10.0.0.254")), Peer: "LR-2_to_LS-A"},
		topology.RouterPort{Router: "LR-2", Name: "LR-2_to_LS-A", Net: netip.MustParsePrefix("10.0.0.254/24"), MAC: topology.MACFromIP(netip.MustParseAddr("10.0.0.254")), Peer: "to_LR-2"})
	sw := func(name string) map[string]string { return map[string]string{"switch": name} }
	for _, tt := range []struct {
		name          string
		r             ipam.RequestPoolRequest
		id, gw, error string
	}{
		{"a subnet", ipam.RequestPoolRequest{Pool: "10.20.3.0/24"}, "10.20.3.0/24", "", ""},
		{"with host bits", ipam.RequestPoolRequest{Pool: "10.20.3.9/24", SubPool: "10.20.3.77/26"}, "10.20.3.0/24 10.20.3.64/26", "", ""},
		{"a range that is all", ipam.RequestPoolRequest{Pool: "10.20.3.0/24", SubPool: "10.20.3.0/24"}, "10.20.3.0/24", "", ""},
		{"a /16", ipam.RequestPoolRequest{Pool: "10.20.0.0/16"}, "10.20.0.0/16", "", ""},
		{"a /15", ipam.RequestPoolRequest{Pool: "10.20.0.0/15"}, "", "", "subnet 10.20.0.0/15 is wider than /16"},
		{"a /31", ipam.RequestPoolRequest{Pool: "10.20.0.0/31"}, "", "", "no room for a gateway and a container"},
		{"no subnet of machines", ipam.RequestPoolRequest{Pool: "224.0.0.0/24"}, "", "", "cannot be that of machines"},
		{"nonsense", ipam.RequestPoolRequest{Pool: "nonsense"}, "", "", `invalid CIDR "nonsense"`},
		{"a range elsewhere", ipam.RequestPoolRequest{Pool: "10.20.3.0/24", SubPool: "10.20.4.0/26"}, "", "", "10.20.4.0/26 is no part of the subnet 10.20.3.0/24"},
		{"a wider range", ipam.RequestPoolRequest{Pool: "10.20.3.0/24", SubPool: "10.20.0.0/16"}, "", "", "is no part of"},
		{"a range alone", ipam.RequestPoolRequest{SubPool: "10.20.3.0/26"}, "", "", "give --subnet, too"},
		{"IPv6", ipam.RequestPoolRequest{V6: true}, "", "", "IPv4 alone"},
		{"an IPv6 subnet", ipam.RequestPoolRequest{Pool: "fd00::/64"}, "", "", "invalid CIDR"},
		{"nothing", ipam.RequestPoolRequest{}, "", "", "give --subnet and --gateway, or set default_address_pools"},
		{"an unknown option", ipam.RequestPoolRequest{Pool: "10.20.3.0/24", Options: map[string]string{"swicth": "x"}}, "", "", `unknown option --ipam-opt swicth=x; did you mean "switch"?`},
		{"options of Docker's own", ipam.RequestPoolRequest{Pool: "10.20.3.0/24", Options: map[string]string{"com.docker.network.ipam.serial": "true", "RequestAddressType": "x"}}, "10.20.3.0/24", "", ""},
		{"a switch and its subnet", ipam.RequestPoolRequest{Pool: "10.0.0.0/24", Options: sw("LS-A")}, "10.0.0.0/24", "10.0.0.1/24", ""},
		{"a switch and another subnet", ipam.RequestPoolRequest{Pool: "10.0.1.0/24", Options: sw("LS-A")}, "", "", "subnet 10.0.1.0/24 is not that of switch LS-A"},
		{"one of two", ipam.RequestPoolRequest{Pool: "10.2.2.0/24", Options: sw("LS-two")}, "10.2.2.0/24", "10.2.2.1/24", ""},
		{"which of two", ipam.RequestPoolRequest{Options: sw("LS-two")}, "", "", "several networks, 10.1.1.0/24 and 10.2.2.0/24: say which one is meant by --subnet"},
		{"a switch without a router", ipam.RequestPoolRequest{Options: sw("LS-lone")}, "", "", "switch LS-lone is linked to no router"},
		{"a switch that is not there", ipam.RequestPoolRequest{Options: sw("LS-x")}, "", "", "switch LS-x not found: make it with tpctl ls add LS-x"},
		{"a switch of no name", ipam.RequestPoolRequest{Options: sw("a/b")}, "", "", `--ipam-opt switch: invalid name "a/b"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := d.RequestPool(&tt.r)
			if tt.error != "" {
				wantError(t, err, tt.error)
			} else if err != nil || a.PoolID != tt.id || a.Data[gatewayKey] != tt.gw || !strings.HasPrefix(tt.id, a.Pool) {
				t.Errorf("got %+v, %v", a, err)
			}
		})
	}
	b.wantReservations()
}

// Docker goes on asking for a subnet until it likes one; a switch has but one.
func TestPoolOfSwitch(t *testing.T) {
	d, b := newIPAM(t)
	request := &ipam.RequestPoolRequest{Options: map[string]string{"switch": "LS-A"}}
	a, err := d.RequestPool(request)
	if err != nil || a.PoolID != "10.0.0.0/24" || a.Data[gatewayKey] != "10.0.0.1/24" {
		t.Fatalf("got %+v, %v", a, err)
	}
	_, err = d.RequestPool(request)
	wantError(t, err, "subnet 10.0.0.0/24 of switch LS-A was given to Docker on this host just now", "say --subnet 10.0.0.0/24, too")
	if _, err := b.ipamOf("hv2").RequestPool(request); err != nil {
		t.Errorf("another host: %v", err)
	}
	if err := d.ReleasePool(&ipam.ReleasePoolRequest{PoolID: a.PoolID}); err != nil {
		t.Error(err)
	}
	// A network ends it, and the next one may be on the same switch.
	for i := range 3 {
		if _, err := d.RequestPool(request); err != nil {
			t.Error(err)
		}
		b.makeNetwork(store.Network{ID: id(fmt.Sprint("n", i)), Switch: "LS-A", Subnet: netip.MustParsePrefix("10.0.0.0/24"), Scope: store.ScopeLocal})
	}
	b.wantReservations()
}

func TestFreePool(t *testing.T) {
	pools := []AddressPool{{netip.MustParsePrefix("10.0.0.0/23"), 24}, {netip.MustParsePrefix("10.64.0.0/25"), 26}}
	d, b := newIPAM(t, func(c *Config) { c.AddressPools = pools })
	var last string
	for _, want := range []string{"10.0.1.0/24", "10.64.0.0/26", "10.64.0.64/26"} { // LR has 10.0.0.0/24
		a, err := d.RequestPool(&ipam.RequestPoolRequest{})
		if err != nil || a.PoolID != want || a.Pool != want || a.Data[gatewayKey] != netip.PrefixFrom(netip.MustParsePrefix(want).Addr().Next(), netip.MustParsePrefix(want).Bits()).String() {
			t.Errorf("got %+v, %v, want %s", a, err, want)
		}
		last = want
	}
	_, err := d.RequestPool(&ipam.RequestPoolRequest{})
	wantError(t, err, "all subnets of default_address_pools", "docker network prune")
	release := func(d ipamDriver) {
		t.Helper()
		if err := d.ReleasePool(&ipam.ReleasePoolRequest{PoolID: last}); err != nil {
			t.Error(err)
		}
	}
	release(b.ipamOf("hv2"))
	b.wantReservations("10.0.1.0/24 hv1", "10.64.0.0/26 hv1", "10.64.0.64/26 hv1")
	release(d)
	release(d)
	b.wantReservations("10.0.1.0/24 hv1", "10.64.0.0/26 hv1")
	wantError(t, d.ReleasePool(&ipam.ReleasePoolRequest{PoolID: "x"}), `invalid pool "x"`)
}

// The gateway that nobody names is one that the egress router can have: it tells
// its ports apart by the last two numbers, and has 10.0.0.1.
func TestGatewayChosen(t *testing.T) {
	d, b := newIPAM(t, central, func(c *Config) {
		c.AddressPools = []AddressPool{{netip.MustParsePrefix("10.64.0.0/16"), 24}, {netip.MustParsePrefix("10.65.0.0/30"), 30}}
	})
	b.plugin.self = "hv1"
	for _, want := range []string{"10.64.0.2/24", "10.64.1.1/24"} {
		a, err := d.RequestPool(&ipam.RequestPoolRequest{})
		if err != nil || a.Data[gatewayKey] != want {
			t.Fatalf("got %+v, %v, want the gateway %s", a, err, want)
		}
		b.must("NetworkDriver.CreateNetwork", networkRequest(a.Pool, a.Pool, a.Data[gatewayKey]), nil)
	}
	b.must("NetworkDriver.CreateNetwork", networkRequest("null", "0.0.0.0/0", "", "subnet=10.67.0.0/24"), nil)
	if n := b.record("null"); n.Gateway.String() != "10.67.0.3" {
		t.Errorf("with --ipam-driver null the gateway is %s", n.Gateway)
	}
	for pool, want := range map[string]string{"10.68.0.0/24": "10.68.0.4/24", "10.68.5.0/24": "10.68.5.1/24",
		"10.0.0.0/24": "10.0.0.1/24", "10.67.0.0/24": "10.67.0.3/24"} { // those are switches' that are there
		a, err := d.RequestAddress(&ipam.RequestAddressRequest{PoolID: pool, Options: map[string]string{addressType: gatewayKey}})
		if err != nil || a.Address != want {
			t.Errorf("%s: got %+v, %v, want %s", pool, a, err, want)
		}
	}

	d.cfg.AddressPools = d.cfg.AddressPools[1:]
	_, err := d.RequestPool(&ipam.RequestPoolRequest{})
	wantError(t, err, "router LR can have no address in 10.65.0.0/30", "take a wider subnet")
	b.wantReservations()
}

func TestRequestAddress(t *testing.T) {
	d, b := newIPAM(t)
	other := b.ipamOf("hv2")
	const pool = "10.0.0.0/24"
	b.makeNetwork(store.Network{ID: id("n1"), Name: "web", Switch: "LS-A", Subnet: netip.MustParsePrefix(pool), Gateway: netip.MustParseAddr("10.0.0.1"), Scope: store.ScopeLocal, Chassis: "hv1"})
	want := func(d ipamDriver, pool, address, want string) {
		t.Helper()
		if got, err := d.get(pool, address); got != want {
			t.Errorf("%s: got %q, %v, want %s", address, got, err, want)
		}
	}
	want(d, pool, "", "10.0.0.2")
	want(other, pool, "", "10.0.0.3")
	want(d, pool, "", "10.0.0.4")
	want(d, pool, "10.0.0.9", "10.0.0.9")
	want(d, pool+" 10.0.0.128/25", "", "10.0.0.128")
	want(d, pool+" 10.0.0.128/25", "10.0.0.10", "10.0.0.10") // it was asked for
	for address, says := range map[string]string{
		"10.0.0.1": "the gateway of Docker network web", "10.0.0.3": "Docker on host hv2 has it", "10.0.0.0": "the network's own",
		"10.0.0.255": "broadcast address", "10.0.1.1": "not in the subnet 10.0.0.0/24", "fd00::1": "invalid IP", "x": "invalid IP",
	} {
		_, err := d.get(pool, address)
		wantError(t, err, address, says)
	}
	// One that was given back is not the next one.
	if err := d.give(pool, "10.0.0.4"); err != nil {
		t.Error(err)
	}
	if err := d.give(pool, "10.0.0.3"); err != nil { // another host's
		t.Error(err)
	}
	want(d, pool, "", "10.0.0.5")
	b.wantReservations("10.0.0.10 hv1", "10.0.0.128 hv1", "10.0.0.2 hv1", "10.0.0.3 hv2", "10.0.0.5 hv1", "10.0.0.9 hv1")

	gateway := func(address string) (string, error) {
		a, err := d.RequestAddress(&ipam.RequestAddressRequest{PoolID: pool, Address: address, Options: map[string]string{addressType: gatewayKey}})
		if err != nil {
			return "", err
		}
		return a.Address, nil
	}
	for address, want := range map[string]string{"": "10.0.0.1/24", "10.0.0.254": "10.0.0.254/24"} {
		if got, err := gateway(address); got != want {
			t.Errorf("the gateway is %s, %v", got, err)
		}
	}
	_, err := gateway("10.0.1.1")
	wantError(t, err, "not in the subnet")
	for _, bad := range []string{"", "10.0.0.0", "10.0.0.0/24 10.1.0.0/25", "10.0.0.0/8", "LocalDefault/10.0.0.0/24"} {
		_, err := d.get(bad, "")
		wantError(t, err, "invalid pool")
		wantError(t, d.give(bad, "10.0.0.1"), "invalid pool")
	}
	wantError(t, d.give(pool, "10.1.0.1"), "not in the subnet")
}

func TestRequestAddressOfFullSubnet(t *testing.T) {
	d, b := newIPAM(t)
	const pool = "10.9.0.0/30"
	b.makeNetwork(store.Network{ID: id("n1"), Switch: "LS-A", Subnet: netip.MustParsePrefix(pool), Gateway: netip.MustParseAddr("10.9.0.1"), Scope: store.ScopeLocal})
	if got, err := d.get(pool, ""); got != "10.9.0.2/30" {
		t.Errorf("got %s, %v", got, err)
	}
	_, err := d.get(pool, "")
	wantError(t, err, "no free address in 10.9.0.0/30", "tpctl lsp show", "wider subnet")
	if err := d.give(pool, "10.9.0.2"); err != nil {
		t.Error(err)
	}
	if got, err := d.get(pool, ""); got != "10.9.0.2/30" {
		t.Errorf("the only one is %s, %v", got, err)
	}
}

// A container gives its address back after its port has gone, when the next one
// may have it already.
func TestAddressGivenBackLate(t *testing.T) {
	d, b := newIPAM(t)
	const pool, ip = "10.0.0.0/24", "10.0.0.9"
	b.makeNetwork(store.Network{ID: id("n1"), Switch: "LS-A", Subnet: netip.MustParsePrefix(pool), Scope: store.ScopeLocal})
	addr := netip.MustParseAddr(ip)
	port := topology.SwitchPort{Switch: "LS-A", Name: "e1", IP: addr, MAC: topology.MACFromIP(addr)}
	if _, err := d.get(pool, ip); err != nil {
		t.Fatal(err)
	}
	b.create(port)
	if err := b.store.ReleaseAddress(t.Context(), netip.MustParsePrefix(pool), addr, ""); err != nil {
		t.Fatal(err)
	}
	if err := b.store.Delete(t.Context(), port.Key(), false); err != nil {
		t.Fatal(err)
	}
	if _, err := d.get(pool, ip); err != nil {
		t.Fatal(err)
	}
	if err := d.give(pool, ip); err != nil { // the first one's
		t.Error(err)
	}
	b.wantReservations(ip + " hv1")
	if err := d.give(pool, ip); err != nil {
		t.Error(err)
	}
	b.wantReservations()

	// An engine that was started anew does not give back what it had before.
	if _, err := d.get(pool, ip); err != nil {
		t.Fatal(err)
	}
	d.given.forget(t.Context())
	if err := d.give(pool, ip); err != nil {
		t.Error(err)
	}
	b.wantReservations()
}

// In a swarm the manager gives an address, the worker asks for it again, and so
// does the next manager, who may give it back.
func TestAddressOfSwarm(t *testing.T) {
	manager, b := newIPAM(t)
	worker, next := b.ipamOf("hv2"), b.ipamOf("hv3")
	const pool = "10.0.0.0/24"
	b.makeNetwork(store.Network{ID: id("n1"), Switch: "LS-A", Subnet: netip.MustParsePrefix(pool), Scope: store.ScopeSwarm})
	ip, err := manager.get(pool, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []ipamDriver{worker, next, manager} {
		if got, err := d.get(pool, ip); got != ip {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if other, err := next.get(pool, ""); err != nil || other == ip {
		t.Errorf("got %s, %v", other, err)
	}
	b.wantReservations("10.0.0.2 hv1", "10.0.0.3 hv3")
	if err := next.give(pool, ip); err != nil {
		t.Error(err)
	}
	b.wantReservations("10.0.0.3 hv3")
	// A manager that leads again asks again for what it gave, and gives it back once.
	if _, err := next.get(pool, "10.0.0.3"); err != nil {
		t.Error(err)
	}
	if err := next.give(pool, "10.0.0.3"); err != nil {
		t.Error(err)
	}
	b.wantReservations()
}

// What cannot be given back now is looked for again.
func TestReleaseWithoutEtcd(t *testing.T) {
	_, b := newIPAM(t)
	st, err := store.New(store.Config{Endpoints: []string{b.endpoint}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	st.Close() // and fails at once
	p := New(b.plugin.cfg, st, slog.New(slog.DiscardHandler))
	p.self = "hv1"
	d := ipamDriver{p}
	for what, release := range map[string]func() error{
		"address": func() error { return d.give("10.0.0.0/24", "10.0.0.2") },
		"pool":    func() error { return d.ReleasePool(&ipam.ReleasePoolRequest{PoolID: "10.0.0.0/24"}) },
	} {
		if release() == nil {
			t.Errorf("the %s was given back", what)
		}
		select {
		case <-d.again:
		default:
			t.Errorf("nobody looks again for the %s", what)
		}
	}
}

// Several hosts with one network ask for addresses and give them back, make
// endpoints and remove them, all at the same time and in any order. An address has
// one holder at a time: the container that Docker was given it for.
func TestNoAddressIsGivenTwice(t *testing.T) {
	const hosts, containers, rounds = 5, 3, 40
	_, b := newIPAM(t)
	const pool = "10.0.0.0/27" // few, so that they are used again
	subnet := netip.MustParsePrefix(pool)
	b.makeNetwork(store.Network{ID: id("n1"), Switch: "LS-A", Subnet: subnet, Gateway: netip.MustParseAddr("10.0.0.1"), Scope: store.ScopeLocal})
	var mu sync.Mutex
	holder := map[string]string{}
	var all sync.WaitGroup
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	given := 0
	for h := range hosts {
		st, err := store.Open(t.Context(), store.Config{Endpoints: []string{b.endpoint}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		p := New(b.plugin.cfg, st, slog.New(slog.DiscardHandler))
		p.self = fmt.Sprint("hv", h)
		d := ipamDriver{p}
		for c := range containers {
			random := rand.New(rand.NewPCG(seed, uint64(h*containers+c)))
			all.Go(func() {
				for round := range rounds {
					name := fmt.Sprintf("e-%d-%d-%d", h, c, round)
					wanted := ""
					if random.IntN(2) == 0 {
						wanted = fmt.Sprintf("10.0.0.%d", 2+random.IntN(29))
					}
					got, err := d.get(pool, wanted)
					if err != nil {
						if wanted == "" || !strings.Contains(err.Error(), "conflict with other IP") {
							t.Errorf("%s: %v", name, err)
							return
						}
						continue
					}
					ip := netip.MustParsePrefix(got).Addr()
					mu.Lock()
					given++
					if other := holder[ip.String()]; other != "" {
						t.Errorf("%s is given to %s, and %s has it", ip, name, other)
					}
					holder[ip.String()] = name
					mu.Unlock()
					gone := func() {
						mu.Lock()
						delete(holder, ip.String())
						mu.Unlock()
					}
					if random.IntN(3) == 0 { // it comes to no endpoint
						gone()
					} else {
						port := topology.SwitchPort{Switch: "LS-A", Name: name, IP: ip, MAC: topology.MACFromIP(ip), Chassis: p.self}
						if _, err := st.Create(t.Context(), port); err != nil {
							t.Errorf("%s: %v", name, err)
							return
						}
						if err := st.ReleaseAddress(t.Context(), subnet, ip, ""); err != nil {
							t.Error(err)
						}
						gone()
						if err := st.Delete(t.Context(), port.Key(), false); err != nil {
							t.Error(err)
						}
					}
					if err := d.give(pool, ip.String()); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	all.Wait()
	if given < hosts*containers*rounds/2 {
		t.Errorf("only %d addresses were given", given)
	}
	b.wantReservations()
	b.wantPorts("LS-A", "LS-A_to_LR 10.0.0.1")
}

// An address of a /16 that has 20,000 ports.
func BenchmarkRequestAddress20000(b *testing.B) {
	d, bed := newIPAM(b)
	const pool = "10.20.0.0/16"
	gateway := netip.MustParseAddr("10.20.0.1")
	bed.makeNetwork(store.Network{ID: id("n1"), Switch: id("n1"), Made: true, Subnet: netip.MustParsePrefix(pool), Gateway: gateway, Scope: store.ScopeLocal})
	ip := gateway
	for range 20_000 / 100 {
		var ports []topology.Stored
		for range 100 {
			ip = ip.Next()
			ports = append(ports, topology.SwitchPort{Switch: id("n1"), Name: "e-" + ip.String(), IP: ip, MAC: topology.MACFromIP(ip), Chassis: "hv1"})
		}
		bed.create(ports...)
	}
	for b.Loop() {
		a, err := d.RequestAddress(&ipam.RequestAddressRequest{PoolID: pool})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := d.give(pool, netip.MustParsePrefix(a.Address).Addr().String()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
