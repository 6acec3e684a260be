package cni

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"cni.tuplenet/attach"
)

// attachIt is an ADD that has to succeed; it returns the result.
func (s *setup) attachIt(t *testing.T) *types100.Result {
	t.Helper()
	var out bytes.Buffer
	if err := add(s.args, &out); err != nil {
		t.Fatal(err)
	}
	r := &types100.Result{}
	if err := json.Unmarshal(out.Bytes(), r); err != nil {
		t.Fatalf("%s: %v", out.Bytes(), err)
	}
	return r
}

func TestAddAndDelete(t *testing.T) {
	s := newSetup(t, with(t, `{"cniVersion": "1.1.0", "dns": {"nameservers": ["10.20.1.53"]}, "reserved": ["10.20.1.2"], "etcd_user": "a:b", "wait": 3}`))
	s.args.Args = "IP=10.20.1.5;MAC=f2:01:0a:14:01:05"
	r := s.attachIt(t)
	if asked := s.agent.asked(); asked != "reserve plug keep" {
		t.Errorf("the agent was asked to %s", asked)
	}
	request, want := s.agent.last(t, attach.Reserve), attach.Request{
		Op: attach.Reserve, ID: attach.ID{Network: "tpcni-network", Container: "c1", Ifname: "eth0"}, Plugin: "cni",
		Etcd:     &attach.Etcd{Endpoints: []string{"192.168.1.10:2379"}, Prefix: "/tuplenet", Username: "a", Password: "b"},
		Switches: []attach.Switch{{Name: "LS_A", Subnet: "10.20.1.1/24", Reserved: []string{"10.20.1.2"}}},
		Device:   s.device, IP: "10.20.1.5", MAC: "f2:01:0a:14:01:05", Secured: true,
	}
	if is, should := asJSON(t, request), asJSON(t, want); is != should {
		t.Errorf("the agent was asked\n%s, want\n%s", is, should)
	}
	if r := s.agent.last(t, attach.Plug); r.Wait != 3000 {
		t.Errorf("the agent was asked to wait for %d ms", r.Wait)
	}

	end, inside := find(t, s.host, s.device), find(t, s.container, "eth0")
	if end.Attrs().Flags&net.FlagUp == 0 || end.Attrs().MTU != 1400 || end.Attrs().HardwareAddr.String() != hostMAC(s.device).String() {
		t.Errorf("the end on the host: %+v", end.Attrs())
	}
	if addresses, err := s.host.AddrList(end, netlink.FAMILY_V6); err != nil || len(addresses) > 0 {
		t.Errorf("the host has addresses on its end: %v, %v", addresses, err)
	}
	if inside.Attrs().Flags&net.FlagUp == 0 || inside.Attrs().MTU != 1400 || inside.Attrs().HardwareAddr.String() != "f2:01:0a:14:01:05" {
		t.Errorf("the container's end: %+v", inside.Attrs())
	}
	addresses, err := s.container.AddrList(inside, netlink.FAMILY_V4)
	if err != nil || len(addresses) != 1 || addresses[0].IPNet.String() != "10.20.1.5/24" {
		t.Errorf("addresses %v, %v", addresses, err)
	}
	routes, err := s.container.RouteList(inside, netlink.FAMILY_V4)
	if err != nil || len(routes) != 2 || routes[0].Dst.String() != "0.0.0.0/0" || routes[0].Gw.String() != "10.20.1.1" {
		t.Errorf("routes %v, %v", routes, err)
	}
	const result = `{"cniVersion":"1.1.0","dns":{"nameservers":["10.20.1.53"]},` +
		`"interfaces":[{"mac":"HOSTMAC","mtu":1400,"name":"DEVICE"},{"mac":"f2:01:0a:14:01:05","mtu":1400,"name":"eth0","sandbox":"NETNS"}],` +
		`"ips":[{"address":"10.20.1.5/24","gateway":"10.20.1.1","interface":1}],"routes":[{"dst":"0.0.0.0/0","gw":"10.20.1.1"}]}`
	is := strings.NewReplacer(hostMAC(s.device).String(), "HOSTMAC", s.device, "DEVICE", s.args.Netns, "NETNS").Replace(asJSON(t, r))
	if is != result {
		t.Errorf("the result is\n%s, want\n%s", is, result)
	}

	for range 2 {
		if err := del(s.args, io.Discard); err != nil {
			t.Fatal(err)
		}
		absent(t, s.host, s.device)
		absent(t, s.container, "eth0")
		if r := s.agent.last(t, attach.Release); r.ID != request.ID || r.Device != s.device || r.Plugin != "cni" {
			t.Errorf("the agent was asked %+v", r)
		}
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestAddFollowsAgent shows what the agent decides.
func TestAddFollowsAgent(t *testing.T) {
	s := newSetup(t, with(t, `{"mtu": 0, "routes": [{"dst": "10.0.0.0/8"}, {"dst": "172.16.0.0/12", "gw": "10.20.1.254", "mtu": 1300, "table": 100}]}`))
	answer := reserved
	answer.NoOffload = true
	s.agent.replies[attach.Reserve] = says(answer)
	s.attachIt(t)
	end, inside := find(t, s.host, s.device), find(t, s.container, "eth0")
	if end.Attrs().MTU != 1442 || inside.Attrs().MTU != 1442 {
		t.Errorf("MTU %d and %d, want 1442", end.Attrs().MTU, inside.Attrs().MTU)
	}
	for n, name := range map[*Netns]string{s.host: s.device, s.container: "eth0"} {
		if computes, err := n.checksums(name); err != nil || !computes {
			t.Errorf("interface %s leaves checksums to a NIC: %v", name, err)
		}
	}
	for _, want := range []struct {
		dst   string
		gw    string
		mtu   int
		table int
	}{{"10.0.0.0/8", "10.20.1.1", 0, 254}, {"172.16.0.0/12", "10.20.1.254", 1300, 100}} {
		routes, err := s.container.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: want.table}, netlink.RT_FILTER_TABLE)
		found := false
		for _, r := range routes {
			found = found || r.Dst.String() == want.dst && r.Gw.String() == want.gw && r.MTU == want.mtu
		}
		if !found || err != nil {
			t.Errorf("routes %v, %v; want %+v", routes, err, want)
		}
	}
}

