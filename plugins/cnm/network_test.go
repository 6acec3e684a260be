package cnm

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"cni.tuplenet/attach"
	"github.com/docker/go-plugins-helpers/network"
	"github.com/google/go-cmp/cmp"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// newNetworkBed is a bed without an agent, on a host that is hv1 all the same.
func newNetworkBed(t testing.TB, edit ...func(*Config)) *bed {
	t.Helper()
	b := newStoreBed(t, edit...)
	b.plugin.self = "hv1"
	return b
}

func central(c *Config) { c.EgressRouter = "LR" }

// The network that the tutorial makes: on a switch of its own, linked to the
// egress router.
func TestNetwork(t *testing.T) {
	b := newNetworkBed(t, central)
	request := networkRequest("net", "10.20.3.0/24", "10.20.3.1/24")
	for range 2 { // Docker asks again if it has not heard the answer
		b.must("NetworkDriver.CreateNetwork", request, nil)
	}
	want := store.Network{ID: id("net"), Switch: id("net"), Made: true, Router: "LR", Subnet: netip.MustParsePrefix("10.20.3.0/24"),
		Gateway: netip.MustParseAddr("10.20.3.1"), Secured: true, Scope: store.ScopeLocal, Chassis: "hv1"}
	if got := b.record("net"); got != want {
		t.Errorf("the record is %+v\nwant %+v", got, want)
	}
	b.wantPorts(id("net"), "to_LR 10.20.3.1")
	e, err := b.store.Get(t.Context(), topology.RouterPort{Router: "LR", Name: "to_" + id("net")}.Key())
	if port, ok := e.(topology.RouterPort); err != nil || !ok || port.Net != netip.MustParsePrefix("10.20.3.1/24") || port.Peer != "to_LR" {
		t.Errorf("the router's port is %+v (%v)", e, err)
	}
	wantError(t, b.call("NetworkDriver.CreateNetwork", networkRequest("net", "10.20.4.0/24", ""), nil), "whose subnet is 10.20.3.0/24 and not 10.20.4.0/24")

	b.create(topology.SwitchPort{Switch: id("net"), Name: "vm", IP: netip.MustParseAddr("10.20.3.9"), MAC: topology.MAC{2, 0, 0, 0, 0, 9}})
	wantError(t, b.call("NetworkDriver.DeleteNetwork", named("net", ""), nil), "not empty", "vm")
	if !b.record("net").Freed {
		t.Error("Docker has forgotten the network, and nobody knows that")
	}
	if err := b.store.Delete(t.Context(), topology.SwitchPort{Switch: id("net"), Name: "vm"}.Key(), false); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		b.must("NetworkDriver.DeleteNetwork", named("net", ""), nil)
	}
	b.wantTopology()
}

// wantTopology checks that there is what there was in the beginning, and no more.
func (b *bed) wantTopology() {
	b.t.Helper()
	items, err := b.store.Everything(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	var got []string
	for _, i := range items {
		if i.Role == store.Object || i.Role == store.Docker {
			got = append(got, strings.TrimPrefix(i.Path, "/tuplenet/"))
		}
	}
	want := []string{"entity_view/LR/LR", "entity_view/LR/LR/lrp/LR_to_LS-A", "entity_view/LS/LS-A", "entity_view/LS/LS-A/lsp/LS-A_to_LR"}
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Errorf("the store is not what it was (-want +got):\n%s", diff)
	}
}

