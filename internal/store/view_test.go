package store

import (
	"errors"
	"net/netip"
	"testing"

	"tuplenet/internal/topology"
)

func route(router, name, nextHop, outPort string) topology.StaticRoute {
	return topology.StaticRoute{Router: router, Name: name, Net: netip.MustParsePrefix("0.0.0.0/0"),
		NextHop: netip.MustParseAddr(nextHop), OutPort: outPort}
}

// What a check has seen still is so when the change is made.
func TestCreateIf(t *testing.T) {
	s := start(t)
	ctx := t.Context()
	out := routerPort("R", "p", "10.0.0.1/24", "")
	mustCreate(t, s, topology.Router{Name: "R"}, out)

	refused := errors.New("refused")
	_, err := s.CreateIf(ctx, func(*View) error { return refused }, route("R", "r", "10.0.0.2", "p"))
	wantError(t, err, refused)

	t.Run("a port goes", func(t *testing.T) {
		asked := 0
		_, err := s.CreateIf(ctx, func(v *View) error {
			_, err := v.Get(out.Key())
			if asked++; asked == 1 {
				mustDelete(t, s, out.Key(), false)
			}
			return err
		}, route("R", "r", "10.0.0.2", "p"))
		wantError(t, err, ErrNotFound, "router R port p")
		if asked != 2 {
			t.Errorf("the check was asked %d times, want 2", asked)
		}
	})
	t.Run("a port comes", func(t *testing.T) {
		asked := 0
		_, err := s.CreateIf(ctx, func(v *View) error {
			_, err := v.Get(out.Key())
			if asked++; asked == 1 {
				mustCreate(t, s, out)
			}
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			return refused
		}, route("R", "r", "10.0.0.2", "p"))
		wantError(t, err, refused)
	})
	t.Run("an equal route comes", func(t *testing.T) {
		asked := 0
		_, err := s.CreateIf(ctx, func(v *View) error {
			routes, err := v.List(topology.KindStaticRoute, "R")
			if asked++; asked == 1 {
				mustCreate(t, s, route("R", "other", "10.0.0.2", "p"))
			}
			if len(routes) > 0 {
				return refused
			}
			return err
		}, route("R", "r", "10.0.0.2", "p"))
		wantError(t, err, refused)
	})
	t.Run("a route comes anywhere", func(t *testing.T) {
		asked, before := 0, 0
		_, err := s.CreateIf(ctx, func(v *View) error {
			routes, err := v.List(topology.KindStaticRoute, "")
			if asked++; asked == 1 {
				before = len(routes)
				mustCreate(t, s, route("R", "another", "10.0.0.3", "p"))
			}
			if len(routes) > before {
				return refused
			}
			return err
		}, route("R", "r", "10.0.0.2", "p"))
		wantError(t, err, refused)
	})
	t.Run("nothing happens", func(t *testing.T) {
		asked := 0
		made, err := s.CreateIf(ctx, func(v *View) error {
			asked++
			_, err := v.Get(out.Key())
			if err == nil {
				_, err = v.List(topology.KindStaticRoute, "R")
			}
			if err == nil {
				_, err = v.List(topology.KindNAT, "R") // there are none
			}
			return err
		}, route("R", "r", "10.0.0.2", "p"))
		if err != nil || len(made) != 1 || asked != 1 {
			t.Errorf("made %v, asked %d times: %v", made, asked, err)
		}
	})
	t.Run("its own conditions come first", func(t *testing.T) {
		never := func(*View) error { t.Error("the check was asked"); return nil }
		_, err := s.CreateIf(ctx, never, route("R", "r", "10.0.0.2", "p"))
		wantError(t, err, ErrExists)
		_, err = s.CreateIf(ctx, never, route("X", "r", "10.0.0.2", "p"))
		wantError(t, err, ErrNotFound, "router X")
	})
}

// A port of a pool that is claimed while somebody deletes it is seen by the check.
func TestDeleteIf(t *testing.T) {
	s := start(t)
	ctx := t.Context()
	spare := port("S", "p", "10.0.0.2")
	spare.Pool = "hv1"
	mustCreate(t, s, topology.Switch{Name: "S"}, spare)
	refused := errors.New("refused")
	asked := 0
	check := func(v *View) error {
		e, err := v.Get(spare.Key())
		if asked++; asked == 1 {
			if _, err := s.ClaimPort(ctx, "S", "hv1", "cni:k8s/1/eth0", Want{}); err != nil {
				t.Fatal(err)
			}
		}
		if err == nil && e.(topology.SwitchPort).Owner != "" {
			return refused
		}
		return err
	}
	wantError(t, s.DeleteIf(ctx, check, spare.Key(), false), refused)
	if asked != 2 {
		t.Errorf("the check was asked %d times, want 2", asked)
	}
	if err := s.DeleteIf(ctx, func(*View) error { return nil }, spare.Key(), false); err != nil {
		t.Error(err)
	}
	never := func(*View) error { t.Error("the check was asked"); return nil }
	wantError(t, s.DeleteIf(ctx, never, spare.Key(), false), ErrNotFound)
}
