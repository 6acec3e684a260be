package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/types"
)

// Member is a member of etcd's cluster, as the cluster knows it.
type Member struct {
	Name       string // empty until it has been started
	PeerURLs   []string
	ClientURLs []string
	Learner    bool // it gets the data and has no vote yet

	id uint64
}

// ErrHasVote is in the error of who is to give a vote to a member that has one.
var ErrHasVote = errors.New("has a vote already")

// Members returns the cluster's members, sorted by their names. It takes most of them,
// as all that changes them does.
func (a *Admin) Members(ctx context.Context) ([]Member, error) {
	asking, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	resp, err := a.client.MemberList(asking)
	if err == nil {
		return members(resp.Members), nil
	}
	if now, unknown := state(ctx, a.client); unknown == nil && now.Leader == 0 {
		err = errNoLeader
	}
	return nil, a.failed("listing the members", err)
}

var errNoLeader = errors.New("it has lost most of its cluster's members, and without them nothing can be changed; " + newCluster)

func members(all []*etcdserverpb.Member) []Member {
	var known []Member
	for _, m := range all {
		known = append(known, Member{m.Name, m.PeerURLs, m.ClientURLs, m.IsLearner, m.ID})
	}
	slices.SortStableFunc(known, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return known
}

// AddMember announces a member to the cluster, and returns the
// Config.InitialCluster that a server is to be started with as that member, and
// "existing" for its Config.InitialClusterState. It has no vote at first, so that the
// cluster does not depend on it before it works: see PromoteMember.
func (a *Admin) AddMember(ctx context.Context, name, peerURL string) (initialCluster string, err error) {
	if err := checkPeerURL(peerURL); err != nil {
		return "", err
	}
	doing := "adding member " + name
	there, err := a.Members(ctx)
	if err != nil {
		return "", err
	}
	if err := isFree(peerURL, there); err != nil {
		return "", fmt.Errorf("%s: %w", doing, err)
	}
	var cluster []string
	for _, m := range there {
		if m.Name == name {
			return "", fmt.Errorf("there is a member %s already, at %s", name, strings.Join(m.PeerURLs, ", "))
		}
		for _, peer := range m.PeerURLs {
			if m.Name == "" {
				return "", fmt.Errorf("the member at %s was added and has not been started: start it, or take it out: tuplenet etcd remove-member %[1]s", peer)
			}
			if isLoopback(peer) && !isLoopback(peerURL) {
				return "", fmt.Errorf("member %s is at %s, where no other host finds it: have it listen at an address of its host (--listen-peer), "+
					"then: tuplenet etcd move-member %[1]s http://ADDRESS:2380", m.Name, peer)
			}
			cluster = append(cluster, m.Name+"="+peer)
		}
	}
	// A member's id is made of its URL and the second: one that was removed in this
	// second has it, and does not come back.
	err = patiently(ctx, func() error {
		_, err := a.client.MemberAddAsLearner(ctx, []string{peerURL})
		return err
	}, rpctypes.ErrUnhealthy, rpctypes.ErrMemberNotFound)
	if err != nil {
		if errors.Is(err, rpctypes.ErrTooManyLearners) {
			return "", fmt.Errorf("%s: another member has no vote yet: give it one first, with tuplenet etcd promote-member", doing)
		}
		return "", a.failed(doing, err)
	}
	return strings.Join(append(cluster, name+"="+peerURL), ","), nil
}

// PromoteMember gives a member a vote once it has been started and has all data, for
// which it waits until ctx ends. Who has one stays as he is (ErrHasVote).
func (a *Admin) PromoteMember(ctx context.Context, which string) error {
	doing := "giving member " + which + " a vote"
	var m Member
	err := patiently(ctx, func() (err error) {
		m, err = a.member(ctx, which)
		return err
	}, errNotStarted)
	if err != nil {
		return err
	}
	if !m.Learner {
		return fmt.Errorf("member %s %w", which, ErrHasVote)
	}
	err = patiently(ctx, func() error {
		_, err := a.client.MemberPromote(ctx, m.id)
		return err
	}, rpctypes.ErrUnhealthy, rpctypes.ErrMemberLearnerNotReady)
	if errors.Is(err, rpctypes.ErrMemberLearnerNotReady) {
		return fmt.Errorf("%s: it does not have all data yet; does it run?", doing)
	}
	if err != nil {
		return a.failed(doing, err)
	}
	return nil
}

// UpdateMember tells the cluster of another peer URL of a member.
func (a *Admin) UpdateMember(ctx context.Context, which, peerURL string) error {
	if err := checkPeerURL(peerURL); err != nil {
		return err
	}
	all, err := a.Members(ctx)
	if err != nil {
		return err
	}
	m, err := find(all, which)
	if err != nil {
		return err
	}
	others := slices.DeleteFunc(all, func(o Member) bool { return o.id == m.id })
	if err := isFree(peerURL, others); err != nil {
		return fmt.Errorf("changing member %s: %w", which, err)
	}
	if _, err := a.client.MemberUpdate(ctx, m.id, []string{peerURL}); err != nil {
		return a.failed("changing member "+which, err)
	}
	return nil
}

// RemoveMember takes a member out of the cluster. Its server ends, if it runs, and
// its data is of no use any more.
func (a *Admin) RemoveMember(ctx context.Context, which string) error {
	m, err := a.member(ctx, which)
	if err != nil {
		return err
	}
	err = patiently(ctx, func() error {
		_, err := a.client.MemberRemove(ctx, m.id)
		return err
	}, rpctypes.ErrUnhealthy)
	if err != nil {
		return a.failed("removing member "+which, err)
	}
	return nil
}

// patiently changes the members as soon as the cluster allows it: does it refuse for
// a reason that goes by itself, it is asked again until ctx ends, and then that is the
// error. So it refuses for some seconds after another change, until it has found all
// members healthy.
func patiently(ctx context.Context, change func() error, passing ...error) error {
	var refused error
	for {
		err := change()
		if refused != nil && ctx.Err() != nil {
			return refused // the last time it was not answered
		}
		refused = err
		if !slices.ContainsFunc(passing, func(p error) bool { return errors.Is(err, p) }) {
			return err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// isFree refuses a peer URL that one of some members has.
func isFree(peerURL string, members []Member) error {
	for _, m := range members {
		if !slices.Contains(m.PeerURLs, peerURL) {
			continue
		}
		if m.Name == "" {
			return fmt.Errorf("%s is the address of a member that was added and has not been started; to take that out: tuplenet etcd remove-member %[1]s", peerURL)
		}
		return fmt.Errorf("%s is the address of member %s", peerURL, m.Name)
	}
	return nil
}

// member returns the member of a name.
func (a *Admin) member(ctx context.Context, which string) (Member, error) {
	all, err := a.Members(ctx)
	if err != nil {
		return Member{}, err
	}
	return find(all, which)
}

// find finds a member by its name, or one that has none yet by its peer URL.
func find(all []Member, which string) (Member, error) {
	var names, pending []string
	for _, m := range all {
		if m.Name == which && which != "" || slices.Contains(m.PeerURLs, which) {
			return m, nil
		}
		if m.Name == "" {
			pending = append(pending, m.PeerURLs...)
		} else {
			names = append(names, m.Name)
		}
	}
	if len(pending) > 0 {
		return Member{}, fmt.Errorf("there is no member %s; there are: %s %w", which, strings.Join(append(names, pending...), ", "), errNotStarted)
	}
	return Member{}, fmt.Errorf("there is no member %s; there are: %s", which, strings.Join(names, ", "))
}

var errNotStarted = errors.New("(not started)")

func checkPeerURL(text string) error {
	urls, err := types.NewURLs([]string{text})
	if err != nil || urls[0].Scheme != "http" && urls[0].Scheme != "https" {
		return fmt.Errorf("%q is no peer URL of etcd: that is http://ADDRESS:PORT or https://ADDRESS:PORT, such as http://192.168.1.10:2380", text)
	}
	return nil
}

func isLoopback(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}
