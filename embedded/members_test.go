package embedded

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// grow adds a member to the cluster of an Admin, starts it, and gives it a vote.
func grow(t *testing.T, a *Admin, name, peerURL string) (Config, *Server) {
	t.Helper()
	cfg := local(t)
	cluster, err := a.AddMember(within(t), name, peerURL)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Name, cfg.PeerURLs, cfg.InitialCluster, cfg.InitialClusterState = name, []string{peerURL}, cluster, "existing"
	s := mustStart(t, cfg)
	if err := a.PromoteMember(within(t), name); err != nil {
		t.Fatal(err)
	}
	// It hears of that itself a moment later.
	c := connect(t, s.Endpoints()...)
	for ctx := within(t); ; time.Sleep(10 * time.Millisecond) {
		if _, err := c.Get(ctx, "k"); err == nil {
			break
		} else if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	return cfg, s
}

func wantMembers(t *testing.T, a *Admin, want string) {
	t.Helper()
	all, err := a.Members(within(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range all {
		text := m.Name
		if m.Learner {
			text += " learns"
		}
		got = append(got, text)
	}
	if strings.Join(got, ",") != want {
		t.Errorf("the members are %v, want %s", got, want)
	}
}

// One member becomes three, whose leader may end, and a dead one is replaced. It
// serves all the time: it does not depend on a member that has not been started.
func TestGrow(t *testing.T) {
	t.Parallel()
	ports := freePorts(t, 6)
	url := func(i int) string { return "http://" + ports[i] }
	// As installed: it has no name, and its peer URL is this host's alone.
	first := local(t)
	first.PeerURLs = []string{"http://127.0.0.1:" + ports[0][strings.LastIndex(ports[0], ":")+1:]}
	s := mustStart(t, first)
	c := connect(t, s.Endpoints()...)
	mustPut(t, c, "k", "1")
	a := mustConnect(t, Access{Endpoints: s.Endpoints()})
	_, err := a.AddMember(within(t), "b", "http://192.0.2.1:2380")
	wantError(t, err, "member default is at http://127.0.0.1:", "no other host finds it", "move-member")
	s.Stop()
	first.Name, first.PeerURLs = "a", []string{url(1)}
	s = mustStart(t, first)
	c, a = connect(t, s.Endpoints()...), mustConnect(t, Access{Endpoints: s.Endpoints()})
	if err := a.UpdateMember(within(t), "a", url(1)); err != nil {
		t.Fatal(err)
	}
	wantMembers(t, a, "a")

	// One that nobody has started is in nobody's way.
	if _, err := a.AddMember(within(t), "b", url(2)); err != nil {
		t.Fatal(err)
	}
	mustPut(t, c, "k", "2")
	_, err = a.AddMember(within(t), "c", url(3))
	wantError(t, err, "has not been started", "remove-member "+url(2))
	if err := a.RemoveMember(within(t), url(2)); err != nil {
		t.Fatal(err)
	}

	second, b := grow(t, a, "b", url(2))
	wantMembers(t, a, "a,b")
	_, err = a.AddMember(within(t), "b", url(3))
	wantError(t, err, "there is a member b already")
	third, c3 := grow(t, a, "c", url(3))
	wantMembers(t, a, "a,b,c")
	// Its host gets another address.
	if err := a.UpdateMember(within(t), "c", url(5)); err != nil {
		t.Fatal(err)
	}
	c3.Stop()
	third.PeerURLs = []string{url(5)}
	mustStart(t, third)
	if err := a.PromoteMember(within(t), "c"); !errors.Is(err, ErrHasVote) {
		t.Errorf("promoted again: %v", err)
	}
	s.Stop() // it has been the leader
	atB := connect(t, b.Endpoints()...)
	mustPut(t, atB, "k", "3")

	// Its data is lost: another one takes its place, under its name.
	a = mustConnect(t, Access{Endpoints: b.Endpoints()})
	if err := a.RemoveMember(within(t), "a"); err != nil {
		t.Fatal(err)
	}
	_, s = grow(t, a, "a", url(4))
	wantMembers(t, a, "a,b,c")
	wantValue(t, connect(t, s.Endpoints()...), "k", "3")

	// One that was removed while it was away is told so by the others when it comes.
	b.Stop()
	a = mustConnect(t, Access{Endpoints: s.Endpoints()})
	if err := a.RemoveMember(within(t), "b"); err != nil {
		t.Fatal(err)
	}
	_, err = Start(within(t), second)
	wantError(t, err, second.DataDir, "was removed from its cluster", "set that directory aside", "add-member")
}

// Of two members one is left: nothing about the cluster can be changed, but all of its
// data be saved, also when it does not start any more.
func TestMajorityLost(t *testing.T) {
	t.Parallel()
	first := local(t)
	first.Name, first.PeerURLs = "a", []string{"http://" + freePorts(t, 1)[0]}
	s := mustStart(t, first)
	mustPut(t, connect(t, s.Endpoints()...), "k", "v")
	a := mustConnect(t, Access{Endpoints: s.Endpoints()})
	_, b := grow(t, a, "b", "http://"+freePorts(t, 1)[0])
	b.Stop()
	wantError(t, a.RemoveMember(within(t), "b"), "lost most of its cluster's members", "tuplenet etcd backup works here")
	file := filepath.Join(t.TempDir(), "backup")
	if _, err := a.Backup(within(t), file, nil); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	for _, from := range []string{file, first.DataDir} {
		restored := local(t)
		if _, err := Restore(from, restored); err != nil {
			t.Fatal(err)
		}
		wantValue(t, connect(t, mustStart(t, restored).Endpoints()...), "k", "v")
	}
}

func TestMembersRefuse(t *testing.T) {
	t.Parallel()
	ports := freePorts(t, 2)
	cfg := local(t)
	cfg.Name, cfg.PeerURLs = "a", []string{"http://" + ports[0]}
	s := mustStart(t, cfg)
	a := mustConnect(t, Access{Endpoints: s.Endpoints()})
	_, err := a.AddMember(within(t), "b", "192.0.2.1:2380")
	wantError(t, err, `"192.0.2.1:2380" is no peer URL`, "http://ADDRESS:PORT")
	wantError(t, a.UpdateMember(within(t), "a", "unix:///tmp/x"), "is no peer URL", "http://ADDRESS:PORT")
	_, err = a.AddMember(within(t), "b", "http://"+ports[0])
	wantError(t, err, "adding member b", "is the address of member a")
	if err := a.UpdateMember(within(t), "a", "http://"+ports[0]); err != nil {
		t.Errorf("to where it is: %v", err)
	}
	wantError(t, a.RemoveMember(within(t), "b"), "there is no member b; there are: a")
	wantError(t, a.PromoteMember(within(t), "a"), "member a has a vote already")

	// A server that comes with data of its own, or none, is not the one that was added.
	if _, err := a.AddMember(within(t), "b", "http://"+ports[1]); err != nil {
		t.Fatal(err)
	}
	wantError(t, a.UpdateMember(within(t), "a", "http://"+ports[1]), "is the address of a member that was added and has not been started")
	began := time.Now()
	short, cancel := context.WithTimeout(within(t), 500*time.Millisecond)
	defer cancel()
	wantError(t, a.PromoteMember(short, "http://"+ports[1]), "does it run")
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	wantMembers(t, a, fmt.Sprint(" learns", ",a"))
}
