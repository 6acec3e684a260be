package ctl

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tuplenet/internal/status"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// auth runs a command about users, as nobody in particular, and returns what it
// prints.
func (b *bed) auth(in io.Reader, name string, flags map[string]string, args ...string) (string, error) {
	b.Helper()
	cfg := store.Config{Endpoints: b.server.Endpoints(), Log: slog.New(slog.DiscardHandler)}
	all := All()
	c := all[slices.IndexFunc(all, func(c Command) bool { return c.Name() == "auth "+name })]
	var said bytes.Buffer
	err := c.Run(b.Context(), Env{In: in, Out: &said, Err: &said, Flags: flags, Etcd: func() (store.Config, error) { return cfg, nil },
		Open: func(context.Context) (*store.Store, error) { return store.New(cfg) }}, args)
	return said.String(), err
}

func (b *bed) mustAuth(name string, flags map[string]string, args ...string) string {
	b.Helper()
	said, err := b.auth(strings.NewReader(""), name, flags, args...)
	if err != nil {
		b.Fatalf("tpctl auth %s: %v", name, err)
	}
	return said
}

// secrets returns flags with a directory for passwords, and root's password in a
// file.
func (b *bed) secrets() map[string]string {
	b.Helper()
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "root"), []byte("secret\r\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	return map[string]string{"directory": filepath.Join(dir, "keys"), "root-password-file": filepath.Join(dir, "root"), "yes": "true"}
}

// A person is asked for root's password, twice where it is to be made, and does not
// see it.
func TestRootsPasswordIsAsked(t *testing.T) {
	b := newBed(t)
	flags := map[string]string{"directory": t.TempDir()}
	if said, err := b.auth(person(t, "secret\nsekret\n"), "setup", flags); err == nil || err.Error() != "the two passwords are not the same" {
		t.Errorf("%v\n%s", err, said)
	}
	if said, err := b.auth(person(t, "\n"), "setup", flags); err == nil || err.Error() != "operation canceled" {
		t.Errorf("%v\n%s", err, said)
	}
	said, err := b.auth(person(t, "secret\nsecret\nyes\n"), "setup", flags)
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if strings.Contains(said, "secret") || !strings.Contains(said, "once more: ") || !strings.Contains(said, "confirm? [yes/no]") {
		t.Errorf("it said:\n%s", said)
	}
	if said, err := b.auth(person(t, "wrong\n"), "enable", nil); err == nil || !strings.Contains(err.Error(), "root cannot log in, so authentication is off again") {
		t.Errorf("%v\n%s", err, said)
	}
	if said, err := b.auth(person(t, "secret\n"), "enable", nil); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
	if said, err := b.auth(person(t, "secret\n"), "disable", nil); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}