func TestNetworkOptions(t *testing.T) {
	b := newNetworkBed(t, central, func(c *Config) { c.PortSecurity = new(bool) })
	second := netip.MustParsePrefix("10.0.0.254/24")
	b.create(topology.Router{Name: "LR-2"}, topology.Switch{Name: "bare"},
		topology.SwitchPort{Switch: "LS-A", Name: "LS-A_to_LR-2", IP: second.Addr(), MAC: topology.MACFromIP(second.Addr()), Peer: "LR-2_to_LS-A"},
		topology.RouterPort{Router: "LR-2", Name: "LR-2_to_LS-A", Net: second, MAC: topology.MACFromIP(second.Addr()), Peer: "LS-A_to_LR-2"})
	internal := networkRequest("internal", "10.20.4.0/24", "10.20.4.1/24")
	internal["Options"].(object)[internalKey] = true
	for _, test := range []struct {
		name    string
		request object
		want    string // what the record says
	}{
		{"switch", networkRequest("switch", "10.0.0.0/24", "10.0.0.1/24", "switch=LS-A"), "LS-A  10.0.0.0/24 10.0.0.1"},
		{"null", networkRequest("null", "0.0.0.0/0", "", "switch=LS-A", "mtu=1300", "port_security=on"), "LS-A  10.0.0.0/24 10.0.0.1 mtu 1300 secured"},
		{"bare", networkRequest("bare", "10.9.0.0/24", "", "switch=bare"), "bare  10.9.0.0/24 invalid IP"},
		{"router", networkRequest("router", "10.20.5.3/24", "10.20.5.254", "router=LR-2", "com.docker.network.driver.mtu=9000"), id("router") + " LR-2 10.20.5.0/24 10.20.5.254 mtu 9000"},
		{"second router", networkRequest("second router", "10.0.0.0/24", "10.0.0.254/24", "switch=LS-A"), "LS-A  10.0.0.0/24 10.0.0.254"},
		{"no router", networkRequest("no router", "10.20.6.0/24", "", "router="), id("no router") + "  10.20.6.0/24 10.20.6.1"},
		{"ours alone", networkRequest("ours alone", "", "", "subnet=10.20.7.0/24", "gateway=10.20.7.9", "com.docker.network.bridge.name=x"), id("ours alone") + " LR 10.20.7.0/24 10.20.7.9"},
		{"internal", internal, id("internal") + "  10.20.4.0/24 10.20.4.1 internal"},
	} {
		b.must("NetworkDriver.CreateNetwork", test.request, nil)
		n := b.record(test.name)
		got := fmt.Sprintf("%s %s %s %s", n.Switch, n.Router, n.Subnet, n.Gateway)
		if n.MTU != 0 {
			got += fmt.Sprint(" mtu ", n.MTU)
		}
		for word, is := range map[string]bool{" secured": n.Secured, " internal": n.Internal} {
			if is {
				got += word
			}
		}
		if got != test.want || n.Made != (n.Switch == n.ID) {
			t.Errorf("%s: the record is %s\nwant %s", test.name, got, test.want)
		}
		b.must("NetworkDriver.DeleteNetwork", named(test.name, ""), nil)
	}
	if _, err := b.store.Get(t.Context(), topology.Switch{Name: "bare"}.Key()); err != nil {
		t.Errorf("a switch that was there has gone with a network: %v", err)
	}
}

