package manifest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tuplenet/internal/topology"
)

// checkRoundTrip sees to it that a description of entities, made on an empty
// store, is the same entities, and that its own description is the same text.
func checkRoundTrip(t *testing.T, made []topology.Stored) {
	t.Helper()
	doc, omitted := Describe(made, Writing{Bound: true})
	var text bytes.Buffer
	if err := Write(&text, doc); err != nil {
		t.Fatal(err)
	}
	d, err := Read(Source{"f.yaml", text.Bytes()})
	if err != nil {
		t.Fatalf("%v\n%s", err, &text)
	}
	again := map[topology.Key]topology.Stored{}
	for _, c := range d.Plan(State{IDTaken: func(uint32) bool { return false }}, false, nil) {
		again[c.Key] = c.After
	}
	for _, e := range made {
		if again[e.Key()] != e && omitted[e.Key()] == "" {
			t.Errorf("%s: got %v, want %v from\n%s", e.Key(), again[e.Key()], e, &text)
		}
	}
	if len(again)+len(omitted) != len(made) {
		t.Errorf("%d objects came of %d, and %v were left out", len(again), len(made), omitted)
	}
}

// Random networks, with links, halves of links, and ports that are nearly links.
func TestRoundTrip(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			checkRoundTrip(t, random(rand.New(rand.NewPCG(seed, 1))))
		})
	}
}

// random returns a network in which each value is valid by itself. Some names
// are such as YAML takes for something else.
func random(r *rand.Rand) []topology.Stored {
	names := []string{"LS-A", "yes", "12", "~", "null", "a: b", "- x", "#c", "b'c", "é", "*d", "1e3", "::", "0x1", "{}"}
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	ip := func() netip.Addr {
		return netip.AddrFrom4([4]byte{10, byte(r.IntN(3)), byte(r.IntN(3)), byte(r.IntN(250))})
	}
	anyMAC := func(ip netip.Addr) topology.MAC {
		if r.IntN(2) == 0 {
			return topology.MAC{2, 0, 0, 0, byte(r.IntN(256)), byte(r.IntN(256))}
		}
		return defaultMAC(ip)
	}
	all := map[topology.Key]topology.Stored{}
	put := func(e topology.Stored) { all[e.Key()] = e }
	switches, routers := names[:r.IntN(5)], names[5:5+r.IntN(5)]
	for i, sw := range switches {
		put(topology.Switch{Name: sw, ID: uint32(i + 1), Secured: r.IntN(3) == 0})
		for range r.IntN(5) {
			p := topology.SwitchPort{Switch: sw, Name: pick(names...), IP: ip(), Peer: pick("", "x", sw+"_"), Chassis: pick("", "hv1", "0")}
			if r.IntN(4) == 0 {
				p.IP = topology.OuterIP
			} else if r.IntN(2) == 0 {
				p.Peer, p.Parent, p.Tag = "", "host", uint16(1+r.IntN(topology.MaxTag))
				p.Secured, p.Pool = r.IntN(2) == 0, pick("", "host", "true")
			}
			p.MAC = anyMAC(p.IP)
			put(p)
		}
	}
	for i, lr := range routers {
		put(topology.Router{Name: lr, ID: uint32(10 + i), Chassis: pick("", "hv1", "true")})
		for range r.IntN(4) {
			if len(switches) == 0 {
				break
			}
			sp, rp := Link(lr, pick(switches...), netip.PrefixFrom(ip(), 16+r.IntN(17)))
			switch r.IntN(8) {
			case 0:
				sp.Chassis = "hv1"
			case 1:
				sp.MAC = anyMAC(sp.IP)
			case 2:
				rp.Peer = ""
			case 3:
				rp.Net = netip.PrefixFrom(ip(), 24)
			}
			if r.IntN(8) > 0 {
				put(sp)
			}
			if r.IntN(8) > 0 {
				put(rp)
			}
		}
		for i := range r.IntN(4) {
			put(topology.StaticRoute{Router: lr, Name: pick(names...), Net: netip.PrefixFrom(ip(), r.IntN(33)), NextHop: ip(), OutPort: pick("x", lr+"_to_"+names[0])})
			put(topology.NAT{Router: lr, Name: names[i], Net: netip.PrefixFrom(ip(), r.IntN(33)), XlateIP: ip(), Type: topology.NATType(pick("snat", "dnat"))})
		}
	}
	var list []topology.Stored
	for _, e := range all {
		list = append(list, e)
	}
	return list
}

