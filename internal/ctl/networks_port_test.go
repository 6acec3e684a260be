package ctl

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// Ports of containers of dockerNet; the ids of the last two begin alike.
var endpointIDs = []string{strings.Repeat("4f7eaf3175f10e2d", 4), strings.Repeat("a0", 16) + strings.Repeat("b1", 16), strings.Repeat("a0", 16) + strings.Repeat("c2", 16)}

// withEndpoints returns a store that holds dockerNet with containers.
func withEndpoints(b *bed, prefix string) *store.Store {
	b.Helper()
	st := withNetwork(b, prefix)
	ip := dockerNet.Gateway
	for _, id := range endpointIDs {
		ip = ip.Next()
		port := topology.SwitchPort{Switch: dockerNet.Switch, Name: id, IP: ip, MAC: topology.MACFromIP(ip), Chassis: "hv1", Owner: "cnm:" + dockerNet.ID + "/" + id + "/eth"}
		if _, err := st.Create(b.Context(), port); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := st.Create(b.Context(), topology.Chassis{Name: "hv1", IP: netip.MustParseAddr("172.16.0.1")}); err != nil {
		b.Fatal(err)
	}
	return st
}

// A port may be named as Docker's tools show its id, as long as that is one.
func TestPortsByShortIDs(t *testing.T) {
	b := newBed(t)
	st := withEndpoints(b, "/s")
	first, sw := endpointIDs[0], dockerNet.Switch
	for _, name := range []string{first, first[:12], first[:63]} {
		if out := b.must("/s", "lsp show", nil, "web", name); !strings.HasPrefix(out, first+":\n") {
			t.Errorf("lsp show %s:\n%s", name, out)
		}
	}
	flags := map[string]string{"dry": "true", "format": "text", "wait": "2s", "ttl": "64"}
	trace := func(from, to, format string) (string, error) {
		flags["to"], flags["format"] = to, format
		return b.run(t.Context(), "/s", "trace", flags, from)
	}
	out, err := trace(first[:12], endpointIDs[1][:34], "text")
	if err != nil || !strings.HasPrefix(out, "4f7eaf3175f1: ") || !strings.HasSuffix(out, "delivered to a0a0a0a0a0a0 on hv1\n") || strings.Contains(out, sw[:13]) {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := trace(first[:12], "10.20.3.3", "tuplenet"); err != nil || !strings.Contains(out, "output_iface_id:"+endpointIDs[1]) {
		t.Errorf("as the original: %v\n%s", err, out)
	}
	all, err := b.run(t.Context(), "/s", "trace", map[string]string{"dry": "true", "format": "text", "wait": "2s", "ttl": "64", "all": sw})
	if err != nil || !strings.Contains(all, "4f7eaf3175f1  -") || strings.Contains(all, first) {
		t.Errorf("all: %v\n%s", err, all)
	}

	ambiguous := "the ids of 2 ports begin with a0a0a0a0a0a0 (" + endpointIDs[1] + ", " + endpointIDs[2] + "): give more digits"
	for what, run := range map[string]func(short string) (string, error){
		"lsp show": func(short string) (string, error) { return b.run(t.Context(), "/s", "lsp show", nil, "web", short) },
		"lsp del":  func(short string) (string, error) { return b.run(t.Context(), "/s", "lsp del", nil, sw, short) },
		"lsp port-security": func(short string) (string, error) {
			return b.run(t.Context(), "/s", "lsp port-security", nil, sw, short, "on")
		},
		"trace from": func(short string) (string, error) { return trace(short, first[:12], "text") },
		"trace to":   func(short string) (string, error) { return trace(first[:12], short, "text") },
	} {
		if _, err := run(endpointIDs[1][:12]); err == nil || err.Error() != ambiguous {
			t.Errorf("%s: %v, want %s", what, err, ambiguous)
		}
		for _, nobody := range []string{"4f7eaf3175f", "4f7eaf3175f2"} {
			if _, err := run(nobody); err == nil || !strings.Contains(err.Error(), nobody) {
				t.Errorf("%s %s: %v", what, nobody, err)
			}
		}
	}

	// Who has the very name is meant before all others.
	b.must("/s", "lsp add", nil, sw, first[:12], "10.20.3.9")
	if out := b.must("/s", "lsp show", nil, sw, first[:12]); !strings.HasPrefix(out, first[:12]+":\n") {
		t.Error(out)
	}
	b.must("/s", "lsp port-security", nil, sw, first[:13], "on")
	if e, err := st.Get(t.Context(), topology.SwitchPort{Switch: sw, Name: first}.Key()); err != nil || !e.(topology.SwitchPort).Secured {
		t.Error(e, err)
	}
	b.must("/s", "lsp del", map[string]string{"force": "true"}, sw, first[:13])
	if _, err := st.Get(t.Context(), topology.SwitchPort{Switch: sw, Name: first}.Key()); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}

// The link of a Docker network is not cut by mistake, and what is left of one that
// was is not taken for something else.
func TestLinkOfNetwork(t *testing.T) {
	b := newBed(t)
	withEndpoints(b, "/l")
	sw, peer := dockerNet.Switch, "to_"+dockerNet.ID
	ends := map[string][]string{"lsp del": {sw, "to_R"}, "lrp del": {"R", peer}}
	again := map[string]string{"lsp del": "tpctl lsp add " + sw + " to_R 10.20.3.1 f2:01:0a:14:03:01 " + peer, "lrp del": "tpctl lrp add R " + peer + " 10.20.3.1/24 f2:01:0a:14:03:01 to_R"}
	object := map[string]string{"lsp del": "switch " + sw + " port to_R", "lrp del": "router R port " + peer}
	gone := map[string]string{"lsp del": "switch port", "lrp del": "router port"}
	before := b.keys("/l")
	for command, args := range ends {
		want := object[command] + ` is in use by Docker network web (hv1): remove that first ("docker network rm web" on hv1), or use --force`
		if _, err := b.run(t.Context(), "/l", command, nil, args...); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", command, err, want)
		}
		if said := b.told("/l", command, map[string]string{"force": "true"}, args...); said != "note: the containers of Docker network web (hv1) have no way out of their networks now; "+
			"\"tpctl check\" tells what makes the link again\n" {
			t.Errorf("%s said %s", command, said)
		}
		want = "Docker network web (hv1) is on switch " + sw + ", and of its link to router R the " + gone[command] + ` is gone: "` + again[command] + `" makes it again`
		if _, err := b.run(t.Context(), "/l", "lr link", nil, "R", sw, "10.20.3.1/24"); err == nil || err.Error() != want {
			t.Errorf("lr link: %v, want %s", err, want)
		}
		words := strings.Fields(again[command])
		b.must("/l", words[1]+" "+words[2], nil, words[3:]...)
	}
	for key, value := range b.keys("/l") {
		if before[key] != value {
			t.Errorf("%s is %q, was %q", key, value, before[key])
		}
	}
	b.must("/l", "ls add", nil, "LS-A")
	b.must("/l", "lr link", nil, "R", "LS-A", "10.20.4.1/24")
	b.must("/l", "lrp del", nil, "R", "R_to_LS-A")
}

// told runs a command and returns what it tells beside its result.
func (b *bed) told(prefix, name string, flags map[string]string, args ...string) string {
	b.Helper()
	var out, told bytes.Buffer
	all := All()
	command := all[slices.IndexFunc(all, func(c Command) bool { return c.Name() == name })]
	err := command.Run(b.Context(), Env{In: strings.NewReader("yes\n"), Out: &out, Err: &told, Flags: flags,
		Open: func(ctx context.Context) (*store.Store, error) { return b.open(ctx, prefix) }}, args)
	if err != nil {
		b.Fatalf("tpctl %s: %v", name, err)
	}
	return told.String()
}

// What Docker has removed is shown as such, nobody is sent to Docker for it, and
// names of networks may be any text.
func TestRemovedNetwork(t *testing.T) {
	b := newBed(t)
	st := withEndpoints(b, "/f")
	change := func(edit func(*store.Network)) {
		if err := st.ChangeNetwork(t.Context(), dockerNet.ID, edit); err != nil {
			t.Fatal(err)
		}
	}
	sw := dockerNet.Switch
	fails := func(want, name string, flags map[string]string, args ...string) {
		t.Helper()
		if _, err := b.run(t.Context(), "/f", name, flags, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	change(func(n *store.Network) { n.Name = "it's; mine" })
	if out := b.must("/f", "ls show", nil, sw); !strings.Contains(out, ": it's; mine (hv1)\n") {
		t.Error(out)
	}
	rm := `"docker network rm 'it'\''s; mine'"`
	fails("remove that first ("+rm+" on hv1)", "lr del", nil, "R")
	fails(rm+" removes it", "ls del", nil, "it's; mine")

	change(func(n *store.Network) { n.Freed = true })
	if out := b.must("/f", "ls show", nil, sw); !strings.Contains(out, ": it's; mine (hv1, removed)\n") {
		t.Error(out)
	}
	all := All()
	show := all[slices.IndexFunc(all, func(c Command) bool { return c.Name() == "ls show" })]
	var out bytes.Buffer
	if err := show.Run(t.Context(), Env{Out: &out, Err: &out, JSON: true, Flags: map[string]string{},
		Open: func(ctx context.Context) (*store.Store, error) { return b.open(ctx, "/f") }}, []string{sw}); err != nil || !strings.Contains(out.String(), `"subnet":"10.20.3.0/24","removed":true}]`) {
		t.Errorf("%v %s", err, out.String())
	}
	fails("is in use by Docker network it's; mine (hv1), which Docker has removed already: the rest goes with the last port on switch "+sw+", or with --force", "lr del", nil, "R")
	if said := b.told("/f", "ls del", map[string]string{"force": "true", "recursive": "true"}, sw); strings.Contains(said, "docker network rm") {
		t.Error(said)
	}
}
