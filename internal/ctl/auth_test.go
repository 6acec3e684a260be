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

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// auth runs a command about users, as nobody in particular, and returns what it
// prints.
func (b *bed) auth(in io.Reader, name string, flags map[string]string, args ...string) (string, error) {
	b.Helper()
	as := func(user, password string) (*store.Store, error) {
		return store.New(store.Config{Endpoints: b.server.Endpoints(), Username: user, Password: password, Log: slog.New(slog.DiscardHandler)})
	}
	all := All()
	c := all[slices.IndexFunc(all, func(c Command) bool { return c.Name() == "auth "+name })]
	var said bytes.Buffer
	err := c.Run(b.Context(), Env{In: in, Out: &said, Err: &said, Flags: flags, ReachAs: as,
		Reach: func() (*store.Store, error) { return as("", "") },
		Open:  func(context.Context) (*store.Store, error) { return as("", "") }}, args)
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
	if err := os.WriteFile(flags["directory"], nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := b.auth(strings.NewReader(""), "setup", flags)
	if err == nil || !strings.HasPrefix(err.Error(), "step 2 of 3 failed, those before it are done: user operator (operator), password in ") || !strings.HasSuffix(err.Error(), "; the same command goes on from there") {
		t.Errorf("got %v", err)
	}
	if err := os.Remove(flags["directory"]); err != nil {
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

// Chassis that may be alive need users before it is too late for them.
func TestEnableCutsNobodyOff(t *testing.T) {
	b := newBed(t)
	st, ctx := b.store("/tuplenet"), t.Context()
	ip := netip.MustParseAddr("192.0.2.1")
	for i, name := range []string{"alive", "stopped", "down", "original", "has-user"} {
		c := topology.Chassis{Name: name, IP: ip.Next(), Tick: int64(i)}
		if err := st.PutChassis(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"alive", "stopped", "has-user"} {
		p, err := st.Appear(ctx, name, ip, 15*time.Second, nil)
		if err != nil {
			t.Fatal(err)
		}
		if name == "stopped" {
			if err := p.Leave(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := st.DeclareDown(ctx, topology.Absence{Chassis: "down", Since: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := st.AddRoot(ctx, "secret"); err != nil {
		t.Fatal(err)
	}
	flags := b.secrets()
	b.mustAuth("add", map[string]string{"node": "has-user", "no-password": "true"}, "u")
	_, err := b.auth(strings.NewReader(""), "enable", flags)
	if err == nil || !strings.HasPrefix(err.Error(), "chassis that are alive have no user, and would be cut off: alive, original; ") {
		t.Errorf("got %v", err)
	}
	if said := b.mustAuth("show", nil); !strings.Contains(said, "\nchassis alive has no user") || strings.Contains(said, "chassis has-user has no user") {
		t.Errorf("it said:\n%s", said)
	}
	flags["force"] = "true"
	b.mustAuth("enable", flags)
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
	if err := writeCredentials(path, `h"1`, "secret"); err != nil {
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
}
