package cnm

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/docker/go-plugins-helpers/network"
	"github.com/vishvananda/netlink"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// endpoint names an endpoint in a call.
func named(network, endpoint string) object {
	return object{"NetworkID": id(network), "EndpointID": id(endpoint), "SandboxKey": "/var/run/docker/netns/x"}
}

// with returns a request for an endpoint with a MAC.
func withMAC(request object, mac string) object {
	request["Interface"].(object)["MacAddress"] = mac
	return request
}

// onSwitch makes a network on LS-A.
func (b *bed) onSwitch(name string, options ...string) {
	b.t.Helper()
	b.must("NetworkDriver.CreateNetwork", networkRequest(name, "10.0.0.0/24", "10.0.0.1/24", append(options, "switch=LS-A")...), nil)
}

// owner is what the owner of an endpoint's port is named.
func owner(network, endpoint string) string {
	return fmt.Sprintf("cnm:%s/%s/eth", id(network), id(endpoint))
}

func (b *bed) wantNothing() {
	b.t.Helper()
	b.wantPorts("LS-A", "LS-A_to_LR 10.0.0.1")
	if left := devices(b.t); len(left) > 0 {
		b.t.Errorf("there are interfaces left: %q", left)
	}
}

func TestEndpoint(t *testing.T) {
	b := newBed(t)
	b.onSwitch("net", "mtu=1300")
	if _, err := b.store.ReserveAddress(t.Context(), netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("10.0.0.0/24"), netip.MustParseAddr("10.0.0.7"), netip.Addr{}, "hv1"); err != nil {
		t.Fatal(err)
	}
	var made network.CreateEndpointResponse
	b.must("NetworkDriver.CreateEndpoint", endpointRequest("net", "ep", "10.0.0.7/24"), &made)
	if want := (network.EndpointInterface{MacAddress: "f2:01:0a:00:00:07"}); made.Interface == nil || *made.Interface != want {
		t.Errorf("the endpoint is answered with %+v, want %+v", made.Interface, want)
	}
	b.wantPorts("LS-A", id("ep")+" 10.0.0.7 "+owner("net", "ep"), "LS-A_to_LR 10.0.0.1")
	e, err := b.store.Get(t.Context(), topology.SwitchPort{Switch: "LS-A", Name: id("ep")}.Key())
	if port, ok := e.(topology.SwitchPort); err != nil || !ok || !port.Secured || port.Chassis != "hv1" {
		t.Errorf("the port is %+v (%v), want one of hv1, secured", e, err)
	}
	if held, err := b.store.Reservations(t.Context()); err != nil || len(held) > 0 {
		t.Errorf("there are reservations though a port has the address: %v (%v)", held, err)
	}

	var join network.JoinResponse
	b.must("NetworkDriver.Join", named("net", "ep"), &join)
	end, err := netlink.LinkByName(join.InterfaceName.SrcName)
	if err != nil {
		t.Fatal(err)
	}
	other, err := netlink.LinkByIndex(end.Attrs().ParentIndex)
	if err != nil || end.Attrs().MTU != 1300 || other.Attrs().MTU != 1300 {
		t.Errorf("the ends are %+v and %+v (%v), want MTUs of 1300", end, other, err)
	}
	if device := endpointID(id("net"), id("ep")).Device(); other.Attrs().Name != device || !strings.Contains(b.ovs.Vsctl("get", "Interface", device, "external_ids"), "iface-id="+fmt.Sprintf("%q", id("ep"))) {
		t.Errorf("the host's end %s is not plugged into the port", other.Attrs().Name)
	}
	if join.Gateway != "10.0.0.1" || join.InterfaceName.DstPrefix != "eth" || join.DisableGatewayService {
		t.Errorf("Join is answered with %+v", join)
	}
	b.must("NetworkDriver.EndpointOperInfo", named("net", "ep"), nil)
	b.must("NetworkDriver.ProgramExternalConnectivity", named("net", "ep"), nil)

	for range 2 { // the second time there is none
		b.must("NetworkDriver.Leave", named("net", "ep"), nil)
		b.must("NetworkDriver.DeleteEndpoint", named("net", "ep"), nil)
		b.wantNothing()
	}
	wantError(t, b.call("NetworkDriver.Join", named("net", "ep"), nil), "has no interface on this host")
}