// What failed in the middle goes on from there, and locks nobody out.
func TestSetupGoesOn(t *testing.T) {
	b := newBed(t)
	flags := b.secrets()
	flags["node"] = "h1"
	// A directory is where the operator's file is to be.
	inTheWay := filepath.Join(flags["directory"], "client-operator.yaml", "x")
	if err := os.MkdirAll(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := b.auth(strings.NewReader(""), "setup", flags)
	if err == nil || !strings.HasPrefix(err.Error(), "step 2 of 3 failed, those before it are done: user operator (operator), password in ") || !strings.HasSuffix(err.Error(), "; the same command goes on from there") {
		t.Errorf("got %v", err)
	}
	if err := os.RemoveAll(flags["directory"]); err != nil {
		t.Fatal(err)
	}
	if said := b.mustAuth("setup", flags); strings.Contains(said, "root, who") || !strings.Contains(said, "user h1 (node h1)") {
		t.Errorf("it said:\n%s", said)
	}
	// As if it had been killed between a user and its role.
	ctx := t.Context()
	st := b.store("/tuplenet")
	if err := st.AddUser(ctx, "h2", "x"); err != nil {
		t.Fatal(err)
	}
	flags["node"] = "h2"
	if said := b.mustAuth("setup", flags); !strings.Contains(said, "user h2 (node h2), who is there already") {
		t.Errorf("it said:\n%s", said)
	}
	// And as if enable had been, while there was another root.
	if err := st.AddUser(ctx, spareRoot, "x"); err != nil {
		t.Fatal(err)
	}
	if err := st.GrantRoot(ctx, spareRoot); err != nil {
		t.Fatal(err)
	}
	b.mustAuth("enable", flags)
	if said := b.mustAuth("show", flags); strings.Contains(said, spareRoot) || !strings.Contains(said, "authentication is on") {
		t.Errorf("it said:\n%s", said)
	}
	// And as if it had been after etcd authenticated.
	root, err := store.New(store.Config{Endpoints: b.server.Endpoints(), Username: store.Root, Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := errors.Join(root.AddUser(ctx, spareRoot, "x"), root.GrantRoot(ctx, spareRoot)); err != nil {
		t.Fatal(err)
	}
	b.mustAuth("enable", flags)
	if said := b.mustAuth("show", flags); strings.Contains(said, spareRoot) {
		t.Errorf("it said:\n%s", said)
	}
}

// agent answers for a chassis as an agent does, as a user of etcd; status is what it
// says of that.
func (b *bed) agent(chassis, user, password, says string) {
	b.Helper()
	st, err := store.New(store.Config{Endpoints: b.server.Endpoints(), Username: user, Password: password, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { st.Close() })
	commands := st.Commands(b.Context(), chassis)
	go func() {
		for c := range commands {
			if answer, err := (status.Report{User: says}).Answer(c.ID, chassis); err == nil {
				st.Answer(b.Context(), []store.Answer{answer})
			}
		}
	}()
}

// alive makes a chassis with a record that is alive.
func (b *bed) alive(st *store.Store, name string) *store.Presence {
	b.Helper()
	ip := netip.MustParseAddr("192.0.2.1")
	if err := st.PutChassis(b.Context(), topology.Chassis{Name: name, IP: ip, Tick: 1, MTU: 1400}); err != nil {
		b.Fatal(err)
	}
	p, err := st.Appear(b.Context(), name, ip, 15*time.Second, nil)
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// Chassis that may be alive need users, and agents that use them, before it is too
// late for them.
func TestEnableCutsNobodyOff(t *testing.T) {
	b := newBed(t)
	st, ctx := b.store("/tuplenet"), t.Context()
	for _, name := range []string{"alive", "mute", "nobody", "plugin"} {
		b.alive(st, name)
	}
	if err := b.alive(st, "stopped").Leave(ctx); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"down", "original"} {
		if err := st.PutChassis(ctx, topology.Chassis{Name: name, IP: netip.MustParseAddr("192.0.2.9"), Tick: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.DeclareDown(ctx, topology.Absence{Chassis: "down", Since: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := st.AddRoot(ctx, "secret"); err != nil {
		t.Fatal(err)
	}
	b.agent("alive", "alive", "secret", "alive")
	b.agent("nobody", "", "", "")
	b.agent("plugin", "cni", "secret", "cni")
	flags := b.secrets()
	for _, name := range []string{"mute", "nobody", "plugin"} {
		b.mustAuth("add", map[string]string{"node": name, "no-password": "true"}, name)
	}
	b.mustAuth("add", map[string]string{"plugin": "S", "no-password": "true"}, "cni")
	_, err := b.auth(strings.NewReader(""), "enable", flags)
	if err == nil || !strings.HasPrefix(err.Error(), "chassis that are alive have no user, and would be cut off: alive, original; ") {
		t.Errorf("got %v", err)
	}
	if said := b.mustAuth("show", nil); !strings.Contains(said, "\nchassis alive has no user") || strings.Contains(said, "chassis plugin has no user") {
		t.Errorf("it said:\n%s", said)
	}

	if err := st.AddUser(ctx, "alive", "another"); err != nil {
		t.Fatal(err)
	}
	b.mustAuth("add", map[string]string{"node": "alive"}, "alive")
	b.mustAuth("add", map[string]string{"node": "original", "no-password": "true"}, "original")
	_, err = b.auth(strings.NewReader(""), "enable", flags)
	const want = "agents would be cut off from etcd: mute: does not answer; nobody: asks as nobody, or is of an earlier version that does not say; " +
		"original: may be a node of the original TupleNet, which has no users; plugin: asks as user cni, who is not node plugin; put its user"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v", err)
	}
	if said := b.mustAuth("show", nil); !strings.Contains(said, "authentication is off") {
		t.Errorf("it said:\n%s", said)
	}
	flags["force"] = "true"
	b.mustAuth("enable", flags)
	b.mustAuth("disable", flags)
}

// That an agent's password is wrong etcd tells only when it authenticates.
func TestEnableSeesWhoIsCutOff(t *testing.T) {
	defer func(d time.Duration) { loginPatience = d }(loginPatience)
	loginPatience = 3 * time.Second
	b := newBed(t)
	st, ctx := b.store("/tuplenet"), t.Context()
	if _, err := st.AddRoot(ctx, "secret"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"right", "wrong"} {
		b.alive(st, name)
		if err := st.AddUser(ctx, name, "right"); err != nil {
			t.Fatal(err)
		}
		b.mustAuth("add", map[string]string{"node": name}, name)
		b.agent(name, name, name, name)
	}
	flags := b.secrets()
	_, err := b.auth(strings.NewReader(""), "enable", flags)
	if err == nil || !strings.HasPrefix(err.Error(), "authentication is on, and agents do not answer any more: wrong; ") {
		t.Errorf("got %v", err)
	}
	b.mustAuth("disable", flags)
}

// What agents have bound becomes theirs, and what others have stays; and back.
func TestEnableHandsBindingsOver(t *testing.T) {
	b := newBed(t)
	st, ctx := b.store("/tuplenet"), t.Context()
	port := func(name string, last byte) topology.SwitchPort {
		ip := netip.AddrFrom4([4]byte{10, 0, 0, last})
		return topology.SwitchPort{Switch: "S", Name: name, IP: ip, MAC: topology.MACFromIP(ip), Chassis: "h1"}
	}
	plain, owned, outer := port("plain", 1), port("owned", 2), port("outer", 3)
	owned.Owner = "cni:k8s/1/eth0"
	outer.IP, outer.Peer = topology.OuterIP, "br0"
	if _, err := st.Create(ctx, topology.Switch{Name: "S"}, plain, owned, outer); err != nil {
		t.Fatal(err)
	}
	before := b.keys("/tuplenet")
	if _, err := st.AddRoot(ctx, "secret"); err != nil {
		t.Fatal(err)
	}
	flags := b.secrets()
	if said := b.mustAuth("enable", flags); !strings.Contains(said, "the bindings of 1 port belong to the chassis now") {
		t.Errorf("it said:\n%s", said)
	}
	root, err := store.Open(ctx, store.Config{Endpoints: b.server.Endpoints(), Username: "root", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, want := range []topology.SwitchPort{plain, owned, outer} {
		if got, err := root.Get(ctx, want.Key()); err != nil || got != topology.Stored(want) {
			t.Errorf("got %v, %v; want %v", got, err, want)
		}
	}
	b.mustAuth("disable", flags)
	after := b.keys("/tuplenet")
	if len(after) != len(before) {
		t.Errorf("got %v, want %v", after, before)
	}
	for key, value := range before {
		if after[key] != value {
			t.Errorf("%s: got %q, want %q", key, after[key], value)
		}
	}
}

// A directory for passwords is looked at before anything is made.
func TestDirectoryOfPasswords(t *testing.T) {
	b := newBed(t)
	dir := t.TempDir()
	file, open := filepath.Join(dir, "file"), filepath.Join(dir, "open")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Mkdir(open, 0o700), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	for where, want := range map[string]string{file: "is no directory", filepath.Join(file, "below"): "not a directory", open: "everybody may write to "} {
		flags := b.secrets()
		flags["directory"] = where
		if said, err := b.auth(strings.NewReader(""), "setup", flags); err == nil || !strings.HasPrefix(err.Error(), "--directory: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\n%s", where, err, said)
		}
	}
	if said := b.mustAuth("show", nil); strings.Contains(said, "root") {
		t.Errorf("it said:\n%s", said)
	}
}

// A user takes over what another one is, and gives up what it is in part.
func TestRolesComeAndGo(t *testing.T) {
	b := newBed(t)
	none := map[string]string{"no-password": "true"}
	b.mustAuth("add", map[string]string{"node": "h1", "plugin": "S,T", "no-password": "true"}, "h1")
	none["like"] = "h1"
	if said := b.mustAuth("add", none, "h1-2"); !strings.Contains(said, "user h1-2: node h1, plugin S, plugin T") || !strings.Contains(said, "note: there is no switch S yet") || !strings.Contains(said, "note: there is no chassis h1 yet") {
		t.Errorf("it said:\n%s", said)
	}
	if said := b.mustAuth("del", map[string]string{"plugin": "S"}, "h1"); said != "user h1 is not plugin S any more; it is node h1, plugin T\n" {
		t.Errorf("it said:\n%s", said)
	}
	if _, err := b.auth(strings.NewReader(""), "del", map[string]string{"plugin": "S"}, "h1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a role that it does not have: %v", err)
	}
	if said := b.mustAuth("del", nil, "h1-2"); said != "note: nobody is plugin S any more\nuser h1-2 deleted\n" {
		t.Errorf("it said:\n%s", said)
	}
	if said := b.mustAuth("add", map[string]string{"reader": "true"}, "h1"); said != "user h1: node h1, plugin T, reader\n" {
		t.Errorf("it said:\n%s", said)
	}
	none["like"] = "h2"
	if _, err := b.auth(strings.NewReader(""), "add", none, "h3"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("like nobody: %v", err)
	}
}

// A file with a password is its owner's alone, also where others had one open.
func TestCredentialsAreTheirOwners(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", "agent-h1.yaml")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	reader, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := writeCredentials(path, `h"1`, "secret", store.Config{}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
	if text, err := io.ReadAll(reader); err != nil || string(text) != "old" {
		t.Errorf("who had the old file open reads %q, %v", text, err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "user: \"h\\\"1\"\npassword: secret\n" {
		t.Errorf("got %q, %v", text, err)
	}
	// tpctl's says where etcd is, from wherever it is read.
	path = filepath.Join(filepath.Dir(path), "client-x.yaml")
	at := store.Config{Endpoints: []string{"https://a:1", "b:2"}, Prefix: "/p", CAFile: "/ca.pem", Username: "other", Password: "other"}
	if err := writeCredentials(path, "x", "secret", at); err != nil {
		t.Fatal(err)
	}
	const want = "endpoints: [\"https://a:1\",\"b:2\"]\nprefix: \"/p\"\ncacert: \"/ca.pem\"\nuser: \"x\"\npassword: secret\n"
	if text, err := os.ReadFile(path); err != nil || string(text) != want {
		t.Errorf("got %q, %v", text, err)
	}
}