func TestNetworkRefused(t *testing.T) {
	b := newNetworkBed(t, central)
	third := netip.MustParsePrefix("10.8.0.7/24")
	link := topology.RouterPort{Router: "LR-3", Name: "LR-3_to_wide", Net: third, MAC: topology.MACFromIP(third.Addr()), Peer: "wide_to_LR-3"}
	other := topology.RouterPort{Router: "LR-3", Name: "LR-3_to_wide2", Net: netip.MustParsePrefix("10.9.0.8/24"), MAC: topology.MAC{2, 0, 0, 0, 0, 8}, Peer: "wide_to_LR-3b"}
	b.create(topology.Switch{Name: "bare"}, topology.Switch{Name: "wide"}, topology.Router{Name: "LR-3"}, link, other,
		topology.SwitchPort{Switch: "wide", Name: link.Peer, IP: third.Addr(), MAC: link.MAC, Peer: link.Name},
		topology.SwitchPort{Switch: "wide", Name: other.Peer, IP: other.Net.Addr(), MAC: other.MAC, Peer: other.Name})
	with := func(request object, key string, value any) object {
		request[key] = value
		return request
	}
	flag := func(request object, key string, value any) object {
		request["Options"].(object)[key] = value
		return request
	}
	const subnet, gateway = "10.20.3.0/24", "10.20.3.1/24"
	for _, test := range []struct {
		what    string
		request object
		words   []string
	}{
		{"an option is mistyped", networkRequest("net", subnet, gateway, "swich=LS-A"), []string{"-o swich=LS-A", `did you mean "switch"?`}},
		{"the MTU is none", networkRequest("net", subnet, gateway, "mtu=big"), []string{"-o mtu=big: want 68 to 65535 bytes"}},
		{"the MTU is too small", networkRequest("net", subnet, gateway, "mtu=20"), []string{"-o mtu=20: want 68 to 65535 bytes"}},
		{"port security is neither", networkRequest("net", subnet, gateway, "port_security=yes"), []string{"-o port_security=yes: want on or off"}},
		{"the switch's name is none", networkRequest("net", subnet, gateway, "switch=a/b"), []string{"-o switch=a/b"}},
		{"the switch is not there", networkRequest("net", subnet, gateway, "switch=LS-B"), []string{"switch LS-B not found", "tpctl ls add LS-B"}},
		{"switch and router", networkRequest("net", subnet, gateway, "switch=LS-A", "router=LR"), []string{"exclude each other", "tpctl lr link LR LS-A"}},
		{"the switch has another subnet", networkRequest("net", subnet, gateway, "switch=LS-A"), []string{"10.0.0.0/24", subnet, "--ipam-driver tuplenet --ipam-opt switch=LS-A", "--subnet 10.0.0.0/24 --gateway 10.0.0.1"}},
		{"the switch has another gateway", networkRequest("net", "10.0.0.0/24", "10.0.0.9/24", "switch=LS-A"), []string{"10.0.0.1, and not 10.0.0.9", "--gateway 10.0.0.1"}},
		{"the switch has no subnet", networkRequest("net", "", "", "switch=bare"), []string{"switch bare is linked to no router", "-o subnet="}},
		{"the switch has two subnets", networkRequest("net", "0.0.0.0/0", "", "switch=wide"), []string{"10.8.0.0/24 and 10.9.0.0/24", "-o subnet="}},
		{"the router is not there", networkRequest("net", subnet, gateway, "router=LR-9"), []string{"router LR-9", "not found", "tpctl lr add LR-9"}},
		{"the router has the subnet", networkRequest("net", "10.0.0.0/24", "10.0.0.1/24"), []string{"router LR has the network 10.0.0.0/24 already", "-o switch=LS-A"}},
		{"the router has a part of the subnet", networkRequest("net", "10.0.0.0/16", "10.0.7.1/16"), []string{"router LR has the network 10.0.0.0/24 already", "--subnet"}},
		{"the router takes two gateways for one", networkRequest("net", "10.1.0.0/24", "10.1.0.1/24"), []string{"10.1.0.1", "10.0.0.1", "give --subnet with another --gateway, or leave it to --ipam-driver tuplenet"}},
		{"another router takes two gateways for one", networkRequest("net", "10.1.0.0/24", "10.1.0.7/24", "router=LR-3"), []string{"10.8.0.7, another port of router LR-3 (LR-3_to_wide), which tells its ports apart by them: give --subnet with another --gateway"}},
		{"there is no subnet", networkRequest("net", "0.0.0.0/0", ""), []string{"no subnet", "-o subnet="}},
		{"the subnet is too wide", networkRequest("net", "10.0.0.0/8", "10.0.0.1/8"), []string{"wider than /16"}},
		{"the subnet is too small", networkRequest("net", "10.1.1.0/31", ""), []string{"10.1.1.0/31", "no room"}},
		{"the subnet is none", networkRequest("net", "10.1.1", ""), []string{"10.1.1"}},
		{"the gateway is none", networkRequest("net", subnet, "10.1"), []string{"gateway", "10.1"}},
		{"the gateway is outside", networkRequest("net", subnet, "10.1.0.1/24"), []string{"10.1.0.1", subnet}},
		{"the gateway is the network's address", networkRequest("net", subnet, "10.20.3.0/24"), []string{"10.20.3.0", "no address of a machine"}},
		{"a gateway alone", networkRequest("net", "0.0.0.0/0", "", "gateway=10.20.3.1"), []string{"needs a subnet", "-o subnet"}},
		{"the subnet is said twice", networkRequest("net", subnet, gateway, "subnet="+subnet), []string{"--ipam-driver null"}},
		{"there are two subnets", with(networkRequest("net", "", ""), "IPv4Data", []object{{"Pool": subnet}, {"Pool": "10.20.4.0/24"}}), []string{"2 subnets"}},
		{"a pool is null", with(networkRequest("net", "", ""), "IPv4Data", []any{nil}), []string{"null"}},
		{"there is a subnet of IPv6", with(networkRequest("net", subnet, gateway), "IPv6Data", []object{{"Pool": "fd00::/64"}}), []string{"IPv4 alone"}},
		{"it wants IPv6", flag(networkRequest("net", subnet, gateway), ipv6Key, true), []string{"IPv4 alone"}},
		{"internal, and with a router", flag(networkRequest("net", subnet, gateway, "router=LR"), internalKey, "true"), []string{"--internal and -o router=LR exclude each other"}},
		{"the options are none", flag(networkRequest("net", subnet, gateway), genericKey, "mtu"), []string{"no list of names and values"}},
		{"an option is a number", flag(networkRequest("net", subnet, gateway), genericKey, object{"mtu": 1300}), []string{"option -o mtu is no text"}},
		{"the id is none", with(networkRequest("net", subnet, gateway), "NetworkID", "a/b"), []string{"id of a Docker network", "a/b"}},
	} {
		t.Run(test.what, func(t *testing.T) {
			wantError(t, b.call("NetworkDriver.CreateNetwork", test.request, nil), test.words...)
		})
	}
	for _, key := range []topology.Key{{Kind: topology.KindSwitch, Name: "bare"}, {Kind: topology.KindSwitch, Name: "wide"}, {Kind: topology.KindRouter, Name: "LR-3"}} {
		if err := b.store.Delete(t.Context(), key, true); err != nil {
			t.Fatal(err)
		}
	}
	b.wantTopology()
}