func TestEndpointLeftToTheDriver(t *testing.T) {
	b := newBed(t)
	b.must("NetworkDriver.CreateNetwork", networkRequest("net", "0.0.0.0/0", "", "subnet=10.1.0.0/29", "port_security=off"), nil)
	subnet := netip.MustParsePrefix("10.1.0.0/29")
	if _, err := b.store.ReserveAddress(t.Context(), subnet, subnet, netip.MustParseAddr("10.1.0.2"), netip.Addr{}, "hv2"); err != nil {
		t.Fatal(err)
	}
	// 10.1.0.1 is the gateway, and 10.1.0.2 was given to somebody.
	var all sync.WaitGroup
	addresses := make([]string, 4)
	for i := range addresses {
		all.Go(func() {
			var made network.CreateEndpointResponse
			b.must("NetworkDriver.CreateEndpoint", endpointRequest("net", fmt.Sprint("ep", i), ""), &made)
			addresses[i] = made.Interface.Address
			if made.Interface.MacAddress == "" {
				t.Errorf("endpoint %s has no MAC", made.Interface.Address)
			}
		})
	}
	all.Wait()
	slices.Sort(addresses)
	if want := "10.1.0.3/29 10.1.0.4/29 10.1.0.5/29 10.1.0.6/29"; strings.Join(addresses, " ") != want {
		t.Errorf("four endpoints have %q, want %s", addresses, want)
	}
	wantError(t, b.call("NetworkDriver.CreateEndpoint", endpointRequest("net", "one more", ""), nil), "has no free address in 10.1.0.0/29")
	var join network.JoinResponse
	b.must("NetworkDriver.Join", named("net", "ep0"), &join)
	if join.Gateway != "" || !join.DisableGatewayService {
		t.Errorf("without a router Join is answered with %+v, want no gateway, nor one of Docker's", join)
	}
	firewall := topology.SwitchPort{Switch: id("net"), Name: "firewall", IP: netip.MustParseAddr("10.1.0.1"), MAC: topology.MAC{2, 0, 0, 0, 0, 1}}
	b.create(firewall)
	b.eventually("a gateway that is no router is one", func() bool {
		b.must("NetworkDriver.Join", named("net", "ep0"), &join)
		return join.Gateway == "10.1.0.1"
	})
	if err := b.store.Delete(t.Context(), firewall.Key(), false); err != nil {
		t.Fatal(err)
	}
	e, err := b.store.Get(t.Context(), topology.SwitchPort{Switch: id("net"), Name: id("ep0")}.Key())
	if port, ok := e.(topology.SwitchPort); err != nil || !ok || port.Secured {
		t.Errorf("the port is %+v (%v), want one that is not secured", e, err)
	}
	for i := range addresses {
		b.must("NetworkDriver.DeleteEndpoint", named("net", fmt.Sprint("ep", i)), nil)
	}
	b.must("NetworkDriver.DeleteNetwork", named("net", ""), nil)
}

