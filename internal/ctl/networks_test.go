package ctl

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// dockerNet is a network of Docker with a switch of its own, linked to R.
var dockerNet = store.Network{ID: strings.Repeat("3f2a91b0", 8), Name: "web", Switch: strings.Repeat("3f2a91b0", 8), Made: true, Router: "R",
	Subnet: netip.MustParsePrefix("10.20.3.0/24"), Gateway: netip.MustParseAddr("10.20.3.1"), Scope: store.ScopeGlobal, Chassis: "hv1"}

// withNetwork returns a store that holds it.
func withNetwork(b *bed, prefix string) *store.Store {
	b.Helper()
	b.must(prefix, "lr add", nil, "R")
	st := b.store(prefix)
	if err := st.CreateNetwork(b.Context(), dockerNet); err != nil {
		b.Fatal(err)
	}
	return st
}

// A person is not asked whether a switch is to be deleted that is not going to be,
// and is told which networks go with one that is.
func TestQuestionNamesNetworks(t *testing.T) {
	b := newBed(t)
	withNetwork(b, "/d")
	all := All()
	del := all[slices.IndexFunc(all, func(c Command) bool { return c.Name() == "ls del" })]
	asked := func(flags map[string]string) (string, error) {
		var said bytes.Buffer
		err := del.Run(t.Context(), Env{In: person(t, "no\n"), Out: &said, Err: &said, Flags: flags,
			Open: func(ctx context.Context) (*store.Store, error) { return b.open(ctx, "/d") }}, []string{dockerNet.Switch})
		return said.String(), err
	}
	said, err := asked(map[string]string{"recursive": "true"})
	want := "switch " + dockerNet.Switch + ` is in use by Docker network web (hv1): remove that first ("docker network rm web" on hv1), or use --force`
	if said != "" || err == nil || err.Error() != want {
		t.Errorf("asked %q, error %v, want %s", said, err, want)
	}
	said, err = asked(map[string]string{"recursive": "true", "force": "true"})
	if !strings.Contains(said, "\nit is the switch of Docker network web (hv1)\n") || err == nil || err.Error() != "operation canceled" {
		t.Errorf("asked %q, error %v", said, err)
	}
}

// A router that is deleted by force leaves its networks without a way out, and
// what check says then makes that again.
func TestRouterOfNetworks(t *testing.T) {
	b := newBed(t)
	st := withNetwork(b, "/r")
	if _, err := b.run(t.Context(), "/r", "lr del", nil, "R"); err == nil || !strings.Contains(err.Error(), "router R is in use by Docker network web (hv1)") {
		t.Error(err)
	}
	if err := st.Delete(t.Context(), topology.Router{Name: "R"}.Key(), true); err != nil {
		t.Fatal(err)
	}
	out, _ := b.run(t.Context(), "/r", "check", map[string]string{"severity": "error"}, "web")
	remedies := 0
	for line := range strings.Lines(out) {
		if _, command, ok := strings.Cut(strings.TrimSpace(line), "tpctl "); ok {
			words := strings.Fields(command)
			b.must("/r", words[0]+" "+words[1], nil, words[2:]...)
			remedies++
		}
	}
	if remedies != 2 { // the router, and its port
		t.Errorf("check said:\n%s", out)
	}
	if out, err := b.run(t.Context(), "/r", "check", map[string]string{"severity": "error"}, "web"); err != nil {
		t.Error(err, out)
	}
	if err := st.DeleteNetwork(t.Context(), dockerNet.ID); err != nil {
		t.Error(err)
	}
	b.sound("/r")
}

// While etcd is away, a watched list goes on with the networks that there were.
func TestMirrorKeepsNetworks(t *testing.T) {
	b := newBed(t)
	st := withNetwork(b, "/m")
	m := &mirror{store: st}
	for _, isAway := range []bool{false, true} {
		if isAway {
			st.Close()
		}
		if got, err := m.Networks(t.Context()); err != nil || !slices.Equal(got, []store.Network{dockerNet}) {
			t.Errorf("away %v: %v, %v", isAway, got, err)
		}
	}
}