// What containers use comes and goes with them: a port of a pool is described as
// if it was free, one that was made for a container not at all.
func TestDescribeOwned(t *testing.T) {
	ip := netip.MustParseAddr("10.0.0.1")
	port := func(name, owner, pool string) topology.SwitchPort {
		return topology.SwitchPort{Switch: "A", Name: name, IP: ip, MAC: topology.MACFromIP(ip), Parent: "vm", Tag: 7, Secured: true, Owner: owner, Pool: pool}
	}
	doc, omitted := Describe([]topology.Stored{topology.Switch{Name: "A", ID: 1, Secured: true}, port("free", "", "vm"), port("used", "cni:k8s/1/eth0", "vm"), port("lsp-eth0-2", "cni:k8s/2/eth0", "")}, Writing{})
	var text bytes.Buffer
	if err := Write(&text, doc); err != nil {
		t.Fatal(err)
	}
	want := `switches:
  A:
    id: 1
    port_security: true
    ports:
      free: {ip: 10.0.0.1, parent: vm, tag: 7, port_security: true, pool: vm}
      used: {ip: 10.0.0.1, parent: vm, tag: 7, port_security: true, pool: vm}
`
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Error(diff)
	}
	if len(omitted) > 0 {
		t.Errorf("left out with a word: %v", omitted)
	}
}

func TestDescribe(t *testing.T) {
	sp, rp := Link("R", "A", netip.MustParsePrefix("10.0.0.9/24"))
	sp.Chassis, sp.Extra, rp.Extra = "hv9", "ip6=::1", "x=2\n- y"
	patch := topology.SwitchPort{Switch: "A", Name: "patch", IP: topology.OuterIP, MAC: topology.OuterMAC, Peer: "br0", Chassis: "hv2"}
	bound := topology.SwitchPort{Switch: "A", Name: "bound", IP: netip.MustParseAddr("10.0.0.1"), MAC: mac("f2:01:0a:00:00:01"), Chassis: "hv1", Extra: "vlan=5"}
	orphan := topology.SwitchPort{Switch: "gone", Name: "p", IP: bound.IP, MAC: bound.MAC}
	odd := topology.SwitchPort{Switch: "A", Name: "odd", IP: netip.MustParseAddr("10.0.0.2"), MAC: mac("f2:01:0a:00:00:02"), Peer: "\xff"}
	odder := topology.SwitchPort{Switch: "A", Name: "\xff", IP: netip.MustParseAddr("10.0.0.3"), MAC: mac("f2:01:0a:00:00:03")}
	all := []topology.Stored{rp, patch, sp, bound, orphan, odd, odder, topology.Switch{Name: "A", ID: 4, Extra: "owner=me"}, topology.Router{Name: "R", ID: 5},
		topology.Chassis{Name: "hv1", IP: bound.IP}}
	for _, test := range []struct {
		how  Writing
		want string
	}{
		{Writing{}, `switches:
  # not described here: owner=me
  A:
    id: 4
    ports:
      # not described here: vlan=5
      bound: 10.0.0.1
      patch: {bridge: br0, chassis: hv2}
routers:
  R:
    id: 5
    links:
      # not described here: x=2\n- y,ip6=::1
      - {switch: A, cidr: 10.0.0.9/24}
`},
		{Writing{Chosen: func(device topology.Key) bool { return device.Kind == topology.KindSwitch }, Bound: true}, `switches:
  # not described here: owner=me
  A:
    id: 4
    ports:
      # not described here: ip6=::1
      A_to_R: {ip: 10.0.0.9, peer: R_to_A, chassis: hv9}
      # not described here: vlan=5
      bound: {ip: 10.0.0.1, chassis: hv1}
      patch: {bridge: br0, chassis: hv2}
`},
		{Writing{Chosen: func(topology.Key) bool { return false }}, "{}\n"},
	} {
		doc, omitted := Describe(all, test.how)
		var text bytes.Buffer
		if err := Write(&text, doc); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, text.String()); diff != "" {
			t.Error(diff)
		}
		left := map[topology.Key]string{orphan.Key(): "there is no switch gone", odd.Key(): "it is not UTF-8", odder.Key(): "it is not UTF-8"}
		if diff := cmp.Diff(left, omitted); diff != "" {
			t.Error(diff)
		}
		if _, err := Read(Source{"f", text.Bytes()}); err != nil {
			t.Error(err)
		}
	}
}

// What is apart is in no description, with what hangs on it, and is no omission.
func TestApart(t *testing.T) {
	net := netip.MustParsePrefix("10.20.3.1/24")
	mac := topology.MACFromIP(net.Addr())
	doc, omitted := Describe([]topology.Stored{
		topology.Switch{Name: "made", ID: 1}, topology.Router{Name: "R", ID: 2},
		topology.SwitchPort{Switch: "made", Name: "to_R", IP: net.Addr(), MAC: mac, Peer: "to_made"},
		topology.RouterPort{Router: "R", Name: "to_made", Net: net, MAC: mac, Peer: "to_R"},
	}, Writing{Apart: func(key topology.Key) bool {
		return key.Name == "made" || key.Parent == "made" || key.Name == "to_made"
	}})
	var text bytes.Buffer
	if err := Write(&text, doc); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("routers:\n  R:\n    id: 2\n", text.String()); diff != "" || len(omitted) > 0 {
		t.Errorf("omitted %v; (-want +got):\n%s", omitted, diff)
	}
}
