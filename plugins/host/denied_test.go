package host

import (
	"errors"
	"fmt"
	"testing"

	"tuplenet/internal/store"
)

// What etcd denies is said once, and left alone for a while, until it is done or
// somebody else has done it.
func TestDenials(t *testing.T) {
	var d denials
	denial := fmt.Errorf("releasing it: %w", store.ErrDenied)
	note := func(err error, wantDenied, wantAgain bool) {
		t.Helper()
		if denied, again := d.note("cni:net/c1/eth0", err); denied != wantDenied || again != wantAgain {
			t.Errorf("%v is taken for denied %v, again %v", err, denied, again)
		}
	}
	rests := func(want bool) {
		t.Helper()
		if before, now := d.of("cni:net/c1/eth0"); before != want || now != want {
			t.Errorf("denied before: %v, left alone: %v, want %v", before, now, want)
		}
	}
	rests(false)
	note(errors.New("etcd is away"), false, false)
	rests(false)
	note(denial, true, false)
	rests(true)
	note(denial, true, true)
	note(errors.New("etcd is away"), false, false)
	rests(true)
	d.among([]string{"cni:net/c1/eth0", "cni:net/c2/eth0"})
	rests(true)
	note(nil, false, false)
	rests(false)
	note(denial, true, false)
	d.among([]string{"cni:net/c2/eth0"})
	rests(false)
}

// Switches of Docker's networks are its role's to write, others a plugin's.
func TestExplained(t *testing.T) {
	b := newBed(t)
	denial := fmt.Errorf("creating it: %w", store.ErrDenied)
	for _, tt := range []struct{ owner, sw, want string }{
		{"cni:net/c1/eth0", "LS-A", "lacks the role of a plugin for switch LS-A: tpctl auth add USER --plugin LS-A"},
		{"cni:net/c1/eth0", "ls-a", "lacks the role of a plugin for switch ls-a: tpctl auth add USER --plugin ls-a"},
		{"cnm:1edf8268/c1/eth", "LS-A", "lacks the role of a plugin for switch LS-A: tpctl auth add USER --plugin LS-A"},
		{"cnm:1edf8268/c1/eth", "af3a93c5", "lacks the role of Docker's plugin for any router: tpctl auth add USER --docker ROUTER"},
	} {
		if got, want := explained(denial, b.store, tt.owner, tt.sw).Error(), "creating it: permission denied; user USER "+tt.want; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