// TestAddFails shows that an ADD that fails leaves nothing, wherever it does, and
// that the agent notices before the runtime does.
func TestAddFails(t *testing.T) {
	full := refuses(attach.CodeFull, "switch LS_A has no free address")
	bad := func(change func(*attach.Answer)) reply {
		a := reserved
		change(&a)
		return says(a)
	}
	for _, test := range []struct {
		name, members string
		op            attach.Op
		reply         reply
		code          attach.Code
		says          string
	}{
		{name: "full", op: attach.Reserve, reply: full, code: attach.CodeFull, says: "no free address"},
		{name: "hangs up at reserve", op: attach.Reserve, reply: hangsUp, code: attach.CodeTryLater, says: "has hung up (reserve)"},
		{name: "garbage at reserve", op: attach.Reserve, reply: writes("HTTP/1.1 400 Bad Request\r\n"), code: attach.CodeAgent, says: "does not understand (reserve)"},
		{name: "half an answer", op: attach.Reserve, reply: func(w io.Writer, _ attach.Request) bool { _, _ = io.WriteString(w, `{"ip":`); return false }, code: attach.CodeTryLater, says: "has hung up"},
		{name: "no address", op: attach.Reserve, reply: says(attach.Answer{}), code: attach.CodeAgent, says: `"" for an address`},
		{name: "address of IPv6", op: attach.Reserve, reply: bad(func(a *attach.Answer) { a.IP = "fd00::1/64" }), code: attach.CodeAgent, says: "fd00::1/64"},
		{name: "no MAC", op: attach.Reserve, reply: bad(func(a *attach.Answer) { a.MAC = "" }), code: attach.CodeAgent, says: "for a MAC"},
		{name: "no gateway", op: attach.Reserve, reply: bad(func(a *attach.Answer) { a.Gateway = "here" }), code: attach.CodeAgent, says: "for a gateway"},
		{name: "no MTU", op: attach.Reserve, reply: bad(func(a *attach.Answer) { a.MTU = -1 }), code: attach.CodeAgent, says: "for an MTU"},
		{name: "another prefix length", members: `{"args": {"cni": {"ips": ["10.20.1.5/16"]}}}`, op: attach.Reserve, reply: says(reserved), code: attach.CodeConfig, says: "network of switch LS_A is a /24"},
		{name: "route without gateway", members: `{"routes": [{"dst": "10.0.0.0/8"}]}`, op: attach.Reserve, reply: bad(func(a *attach.Answer) { a.Gateway = "" }), code: attach.CodeConfig, says: "needs a gw"},
		{name: "route by a gateway elsewhere", members: `{"routes": [{"dst": "10.0.0.0/8", "gw": "10.20.2.1"}]}`, op: attach.Reserve, reply: says(reserved), code: attach.CodeConfig, says: "outside of the container's network"},
		{name: "the same route twice", members: `{"routes": [{"dst": "10.0.0.0/8"}, {"dst": "10.0.0.0/8"}]}`, op: attach.Reserve, reply: says(reserved), code: attach.CodeIO, says: "add the route to 10.0.0.0/8"},
		{name: "flows are late", op: attach.Plug, reply: refuses(attach.CodeTryLater, "the flows are not in"), code: attach.CodeTryLater, says: "flows are not in"},
		{name: "hangs up at plug", op: attach.Plug, reply: hangsUp, code: attach.CodeTryLater, says: "has hung up (plug)"},
		{name: "garbage at plug", op: attach.Plug, reply: writes("[]\n"), code: attach.CodeAgent, says: "does not understand (plug)"},
		{name: "hangs up at keep", op: attach.Keep, reply: hangsUp, code: attach.CodeTryLater, says: "has hung up (keep)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.members == "" {
				test.members = "{}"
			}
			s := newSetup(t, with(t, test.members))
			s.agent.replies[test.op] = test.reply
			var out bytes.Buffer
			err := add(s.args, &out)
			if code := codeOf(t, err); code != test.code || !strings.Contains(err.Error(), test.says) {
				t.Errorf("code %d, %v; want %d, %q", code, err, test.code, test.says)
			}
			if out.Len() > 0 {
				t.Errorf("a failed ADD has printed %s", out.Bytes())
			}
			absent(t, s.host, s.device)
			absent(t, s.container, "eth0")
			eventually(t, "the agent hears of the end", func() bool { return s.agent.conversations() == 1 })
		})
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, unix.ENOSPC }

