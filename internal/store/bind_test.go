package store

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"tuplenet/embedded"
	"tuplenet/internal/topology"
)

// confined returns stores of root, and of a node hv1 that may write under its
// own name alone.
func confined(t *testing.T) (root, node *Store) {
	t.Helper()
	server := startEtcd(t, embedded.Config{})
	first := open(t, server)
	ctx, party := t.Context(), Party{Duty: DutyNode, Of: "hv1"}
	_, err := first.AddRoot(ctx, "secret")
	for _, step := range []func() error{
		func() error { return err },
		func() error { return first.AddParty(ctx, party) },
		func() error { return first.AddUser(ctx, "hv1", "secret") },
		func() error { return first.Grant(ctx, "hv1", party) },
		func() error { return first.EnableAuth(ctx) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	as := func(user string) *Store {
		s, err := Open(ctx, Config{Endpoints: server.Endpoints(), Username: user, Password: "secret", Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	return as("root"), as("hv1")
}

func TestBindUnderItsOwnName(t *testing.T) {
	root, node := confined(t)
	ctx := t.Context()
	mustCreate(t, root, topology.Switch{Name: "S"})
	ip := netip.MustParseAddr("10.0.0.1")
	port := topology.SwitchPort{Switch: "S", Name: "p", IP: ip, MAC: topology.MACFromIP(ip)}
	wantError(t, node.Bind(ctx, port.Key(), "hv1"), ErrNotFound, "switch S port p not found")
	mustCreate(t, root, port)
	at := func(s *Store, want string) {
		t.Helper()
		one, err := s.Get(ctx, port.Key())
		if err != nil {
			t.Fatal(err)
		}
		all, _, err := s.List(ctx, topology.KindSwitchPort, "S")
		if err != nil {
			t.Fatal(err)
		}
		if got := one.(topology.SwitchPort).Chassis; got != want || all[0] != one {
			t.Errorf("the port is at %q, want %q; the list says %v", got, want, all)
		}
	}
	at(node, "")
	for range 2 {
		if err := node.Bind(ctx, port.Key(), "hv1"); err != nil {
			t.Fatal(err)
		}
	}
	at(node, "hv1")
	put(t, root, "entity_bind/hv0/S/p", "") // it comes later
	at(node, "hv1")
	if err := node.Unbind(ctx, port.Key(), "hv1"); err != nil {
		t.Fatal(err)
	}
	at(node, "hv0")
	// Who attaches containers may write the value, too, but others could not take the
	// port from there, whose agents may not.
	plugin := Party{Duty: DutyPlugin, Of: "S"}
	for _, err := range []error{root.AddParty(ctx, plugin), root.Grant(ctx, "hv1", plugin), node.Bind(ctx, port.Key(), "hv1")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	at(node, "hv0")
	wantError(t, node.Unbind(ctx, port.Key(), "hv0"), ErrDenied, "switch S port p", "permission denied")
	if value := dump(t, root)["entity_view/LS/S/lsp/p"]; strings.Contains(value, "chassis") {
		t.Errorf("the value became %q", value)
	}
}

func TestAnswerUnderItsOwnName(t *testing.T) {
	root, node := confined(t)
	ctx := t.Context()
	c, err := root.Converse(ctx)
	if err != nil {
		t.Fatal(err)
	}
	id, err := c.Ask(ctx, []string{"hv1"}, Properties{"cmd": "x"})
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Answer(ctx, []Answer{{id, 3, "hv1", Properties{"a": "b"}}}); err != nil {
		t.Fatal(err)
	}
	if got := <-c.Answers(); got.Command != id || got.Sequence != 3 || got.Chassis != "hv1" || got.Properties["a"] != "b" {
		t.Errorf("heard %v", got)
	}
	wantError(t, node.Answer(ctx, []Answer{{id, 3, "hv2", Properties{"a": "b"}}}), ErrDenied, "answering a command")
}

func TestMoveBindings(t *testing.T) {
	s := start(t)
	values := map[string]string{
		"entity_view/LS/S/lsp/p":       "ip=10.0.0.1,mac=f2:01:0a:00:00:01,chassis=hv1,x=y",
		"entity_view/LS/S/lsp/q":       "ip=10.0.0.2,mac=f2:01:0a:00:00:02",
		"entity_view/LS/S/lsp/pod":     "ip=10.0.0.3,mac=f2:01:0a:00:00:03,chassis=hv1,owner=cni:x",
		"entity_view/LS/S/lsp/S_to_R":  "ip=10.0.0.254,mac=f2:01:0a:00:00:fe,peer=R_to_S",
		"entity_view/LS/P/lsp/patched": "ip=255.255.255.255,mac=ff:ff:ff:ff:ff:ee,peer=br0,chassis=hv1",
		"entity_view/LS/S/lsp/broken":  "chassis=hv1",
	}
	for key, value := range values {
		put(t, s, key, value)
	}
	// A child is where its parent is, as its agent has written, whoever owns it.
	child := "ip=10.0.0.4,mac=f2:01:0a:00:00:04,owner=cni:y,parent=p,tag=7"
	put(t, s, "entity_view/LS/S/lsp/child", child+",chassis=hv1")
	// These have waited longer than the bindings are there that are to be made.
	put(t, s, "entity_bind/hv0/S/p", "")
	put(t, s, "entity_bind/hv2/S/p", "")
	if n, err := s.OwnBindings(t.Context()); n != 2 || err != nil {
		t.Fatalf("moved %d (%v), want 2", n, err)
	}
	if got := sorted(dump(t, s)["entity_view/LS/S/lsp/child"]); got != sorted(child) {
		t.Errorf("the child became %q, want %q", got, child)
	}
	if err := s.Delete(t.Context(), topology.Key{Kind: topology.KindSwitchPort, Parent: "S", Name: "child"}, false); err != nil {
		t.Fatal(err)
	}
	wantKey(t, s, "entity_view/LS/S/lsp/p", "ip=10.0.0.1,mac=f2:01:0a:00:00:01,x=y")
	e, err := s.Get(t.Context(), topology.Key{Kind: topology.KindSwitchPort, Parent: "S", Name: "p"})
	if err != nil || e.(topology.SwitchPort).Chassis != "hv1" {
		t.Errorf("the port is %v (%v), want it at hv1", e, err)
	}
	put(t, s, "entity_bind/hv2/S/q", "")
	put(t, s, "entity_bind/hv2/S/S_to_R", "") // by somebody who tries to take a router's port
	put(t, s, "entity_bind/hv2/S/p", "")      // waits
	put(t, s, "entity_bind/hv2/S/pod", "")    // does not count
	if n, err := s.JoinBindings(t.Context()); n != 2 || err != nil {
		t.Fatalf("moved %d back (%v), want 2", n, err)
	}
	values["entity_view/LS/S/lsp/q"] += ",chassis=hv2"
	for key, want := range values {
		if got := sorted(dump(t, s)[key]); got != sorted(want) {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	for key := range dump(t, s) {
		if strings.HasPrefix(key, "entity_bind/") {
			t.Errorf("%s is left", key)
		}
	}
}

// sorted returns a value with its pairs in order, which means nothing.
func sorted(value string) string {
	pairs := strings.Split(value, ",")
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

func TestRemoveChassisWithBindings(t *testing.T) {
	s := removal(t)
	put(t, s, "down/hv1", "since=5")
	put(t, s, "entity_view/LS/S/lsp/r", "ip=10.0.0.3,mac=f2:01:0a:00:00:03")
	put(t, s, "entity_bind/hv1/S/r", "")
	put(t, s, "entity_bind/hv2/S/r", "")
	put(t, s, "entity_bind/hv1/S/q", "") // waits for what the value says
	put(t, s, "entity_bind/hv11/S/r", "")
	r := remove(t, s, "hv1")
	port := topology.Key{Kind: topology.KindSwitchPort, Parent: "S", Name: "r"}
	if !slices.Contains(r.Released, port) {
		t.Errorf("released %v, want %v among them", r.Released, port)
	}
	wantCleaned(t, s)
	e, err := s.Get(t.Context(), port)
	if err != nil || e.(topology.SwitchPort).Chassis != "hv2" {
		t.Errorf("the port is %v (%v), want it at hv2", e, err)
	}
	for key := range dump(t, s) {
		if strings.HasPrefix(key, "entity_bind/hv1/") {
			t.Errorf("%s is left", key)
		}
	}
}