func TestEndpointRefused(t *testing.T) {
	b := newBed(t)
	b.onSwitch("net")
	b.must("NetworkDriver.CreateEndpoint", withMAC(endpointRequest("net", "first", "10.0.0.7/24"), "02:00:00:00:00:07"), nil)
	for _, test := range []struct {
		what    string
		request object
		words   []string
	}{
		{"its address is another's", endpointRequest("net", "ep", "10.0.0.7/24"), []string{"address 10.0.0.7 belongs to", owner("net", "first"), "--ipam-driver tuplenet"}},
		{"its MAC is another's", withMAC(endpointRequest("net", "ep", "10.0.0.8/24"), "02:00:00:00:00:07"), []string{"MAC 02:00:00:00:00:07 belongs to"}},
		{"its MAC is none", withMAC(endpointRequest("net", "ep", "10.0.0.8/24"), "02:00"), []string{"02:00"}},
		{"its address is the gateway's", endpointRequest("net", "ep", "10.0.0.1/24"), []string{"address 10.0.0.1 is the gateway of 10.0.0.0/24"}},
		{"its address is outside", endpointRequest("net", "ep", "10.9.0.8/24"), []string{"10.9.0.8/24 is not in the network's subnet 10.0.0.0/24"}},
		{"its address is none", endpointRequest("net", "ep", "10.9.0"), []string{"invalid CIDR"}},
		{"its network is unknown", endpointRequest("other", "ep", "10.0.0.8/24"), []string{topology.ShortDockerID(id("other")), "not found", "docker network rm"}},
		{"its id is none", object{"NetworkID": id("net"), "EndpointID": "a/b"}, []string{"id of the endpoint", "a/b"}},
		{"its id cannot stand in an owner", object{"NetworkID": id("net"), "EndpointID": "a,b"}, []string{"a,b"}},
		{"its network's id is none", object{"NetworkID": "", "EndpointID": id("ep")}, []string{"id of a Docker network"}},
		{"it wants IPv6", object{"NetworkID": id("net"), "EndpointID": id("ep"), "Interface": object{"AddressIPv6": "fd00::1/64"}}, []string{"IPv4 alone"}},
	} {
		t.Run(test.what, func(t *testing.T) {
			wantError(t, b.call("NetworkDriver.CreateEndpoint", test.request, nil), test.words...)
		})
	}
	published := named("net", "first")
	published["Options"] = object{publishedKey: []object{{"Proto": 6, "Port": 80, "HostPort": 80}}}
	wantError(t, b.call("NetworkDriver.ProgramExternalConnectivity", published, nil), "leave -p", "tpctl lnat add")
	if got := devices(t); len(got) != 2 {
		t.Errorf("the interfaces are %q, want those of the first endpoint alone", got)
	}
	b.must("NetworkDriver.DeleteEndpoint", named("net", "first"), nil)
	b.wantNothing()
}

// An endpoint of which Docker has not heard, as the plugin was killed, is made
// anew; one that a container has is not.
func TestEndpointThatIsThere(t *testing.T) {
	b := newBed(t)
	b.onSwitch("net")
	for range 2 {
		b.must("NetworkDriver.CreateEndpoint", endpointRequest("net", "ep", "10.0.0.7/24"), nil)
	}
	container := exec.Command("sleep", "60")
	container.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := container.Start(); err != nil {
		t.Fatal(err)
	}
	defer container.Wait()
	defer container.Process.Kill()
	end, err := netlink.LinkByName(containerEnd(endpointID(id("net"), id("ep"))))
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetNsPid(end, container.Process.Pid); err != nil {
		t.Fatal(err)
	}
	wantError(t, b.call("NetworkDriver.CreateEndpoint", endpointRequest("net", "ep", "10.0.0.7/24"), nil), "already")
	b.wantPorts("LS-A", id("ep")+" 10.0.0.7 "+owner("net", "ep"), "LS-A_to_LR 10.0.0.1")
	b.must("NetworkDriver.DeleteEndpoint", named("net", "ep"), nil)
	b.wantNothing()
}

// What Docker does not wait for is not made.
func TestEndpointOfNobody(t *testing.T) {
	b := newBed(t)
	b.onSwitch("net")
	b.ovs.PauseVswitchd()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		body := fmt.Sprintf(`{"NetworkID": %q, "EndpointID": %q, "Interface": {"Address": "10.0.0.7/24"}}`, id("net"), id("ep"))
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://plugin/NetworkDriver.CreateEndpoint", strings.NewReader(body))
		if err == nil {
			_, err = b.client.Do(r)
		}
		ended <- err
	}()
	b.eventually("the endpoint's port is there", func() bool { return len(b.ports("LS-A")) == 2 })
	cancel()
	if err := <-ended; err == nil {
		t.Error("the call was answered")
	}
	b.ovs.ResumeVswitchd()
	b.eventually("all is taken back", func() bool { return len(b.ports("LS-A")) == 1 && len(devices(t)) == 0 })
	// The endpoint's lock is free again.
	b.must("NetworkDriver.CreateEndpoint", endpointRequest("net", "ep", "10.0.0.7/24"), nil)
	b.must("NetworkDriver.DeleteEndpoint", named("net", "ep"), nil)
	b.wantNothing()
}

