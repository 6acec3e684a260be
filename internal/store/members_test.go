package store

import (
	"strings"
	"testing"
	"time"

	"tuplenet/embedded"
	"tuplenet/internal/topology"
)

func TestMembers(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, embedded.Config{Name: "one"})
	s := open(t, server)
	put(t, s, "entity_view/LS/LS-A", "id=1")
	got := s.Members(t.Context(), 20*time.Second)
	if len(got) != 1 || got[0].Err != nil {
		t.Fatalf("members: %+v", got)
	}
	m := got[0]
	if m.Name != "one" || !m.Leader || !m.Led || m.Learner || m.Size == 0 || m.Quota == 0 || m.Lag != 0 || m.Took <= 0 || len(m.Alarms) > 0 ||
		!strings.HasPrefix(m.Version, "3.") || m.Revision < 2 {
		t.Errorf("the member says %+v", m)
	}

	// One endpoint more leads to the same member, one to nobody, and one to
	// somebody who takes connections only.
	hung := newFrozen(t, strings.TrimPrefix(server.Endpoints()[0], "http://"))
	close(hung.freeze)
	s.endpoints = []string{server.Endpoints()[0], strings.TrimPrefix(server.Endpoints()[0], "http://"), "127.0.0.1:1", hung.Addr().String()}
	got = s.Members(t.Context(), 500*time.Millisecond)
	if len(got) != 3 {
		t.Fatalf("members: %+v", got)
	}
	away := map[string]string{}
	for _, m := range got[:2] {
		away[m.Endpoint] = m.Err.Error()
	}
	if why := away["127.0.0.1:1"]; !strings.HasSuffix(why, "connection refused") || strings.Contains(why, "desc") {
		t.Errorf("nobody is at an endpoint, which is told as %q", why)
	}
	if why := away[hung.Addr().String()]; why != "does not answer within 500ms" {
		t.Errorf("a member hangs, which is told as %q", why)
	}
	if got[2].Name != "one" || got[2].Err != nil {
		t.Errorf("the member that works: %+v", got[2])
	}
}

// Who speaks no TLS is told of without how gRPC came to know.
func TestMemberWithoutTLS(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, embedded.Config{})
	s := open(t, server)
	s.endpoints = []string{strings.Replace(server.Endpoints()[0], "http:", "https:", 1)}
	got := s.Members(t.Context(), 20*time.Second)
	if len(got) != 1 || got[0].Err == nil || !strings.HasPrefix(got[0].Err.Error(), "TLS handshake failed: ") {
		t.Errorf("it says %+v", got)
	}
}

// A member that the endpoints do not name is found by those that they name.
func TestMembersOfOthers(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, embedded.Config{Name: "one"})
	s := open(t, server)
	// Nobody is where the cluster has it by now.
	if _, err := s.client.MemberAddAsLearner(t.Context(), []string{"http://127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	got := s.Members(t.Context(), 5*time.Second)
	if len(got) != 2 || got[0].Name != "(not started)" || got[0].Err == nil || got[1].Name != "one" || got[1].Err != nil {
		t.Errorf("members: %+v", got)
	}
}

func TestLastChange(t *testing.T) {
	t.Parallel()
	s := start(t)
	last := func() int64 {
		n, err := s.LastChange(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := last(); n != 0 {
		t.Errorf("an empty store changed last in revision %d", n)
	}
	put(t, s, "entity_view/LS/LS-A", "id=1")
	before := last()
	put(t, s, "globals/device_ids", "OjAAAAAAAAA=") // nothing that agents look at
	if n := last(); n != before || n == 0 {
		t.Errorf("the last change is that of revision %d, want %d", n, before)
	}
	if err := s.PutChassis(t.Context(), topology.Chassis{Name: "hv1", IP: topology.OuterIP, Tick: 1}); err != nil {
		t.Fatal(err)
	}
	if n := last(); n <= before {
		t.Errorf("after another change the last one is that of revision %d", n)
	}
}
