package cni

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"cni.tuplenet/attach"
)

// TestCheck changes one thing of an attachment at a time.
func TestCheck(t *testing.T) {
	set := func(name string, set func(n *Netns, link netlink.Link) error) func(*testing.T, *setup) {
		return func(t *testing.T, s *setup) {
			t.Helper()
			n := s.container
			if name != "eth0" {
				n, name = s.host, s.device
			}
			if err := set(n, find(t, n, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	const host = "" // the name of the end there
	for _, test := range []struct {
		name   string
		change func(t *testing.T, s *setup)
		says   string // empty: all is well
	}{
		{name: "nothing", change: func(*testing.T, *setup) {}},
		{name: "down", says: "is down", change: set("eth0", func(n *Netns, l netlink.Link) error { return n.LinkSetDown(l) })},
		{name: "MAC", says: "has the MAC 02:00:00:00:00:01 in place of f2:01:0a:14:01:05", change: set("eth0", func(n *Netns, l netlink.Link) error {
			return n.LinkSetHardwareAddr(l, net.HardwareAddr{2, 0, 0, 0, 0, 1})
		})},
		{name: "MTU", says: "has the MTU 1300 in place of 1400", change: set("eth0", func(n *Netns, l netlink.Link) error { return n.LinkSetMTU(l, 1300) })},
		{name: "address", says: "has no address 10.20.1.5/24", change: set("eth0", func(n *Netns, l netlink.Link) error {
			return n.AddrDel(l, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 20, 1, 5), Mask: net.CIDRMask(24, 32)}})
		})},
		{name: "another address", change: set("eth0", func(n *Netns, l netlink.Link) error {
			return n.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 9, 0, 5), Mask: net.CIDRMask(24, 32)}})
		})},
		{name: "route", says: "the route to 0.0.0.0/0 by 10.20.1.1 is not there", change: set("eth0", func(n *Netns, _ netlink.Link) error {
			return n.RouteDel(&netlink.Route{Gw: net.IPv4(10, 20, 1, 1)})
		})},
		{name: "route moved by another plugin", change: set("eth0", func(n *Netns, l netlink.Link) error {
			moved := &netlink.Route{Dst: &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, Gw: net.IPv4(10, 20, 1, 1), LinkIndex: l.Attrs().Index, Table: 100}
			if err := n.RouteAdd(moved); err != nil {
				return err
			}
			return n.RouteDel(&netlink.Route{Gw: net.IPv4(10, 20, 1, 1), Table: unix.RT_TABLE_MAIN})
		})},
		{name: "gone", says: "interface eth0 is not there", change: set("eth0", func(n *Netns, l netlink.Link) error { return n.LinkDel(l) })},
		{name: "host's end down", says: "is down on the host", change: set(host, func(n *Netns, l netlink.Link) error { return n.LinkSetDown(l) })},
		{name: "host's end renamed", says: "is not there on the host", change: set(host, func(n *Netns, l netlink.Link) error { return n.LinkSetName(l, "other") })},
		{name: "host's end is another's", says: "is not eth0 in the container", change: set(host, func(n *Netns, l netlink.Link) error {
			if err := n.LinkSetName(l, "other"); err != nil {
				return err
			}
			attrs := netlink.NewLinkAttrs()
			attrs.Name, attrs.Flags = l.Attrs().Name, net.FlagUp
			return n.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "peer", PeerTxQLen: -1})
		})},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSetup(t, with(t, `{"cniVersion": "1.0.0"}`))
			s.args.StdinData = []byte(with(t, `{"cniVersion": "1.0.0", "prevResult": `+asJSON(t, s.attachIt(t))+`}`))
			test.change(t, s)
			err := check(s.args)
			switch {
			case test.says == "" && err != nil:
				t.Errorf("CHECK: %v", err)
			case test.says != "" && (codeOf(t, err) != attach.CodeNotAttached || !strings.Contains(err.Error(), test.says)):
				t.Errorf("CHECK: %v, want %q", err, test.says)
			}
		})
	}
}

// TestCheckAgent shows that CHECK waits for what converges, and for no more.
func TestCheckAgent(t *testing.T) {
	s := newSetup(t, with(t, `{"cniVersion": "0.4.0"}`))
	s.args.StdinData = []byte(with(t, `{"cniVersion": "0.4.0", "prevResult": `+asJSON(t, s.attachIt(t))+`}`))
	calls := 0
	wrong := refuses(attach.CodeNotAttached, "the flows are not in")
	s.agent.replies[attach.Check] = func(w io.Writer, r attach.Request) bool {
		if calls++; calls < 3 {
			return wrong(w, r)
		}
		return says(attach.Answer{})(w, r)
	}
	if err := check(s.args); err != nil || calls != 3 {
		t.Errorf("CHECK: %v, after asking %d times", err, calls)
	}
	r := s.agent.last(t, attach.Check)
	if r.IP != "10.20.1.5" || r.MAC != "f2:01:0a:14:01:05" || r.Device != s.device || r.ID.Container != "c1" {
		t.Errorf("the agent was asked %+v", r)
	}
	s.agent.replies[attach.Check] = wrong
	start := time.Now()
	if err := check(s.args); codeOf(t, err) != attach.CodeNotAttached || time.Since(start) < convergence {
		t.Errorf("CHECK: %v, after %s", err, time.Since(start))
	}
	s.agent.replies[attach.Check] = refuses(attach.CodeConfig, "another etcd")
	if err := check(s.args); codeOf(t, err) != attach.CodeConfig {
		t.Errorf("CHECK: %v", err)
	}
}

func TestCheckPreviousResult(t *testing.T) {
	s := newSetup(t, tutorial)
	r := s.attachIt(t)
	// What other plugins have made is theirs to check.
	other := &types.Route{Dst: net.IPNet{IP: net.IPv4(10, 8, 0, 0), Mask: net.CIDRMask(16, 32)}}
	r.Routes, r.Interfaces[1].Mac = append(r.Routes, other), strings.ToUpper(r.Interfaces[1].Mac)
	s.args.StdinData = []byte(with(t, `{"prevResult": `+asJSON(t, r)+`}`))
	if err := check(s.args); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	for members, want := range map[string]struct {
		code attach.Code
		says string
	}{
		`{}`:                 {attach.CodeConfig, "prevResult is missing"},
		`{"prevResult": {}}`: {attach.CodeNotAttached, "no interface eth0"},
		`{"prevResult": {"interfaces": [{"name": "eth0"}]}}`:                    {attach.CodeNotAttached, "no interface eth0 in a container"},
		`{"prevResult": {"interfaces": [{"name": "eth0", "sandbox": "/run"}]}}`: {attach.CodeNotAttached, "no address"},
	} {
		s.args.StdinData = []byte(with(t, members))
		if err := check(s.args); codeOf(t, err) != want.code || !strings.Contains(err.Error(), want.says) {
			t.Errorf("%s: %v, want %q", members, err, want.says)
		}
	}
}
