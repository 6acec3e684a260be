package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
)

// Member is a member of etcd's cluster, as it says itself.
type Member struct {
	Name     string        // as the cluster knows it; empty if it could not be told
	Endpoint string        // where it was asked
	Version  string        // of etcd
	Leader   bool          // it is the leader
	Led      bool          // it knows of a leader: without one it serves nobody
	Learner  bool          // it has no vote yet
	Size     int64         // of its database, in bytes
	Quota    int64         // that etcd refuses writes beyond; 0 if it does not tell
	Revision int64         // of the store
	Lag      uint64        // entries of Raft's log that it has not applied yet
	Took     time.Duration // until it answered
	Alarms   []string      // what it says is wrong, such as that its space is used up
	Err      error         // why it could not be asked; then all but Name and Endpoint is zero

	id, raftIndex, applied uint64
}

// Members asks every member of etcd that there is for its state: those at the
// store's endpoints, and those that they know of at the addresses that these
// tell clients. No majority is needed. Who has not answered after patience has
// an Err; those that only others know of are given as long once more.
func (s *Store) Members(ctx context.Context, patience time.Duration) []Member {
	members, known := s.askMembers(ctx, s.endpoints, patience)
	for _, k := range known {
		if i := slices.IndexFunc(members, func(m Member) bool { return m.is(k) }); i >= 0 {
			members[i].Name = nameOf(k)
		}
	}
	known = slices.DeleteFunc(known, func(k *etcdserverpb.Member) bool {
		return slices.ContainsFunc(members, func(m Member) bool { return m.is(k) })
	})
	others := make([]Member, len(known))
	var group errgroup.Group
	for i, k := range known {
		group.Go(func() error {
			others[i] = Member{Err: errors.New("it has told the cluster no address for clients yet")}
			answers, _ := s.askMembers(ctx, k.ClientURLs, patience)
			if len(answers) > 0 {
				others[i] = answers[max(0, slices.IndexFunc(answers, func(m Member) bool { return m.Err == nil }))]
			}
			others[i].Name = nameOf(k)
			return nil
		})
	}
	group.Wait()
	members = distinct(append(members, others...))
	setLag(members)
	slices.SortStableFunc(members, func(a, b Member) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Endpoint, b.Endpoint))
	})
	return members
}

// is reports whether the member is the one that the cluster knows as k.
func (m *Member) is(k *etcdserverpb.Member) bool {
	if m.Err == nil {
		return m.id == k.ID
	}
	return slices.ContainsFunc(k.ClientURLs, func(url string) bool { return withoutScheme(url) == withoutScheme(m.Endpoint) })
}

func nameOf(k *etcdserverpb.Member) string { return cmp.Or(k.Name, "(not started)") }

func withoutScheme(endpoint string) string {
	if _, rest, ok := strings.Cut(endpoint, "://"); ok {
		return rest
	}
	return endpoint
}

// askMembers asks whoever is at the endpoints, all at the same time, for its
// state and for whom it knows of.
func (s *Store) askMembers(ctx context.Context, endpoints []string, patience time.Duration) (members []Member, known []*etcdserverpb.Member) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	members = make([]Member, len(endpoints))
	lists := make([][]*etcdserverpb.Member, len(endpoints))
	var group errgroup.Group
	for i, endpoint := range endpoints {
		group.Go(func() error {
			members[i], lists[i] = s.askMember(ctx, endpoint)
			return nil
		})
	}
	group.Wait()
	for _, list := range lists {
		if len(list) > len(known) { // one that was taken out may know of fewer
			known = list
		}
	}
	return members, known
}

func (s *Store) askMember(ctx context.Context, endpoint string) (m Member, known []*etcdserverpb.Member) {
	m.Endpoint = endpoint
	conn, err := s.client.Dial(endpoint)
	if err != nil {
		m.Err = errors.New(reason(err))
		return m, nil
	}
	defer conn.Close()
	begun := time.Now()
	// Not by the client's own methods, which try again and again.
	resp, err := etcdserverpb.NewMaintenanceClient(conn).Status(ctx, &etcdserverpb.StatusRequest{})
	switch {
	case ctx.Err() != nil:
		m.Err = fmt.Errorf("does not answer within %s", time.Since(begun).Round(100*time.Millisecond))
		return m, nil
	case err != nil:
		m.Err = errors.New(reason(err))
		return m, nil
	}
	m.Version, m.Size, m.Quota = resp.Version, resp.DbSize, resp.DbSizeQuota
	m.Learner, m.Leader, m.Led = resp.IsLearner, resp.Leader != 0 && resp.Leader == resp.Header.MemberId, resp.Leader != 0
	m.Revision, m.Took, m.Alarms = resp.Header.Revision, time.Since(begun), resp.Errors
	m.id, m.raftIndex, m.applied = resp.Header.MemberId, resp.RaftIndex, resp.RaftAppliedIndex
	if list, err := etcdserverpb.NewClusterClient(conn).MemberList(ctx, &etcdserverpb.MemberListRequest{}); err == nil {
		known = list.Members
	}
	return m, known
}

// reason returns what is behind err: of a connection that was refused that, and
// not how gRPC came to know.
func reason(err error) string {
	if why, is := refusal(err); is {
		return why
	}
	text := plain(err)
	if _, cause, ok := strings.Cut(text, "transport: Error while dialing: "); ok {
		return strings.TrimSuffix(cause, `"`)
	}
	if _, cause, ok := strings.Cut(text, "transport: authentication handshake failed: "); ok {
		return "TLS handshake failed: " + strings.TrimSuffix(cause, `"`)
	}
	if strings.HasSuffix(text, syscall.EPIPE.Error()) || strings.HasSuffix(text, syscall.ECONNRESET.Error()) {
		return "closes connections; it may want a certificate (cert and key), or one of another authority"
	}
	if strings.Contains(text, "error reading from server") || strings.Contains(text, "the client connection is closing") {
		return "the connection was lost"
	}
	if strings.Contains(text, "reading server preface") {
		return "takes connections and does not answer; it may want TLS (https://), or a certificate"
	}
	return text
}

// distinct returns each member once that answered at several endpoints.
func distinct(members []Member) []Member {
	seen := map[uint64]bool{}
	return slices.DeleteFunc(members, func(m Member) bool {
		again := m.Err == nil && seen[m.id]
		seen[m.id] = true
		return again
	})
}

// setLag tells how far each is behind the one that is furthest.
func setLag(members []Member) {
	newest := uint64(0)
	for _, m := range members {
		newest = max(newest, m.raftIndex)
	}
	for i := range members {
		if m := &members[i]; m.Err == nil {
			m.Lag = newest - min(newest, m.applied)
		}
	}
}

// LastChange returns the revision that last wrote what Watch delivers, of what
// there is now: who has seen that has seen all but deletions since.
func (s *Store) LastChange(ctx context.Context) (int64, error) {
	from, end := s.layout.watched()
	resp, err := s.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend),
		clientv3.WithLimit(1), clientv3.WithKeysOnly())
	if err != nil {
		return 0, s.failed("looking for the last change", err)
	}
	if len(resp.Kvs) == 0 {
		return 0, nil
	}
	return resp.Kvs[0].ModRevision, nil
}