// TestResultIsLost shows that nothing is left of an ADD whose result the runtime
// cannot be told.
func TestResultIsLost(t *testing.T) {
	s := newSetup(t, tutorial)
	if err := add(s.args, fullDisk{}); codeOf(t, err) != attach.CodeIO || !strings.Contains(err.Error(), "write the result: no space left") {
		t.Errorf("ADD: %v", err)
	}
	absent(t, s.host, s.device)
	absent(t, s.container, "eth0")
	if asked := s.agent.asked(); asked != "reserve plug keep release" {
		t.Errorf("the agent was asked to %s", asked)
	}
}

// TestSecondNetwork shows that the default route of a network before this one
// stays, and is no error, unless the configuration asks for one.
func TestSecondNetwork(t *testing.T) {
	for members, want := range map[string]attach.Code{`{}`: 0, `{"routes": [{"dst": "0.0.0.0/0"}]}`: attach.CodeIO} {
		s := newSetup(t, with(t, members))
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.Flags = "net0", net.FlagUp
		if err := s.container.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "other", PeerTxQLen: -1}); err != nil {
			t.Fatal(err)
		}
		first := find(t, s.container, "net0")
		if err := s.container.RouteAdd(&netlink.Route{LinkIndex: first.Attrs().Index, Scope: netlink.SCOPE_LINK,
			Dst: &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}}); err != nil {
			t.Fatal(err)
		}
		if want != 0 {
			if err := add(s.args, io.Discard); codeOf(t, err) != want {
				t.Errorf("%s: %v, want code %d", members, err, want)
			}
			continue
		}
		if r := s.attachIt(t); len(r.Routes) != 0 || len(r.IPs) != 1 {
			t.Errorf("the result is %s", asJSON(t, r))
		}
	}
}

// TestOverride shows that a container may have the host's namespace if the runtime
// says so.
func TestOverride(t *testing.T) {
	s := newSetup(t, tutorial)
	s.args.Netns, s.args.NetnsOverride = "/proc/thread-self/ns/net", "TRUE"
	s.attachIt(t)
	find(t, s.host, "eth0")
	if err := del(s.args, io.Discard); err != nil {
		t.Error(err)
	}
	absent(t, s.host, "eth0")
}

