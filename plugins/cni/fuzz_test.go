package cni

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/version"

	"cni.tuplenet/attach"
)

// FuzzConfig reads what a runtime may hand over. What is valid leads to a
// request that names a switch, and to a result that can be written.
func FuzzConfig(f *testing.F) {
	f.Add(tutorial, "")
	f.Add(with(f, `{"cniVersion": "1.1.0", "routes": [{"dst": "10.0.0.0/8", "gw": "10.20.1.9"}]}`), "IgnoreUnknown=1;K8S_POD_NAME=a;IP=10.20.1.5/24;MAC=02:00:00:00:00:01")
	f.Add(with(f, `{"runtimeConfig": {"ips": ["10.20.1.11/24"], "mac": "02:00:00:00:00:11"}, "args": {"cni": {"switch": "LS_A"}}}`), "SWITCH=LS_A")
	f.Add(with(f, `{"prevResult": {"interfaces": [{"name": "a"}], "ips": [{"interface": 0, "address": "10.0.0.1/24"}], "routes": [{"dst": "0.0.0.0/0"}]}}`), "IP=")
	f.Fuzz(func(t *testing.T, text, args string) {
		c, err := parse(text)
		if err != nil {
			codeOf(t, err)
			return
		}
		c.Etcd()
		w, err := c.Wanted(args)
		if err != nil {
			codeOf(t, err)
			return
		}
		if len(w.Switches) == 0 || w.IP.IsValid() && !w.IP.Is4() || w.MAC != nil && len(w.MAC) != 6 {
			t.Errorf("wanted is %+v", w)
		}
		for _, s := range w.Switches {
			if strings.TrimSpace(s.Name) == "" {
				t.Errorf("a switch without a name: %+v", w)
			}
		}
		a, err := c.ParseAnswer(reserved, "eth0", w)
		if err != nil {
			codeOf(t, err)
			return
		}
		c.CNIVersion = "0.4.0"
		if err := c.WriteResult(&bytes.Buffer{}, c.Result(a, "/run/netns/a", nil)); err != nil {
			t.Error(err)
		}
	})
}

// FuzzAnswer reads what an agent may say. What is taken for good can be given to
// a container, and told to a runtime of any version.
func FuzzAnswer(f *testing.F) {
	for _, a := range []attach.Answer{reserved, {Error: attach.Errorf(attach.CodeFull, "full")}, {IP: "10.20.1.5/32", MAC: "02:00:00:00:00:01"}} {
		text, err := json.Marshal(a)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		var a attach.Answer
		if json.Unmarshal([]byte(text), &a) != nil {
			return
		}
		c, err := parse(tutorial)
		if err != nil {
			t.Fatal(err)
		}
		g, err := c.ParseAnswer(a, "eth0", Wanted{Bits: -1})
		if err != nil {
			codeOf(t, err)
			return
		}
		if len(g.MAC) != 6 || !g.Address.Addr().Is4() || g.Gateway.IsValid() != (len(g.Routes) == 1) {
			t.Errorf("given is %+v", g)
		}
		for _, v := range version.VersionsStartingFrom(minVersion).SupportedVersions() {
			c.CNIVersion = v
			if err := c.WriteResult(&bytes.Buffer{}, c.Result(g, "/run/netns/a", nil)); err != nil {
				t.Errorf("version %s: %v", v, err)
			}
		}
	})
}