func TestEndpointWithoutAgent(t *testing.T) {
	b := newBed(t)
	b.onSwitch("net")
	b.must("NetworkDriver.CreateEndpoint", endpointRequest("net", "ep", "10.0.0.7/24"), nil)
	b.stop()
	wantError(t, b.call("NetworkDriver.CreateEndpoint", endpointRequest("net", "other", "10.0.0.8/24"), nil), "no agent of TupleNet answers", "rundir")
	b.must("NetworkDriver.DeleteEndpoint", named("net", "ep"), nil)
	if left := devices(t); len(left) > 0 {
		t.Errorf("there are interfaces left: %q", left)
	}
	// The simulated datapath does not notice that a device has gone.
	b.ovs.Vsctl("del-port", endpointID(id("net"), id("ep")).Device())
	// It is waited for while it starts, as Docker may start its containers before it.
	var starting sync.WaitGroup
	starting.Go(func() { b.must("NetworkDriver.CreateEndpoint", endpointRequest("net", "early", "10.0.0.9/24"), nil) })
	b.startAgent()
	starting.Wait()
	b.must("NetworkDriver.DeleteEndpoint", named("net", "early"), nil)
	b.eventually("the agent has taken the port back", func() bool { return len(b.ports("LS-A")) == 1 })
}

func TestEndpointWithoutEtcd(t *testing.T) {
	b := newBed(t)
	b.onSwitch("net")
	b.must("NetworkDriver.CreateEndpoint", endpointRequest("net", "ep", "10.0.0.7/24"), nil)
	b.etcd.Stop()
	begun := time.Now()
	var all sync.WaitGroup
	for method, request := range map[string]object{
		"CreateEndpoint": endpointRequest("net", "other", "10.0.0.8/24"),
		"Join":           named("net", "ep"),
		"CreateNetwork":  networkRequest("other", "10.0.0.0/24", "10.0.0.1/24", "switch=LS-A"),
		"DeleteNetwork":  named("net", ""),
	} {
		all.Go(func() {
			wantError(t, b.call("NetworkDriver."+method, request, nil), "etcd at unix://", "no answer in time")
		})
	}
	all.Wait()
	if took := time.Since(begun); took > 2*patience {
		t.Errorf("Docker waits for %s", took)
	}
	begun = time.Now()
	b.must("NetworkDriver.DeleteEndpoint", named("net", "ep"), nil)
	if took := time.Since(begun); took > patience {
		t.Errorf("Docker waits for %s, and asks for more then", took)
	}
	if left := devices(t); len(left) > 0 {
		t.Errorf("there are interfaces left: %q", left)
	}
	b.startEtcd()
	b.eventually("the agent has taken the port back", func() bool { return len(b.ports("LS-A")) == 1 })
	if _, err := b.store.Network(t.Context(), id("other")); err == nil {
		t.Error("there is a network that Docker was told to have failed")
	}
}

// A network of the original TupleNet, which keeps no records.
func TestEndpointOfOriginal(t *testing.T) {
	b := newBed(t)
	gateway := netip.MustParsePrefix("10.2.3.1/24")
	n := store.Network{ID: id("old"), Switch: id("old"), Router: "LR", Subnet: gateway.Masked(), Gateway: gateway.Addr()}
	sp, rp := n.Link("to_LR")
	b.create(topology.Switch{Name: id("old")}, sp, rp)
	b.must("NetworkDriver.CreateEndpoint", endpointRequest("old", "ep", "10.2.3.7/24"), nil)
	var join network.JoinResponse
	b.must("NetworkDriver.Join", named("old", "ep"), &join)
	if join.Gateway != "10.2.3.1" {
		t.Errorf("Join is answered with %+v", join)
	}
	wantError(t, b.call("NetworkDriver.DeleteNetwork", named("old", ""), nil), "not empty", id("ep"))
	b.must("NetworkDriver.DeleteEndpoint", named("old", "ep"), nil)
	b.must("NetworkDriver.DeleteNetwork", named("old", ""), nil)
	for _, key := range []topology.Key{topology.Switch{Name: id("old")}.Key(), rp.Key()} {
		if _, err := b.store.Get(t.Context(), key); err == nil {
			t.Errorf("%s is still there", key)
		}
	}
}