func TestAddTwice(t *testing.T) {
	s := newSetup(t, tutorial)
	s.attachIt(t)
	before := find(t, s.container, "eth0").Attrs()
	for _, second := range []reply{says(reserved), refuses(attach.CodeAttached, "there already")} {
		s.agent.replies[attach.Reserve] = second
		if err := add(s.args, io.Discard); codeOf(t, err) != attach.CodeAttached {
			t.Errorf("the second ADD: %v", err)
		}
		after := find(t, s.container, "eth0").Attrs()
		if after.Index != before.Index || after.Flags&net.FlagUp == 0 {
			t.Errorf("the first attachment is harmed: %+v", after)
		}
	}
}

// TestForeignInterface shows that an interface of somebody else's stays, also
// when the runtime cleans up after the ADD that failed because of it.
func TestForeignInterface(t *testing.T) {
	s := newSetup(t, tutorial)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "eth0"
	if err := s.container.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "other", PeerTxQLen: -1}); err != nil {
		t.Fatal(err)
	}
	if err := add(s.args, io.Discard); codeOf(t, err) != attach.CodeEnvironment || !strings.Contains(err.Error(), "which is not ours") {
		t.Errorf("ADD: %v", err)
	}
	if err := del(s.args, io.Discard); err != nil {
		t.Errorf("DEL: %v", err)
	}
	find(t, s.container, "eth0")
	absent(t, s.host, s.device)
}

// TestAddReplacesStale shows that the device of an ADD that was killed is in
// nobody's way, if the agent knows of no attachment.
func TestAddReplacesStale(t *testing.T) {
	s := newSetup(t, tutorial)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = s.device
	elsewhere := open(t, newNetns(t))
	if err := s.host.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: elsewhere.Fd(), PeerTxQLen: -1}); err != nil {
		t.Fatal(err)
	}
	s.agent.replies[attach.Reserve] = refuses(attach.CodeAttached, "there already")
	if err := add(s.args, io.Discard); codeOf(t, err) != attach.CodeAttached {
		t.Errorf("ADD of what is attached elsewhere: %v", err)
	}
	find(t, elsewhere, "eth0")
	s.agent.replies[attach.Reserve] = says(reserved)
	s.attachIt(t)
	absent(t, elsewhere, "eth0")
	find(t, s.container, "eth0")
}

func TestAddWithoutAgent(t *testing.T) {
	s := newSetup(t, with(t, `{"rundir": "/nonexistent"}`))
	err := add(s.args, io.Discard)
	if codeOf(t, err) != attach.CodeTryLater || !strings.Contains(err.Error(), "/nonexistent/attach.sock: start it on this host") {
		t.Errorf("ADD: %v", err)
	}
	absent(t, s.host, s.device)
}

func TestAddNamespace(t *testing.T) {
	s := newSetup(t, tutorial)
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, code := range map[string]attach.Code{
		"/run/netns/tp-cni-none":   attach.CodeUnknown,
		file:                       attach.CodeEnvironment,
		"/proc/thread-self/ns/net": attach.CodeEnvironment,
	} {
		s.args.Netns = path
		if err := add(s.args, io.Discard); codeOf(t, err) != code {
			t.Errorf("ADD in %s: %v, want code %d", path, err, code)
		}
	}
	if asked := s.agent.asked(); asked != "" {
		t.Errorf("the agent was asked to %s", asked)
	}
	s.args.Netns = file + "link"
	if err := os.Symlink(open(t, newNetns(t)).path, s.args.Netns); err != nil {
		t.Fatal(err)
	}
	if r := s.attachIt(t); r.Interfaces[1].Sandbox != s.args.Netns {
		t.Errorf("the result is %s", asJSON(t, r))
	}
}

func TestAddInChain(t *testing.T) {
	s := newSetup(t, with(t, `{"cniVersion": "0.4.0", "prevResult": {"cniVersion": "0.4.0", "interfaces": [{"name": "net1", "sandbox": "/run/netns/x"}],
		"ips": [{"version": "4", "interface": 0, "address": "10.9.0.2/24"}], "routes": [{"dst": "10.9.0.0/16", "gw": "10.9.0.1"}], "dns": {"domain": "example"}}}`))
	r := s.attachIt(t)
	if len(r.Interfaces) != 3 || r.Interfaces[0].Name != "net1" || len(r.IPs) != 2 || *r.IPs[0].Interface != 0 || *r.IPs[1].Interface != 2 ||
		len(r.Routes) != 2 || r.DNS.Domain != "example" {
		t.Errorf("the result is %s", asJSON(t, r))
	}
}