// The manager of a swarm makes and frees a network; what its workers are told
// changes nothing.
func TestNetworkOfSwarm(t *testing.T) {
	b := newNetworkBed(t, central)
	allocate := object{"NetworkID": id("net"), "Options": object{"mtu": "1300"}, "IPv4Data": []object{{"Pool": "10.20.3.0/24", "Gateway": "10.20.3.1/24"}}}
	for range 2 { // the next leader asks again
		var made network.AllocateNetworkResponse
		b.must("NetworkDriver.AllocateNetwork", allocate, &made)
		if made.Options == nil {
			t.Error("Docker is told of no options, not even that there are none")
		}
	}
	b.plugin.mu.Lock()
	b.plugin.self = "hv2"
	b.plugin.mu.Unlock()
	request := networkRequest("net", "10.20.3.0/24", "10.20.3.1/24", "mtu=1300")
	request["Options"].(object)[internalKey] = true // of which the manager was not told
	b.must("NetworkDriver.CreateNetwork", request, nil)
	b.must("NetworkDriver.DeleteNetwork", named("net", ""), nil)
	if n := b.record("net"); n.Scope != store.ScopeSwarm || n.Chassis != "hv1" || n.MTU != 1300 || n.Router != "LR" || !n.Internal {
		t.Errorf("the record is %+v", n)
	}
	for range 2 {
		b.must("NetworkDriver.FreeNetwork", named("net", ""), nil)
	}
	b.wantTopology()
	wantError(t, b.call("NetworkDriver.AllocateNetwork", object{"NetworkID": id("net"), "Options": object{"mtuu": "1"}}, nil), `did you mean "mtu"?`)
}

// A network that another host has made may be removed here, and so may its
// networks on one switch.
func TestNetworkOfOthers(t *testing.T) {
	b := newNetworkBed(t, func(c *Config) { c.Scope = "global" })
	b.must("NetworkDriver.CreateNetwork", networkRequest("net", "10.20.3.0/24", "10.20.3.1/24"), nil)
	b.must("NetworkDriver.CreateNetwork", networkRequest("other", "10.20.3.0/24", "", "switch="+id("net")), nil)
	b.plugin.mu.Lock()
	b.plugin.self = "hv2"
	b.plugin.mu.Unlock()
	if n := b.record("net"); n.Scope != store.ScopeGlobal {
		t.Errorf("the record is %+v", n)
	}
	var can network.CapabilitiesResponse
	b.must("NetworkDriver.GetCapabilities", nil, &can)
	if can != (network.CapabilitiesResponse{Scope: "global", ConnectivityScope: "global"}) {
		t.Errorf("the driver can %+v", can)
	}
	wantError(t, b.call("NetworkDriver.DeleteNetwork", named("net", ""), nil), "not empty", id("other"))
	b.must("NetworkDriver.DeleteNetwork", named("other", ""), nil)
	b.must("NetworkDriver.DeleteNetwork", named("net", ""), nil)
	b.wantTopology()
}

// leaving is a log that ends a call of Docker's when a network has been made.
type leaving struct {
	slog.Handler
	leave func()
}

func (l leaving) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "network made" {
		l.leave()
	}
	return l.Handler.Handle(ctx, r)
}

// A network that Docker does not wait for is not made: nobody would remove it.
func TestNetworkOfNobody(t *testing.T) {
	b := newNetworkBed(t, central)
	ctx, cancel := context.WithCancel(t.Context())
	p := New(b.plugin.cfg, b.store, slog.New(leaving{b.plugin.log.Handler(), cancel}))
	p.self = "hv1"
	body, err := json.Marshal(networkRequest("net", "10.20.3.0/24", "10.20.3.1/24"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = methods["NetworkDriver.CreateNetwork"](ctx, p, body)
	wantError(t, err, "given up", "Docker does not wait")
	b.wantTopology()
}

// An agent that does not answer delays a call as long as that waits, and not by
// what others wait.
func TestAgentHangs(t *testing.T) {
	b := newStoreBed(t)
	l, err := net.Listen("unix", filepath.Join(b.runDir, attach.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 3)
	for range cap(ended) {
		go func() { _, err := b.plugin.chassis(ctx); ended <- err }()
		if _, err := l.Accept(); err != nil { // each asks, though none is answered
			t.Fatal(err)
		}
	}
	cancel()
	for range cap(ended) {
		wantError(t, <-ended, "which chassis this host is", "the agent of this host has not answered in time")
	}
}

func TestNetworkWithoutAgent(t *testing.T) {
	b := newStoreBed(t)
	err := b.call("NetworkDriver.CreateNetwork", networkRequest("net", "10.20.3.0/24", "10.20.3.1/24"), nil)
	wantError(t, err, "which chassis this host is", "no agent of TupleNet answers")
	b.wantTopology()
}
