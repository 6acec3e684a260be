package cni

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/vishvananda/netlink"

	"cni.tuplenet/attach"
)

// TestDelete shows that DEL takes away what it can, and when it succeeds.
func TestDelete(t *testing.T) {
	for _, test := range []struct {
		name    string
		prepare func(t *testing.T, s *setup)
		code    attach.Code
		stderr  string
	}{
		{name: "without namespace", prepare: func(_ *testing.T, s *setup) { s.args.Netns = "" }},
		{name: "namespace vanished", prepare: func(_ *testing.T, s *setup) { s.args.Netns = "/run/netns/tp-cni-none" }},
		{name: "device gone", prepare: func(t *testing.T, s *setup) {
			if err := s.container.Delete("eth0"); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "no agent", stderr: "no agent of TupleNet answers", prepare: func(t *testing.T, s *setup) {
			if err := os.Remove(s.agent.dir + "/" + attach.SocketName); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "agent hangs up", stderr: "has hung up (release)", prepare: func(_ *testing.T, s *setup) { s.agent.replies[attach.Release] = hangsUp }},
		{name: "agent is silent", stderr: "has not answered in time (release)", prepare: func(_ *testing.T, s *setup) { s.agent.replies[attach.Release] = isSilent }},
		{name: "no etcd", stderr: "etcd cannot be reached", prepare: func(_ *testing.T, s *setup) {
			s.agent.replies[attach.Release] = says(attach.Answer{Pending: true})
		}},
		{name: "agent fails", code: attach.CodeAgent, prepare: func(_ *testing.T, s *setup) {
			s.agent.replies[attach.Release] = refuses(attach.CodeAgent, "broken")
		}},
		{name: "configuration that ADD would refuse", prepare: func(t *testing.T, s *setup) {
			s.args.StdinData = []byte(with(t, `{"mtu": 1, "subnet": "ten", "ipam": {"type": "host-local"}}`))
		}},
		{name: "configuration with values of the wrong types", prepare: func(t *testing.T, s *setup) {
			s.args.StdinData = []byte(with(t, `{"mtu": "1400", "routes": [{"dst": "10.0.0.0"}]}`))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSetup(t, tutorial)
			s.attachIt(t)
			test.prepare(t, s)
			var stderr bytes.Buffer
			start := time.Now()
			if err := del(s.args, &stderr); codeOf(t, err) != test.code {
				t.Errorf("DEL: %v, want code %d", err, test.code)
			}
			if took := time.Since(start); took > delPatience+time.Second {
				t.Errorf("DEL has taken %s", took)
			}
			if !strings.Contains(stderr.String(), test.stderr) || test.stderr == "" && stderr.Len() > 0 {
				t.Errorf("standard error is %q, want %q", stderr.String(), test.stderr)
			}
			absent(t, s.host, s.device)
			absent(t, s.container, "eth0")
		})
	}
}

func TestCollect(t *testing.T) {
	s := newSetup(t, with(t, `{"cniVersion": "1.1.0", "cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}]}`))
	s.attachIt(t)
	stale := attach.ID{Network: "tpcni-network", Container: "c2", Ifname: "eth0"}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = stale.Device()
	if err := s.host.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "peer", PeerTxQLen: -1}); err != nil {
		t.Fatal(err)
	}
	gone := attach.ID{Network: "tpcni-network", Container: "c3", Ifname: "eth0"}
	s.agent.replies[attach.Collect] = says(attach.Answer{Pending: true, Released: []attach.ID{stale, gone}})
	var stderr bytes.Buffer
	if err := collect(s.args, &stderr); err != nil {
		t.Fatal(err)
	}
	r := s.agent.last(t, attach.Collect)
	if r.ID != (attach.ID{Network: "tpcni-network"}) || !slices.Equal(r.Valid, []attach.ID{{Network: "tpcni-network", Container: "c1", Ifname: "eth0"}}) {
		t.Errorf("the agent was asked %+v", r)
	}
	absent(t, s.host, stale.Device())
	find(t, s.host, s.device)
	if !strings.Contains(stderr.String(), "etcd cannot be reached") {
		t.Errorf("standard error is %q", stderr.String())
	}

	for _, members := range []string{`{}`, `{"cni.dev/valid-attachments": null}`} {
		if err := collect(&skel.CmdArgs{StdinData: []byte(with(t, members))}, &stderr); err != nil {
			t.Fatal(err)
		}
		if r := s.agent.last(t, attach.Collect); len(r.Valid) != 0 {
			t.Errorf("%s: valid are %v, want none", members, r.Valid)
		}
	}
	old := &skel.CmdArgs{StdinData: []byte(with(t, `{"cni.dev/attachments": [{"containerID": "c1", "ifname": "eth0"}]}`))}
	if err := collect(old, &stderr); err != nil || len(s.agent.last(t, attach.Collect).Valid) != 1 {
		t.Errorf("GC by an older libcni: %v, %+v", err, s.agent.last(t, attach.Collect))
	}
	// Mistakes elsewhere are borne with, but nothing is taken back without a list that can be read.
	asked := s.agent.asked()
	bad := &skel.CmdArgs{StdinData: []byte(with(t, `{"cni.dev/valid-attachments": [{"containerID": 1, "ifname": "eth0"}]}`))}
	if err := collect(bad, &stderr); codeOf(t, err) != attach.CodeDecode || !strings.Contains(err.Error(), "valid-attachments.containerID") || s.agent.asked() != asked {
		t.Errorf("GC: %v, the agent was asked to %s", err, s.agent.asked())
	}
	if err := collect(&skel.CmdArgs{StdinData: []byte(with(t, `{"mtu": "1400"}`))}, &stderr); err != nil {
		t.Errorf("GC: %v", err)
	}
	s.agent.replies[attach.Collect] = hangsUp
	if err := collect(s.args, &stderr); codeOf(t, err) != attach.CodeTryLater {
		t.Errorf("GC without an answer: %v", err)
	}
}

func TestStatus(t *testing.T) {
	s := newSetup(t, tutorial)
	for _, test := range []struct {
		name  string
		reply reply
		code  attach.Code
	}{
		{"well", says(attach.Answer{}), 0},
		{"full", refuses(attach.CodeUnavailable, "no address"), attach.CodeUnavailable},
		{"cut off", refuses(attach.CodeLimited, "no Open vSwitch"), attach.CodeLimited},
		{"agent hangs up", hangsUp, attach.CodeUnavailable},
	} {
		s.agent.replies[attach.Status] = test.reply
		if err := status(s.args); codeOf(t, err) != test.code {
			t.Errorf("%s: %v, want code %d", test.name, err, test.code)
		}
	}
	if r := s.agent.last(t, attach.Status); len(r.Switches) != 1 || r.Switches[0].Name != "LS_A" || r.Etcd == nil {
		t.Errorf("the agent was asked %+v", r)
	}
	for text, code := range map[string]attach.Code{
		with(t, `{"rundir": "/nonexistent"}`): attach.CodeUnavailable,
		with(t, `{"mtu": 1}`):                 attach.CodeConfig,
	} {
		if err := status(&skel.CmdArgs{StdinData: []byte(text)}); codeOf(t, err) != code {
			t.Errorf("%s: %v, want code %d", text, err, code)
		}
	}
}
