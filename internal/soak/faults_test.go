package soak

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tuplenet/internal/lab"
)

// thing is what can fail: a component of a host, or a member of etcd, which has
// no host.
type thing struct {
	host      string
	component lab.Component
}

func (t thing) String() string {
	if t.host == "" {
		return string(t.component)
	}
	return string(t.component) + " of " + t.host
}

// state is how a thing is.
type state uint8

const (
	well state = iota
	dead
	hung
)

// things returns all that can fail, in an order that is always the same.
func things(spec lab.Spec) []thing {
	var all []thing
	for _, h := range spec.Hosts {
		for _, c := range []lab.Component{lab.Agent, lab.Vswitchd, lab.OVSDB} {
			all = append(all, thing{h.Name, c})
		}
	}
	for i := range spec.Etcd {
		all = append(all, thing{"", lab.Component(fmt.Sprint(lab.Etcd, i+1))})
	}
	return all
}

// kill and hang break a thing, mend brings it back.
func (s *soak) kill(ctx context.Context, t thing) error {
	s.states[t] = dead
	if t.host == "" {
		s.etcdBroke = time.Now()
		return s.KillEtcd(ctx, string(t.component))
	}
	return s.Kill(ctx, t.host, t.component)
}

func (s *soak) hang(ctx context.Context, t thing) error {
	s.states[t] = hung
	if t.host == "" {
		s.etcdBroke = time.Now()
		return s.HangEtcd(ctx, string(t.component))
	}
	return s.Hang(ctx, t.host, t.component)
}

func (s *soak) mend(ctx context.Context, t thing) error {
	was := s.states[t]
	s.states[t] = well
	switch {
	case t.host == "" && was == hung:
		return s.ResumeEtcd(ctx, string(t.component))
	case t.host == "":
		return s.StartEtcd(ctx, string(t.component))
	case was == hung:
		return s.Resume(ctx, t.host, t.component)
	}
	return s.Start(ctx, t.host, t.component)
}

// broken returns what does not work now.
func (s *soak) broken() []thing {
	return slices.DeleteFunc(slices.Clone(s.things), func(t thing) bool { return s.states[t] == well })
}

// hostWell reports whether nothing of a host is broken.
func (s *soak) hostWell(host string) bool {
	for _, t := range s.things {
		if t.host == host && s.states[t] != well {
			return false
		}
	}
	return true
}

// quorum reports whether most members of etcd work.
func (s *soak) quorum() bool {
	working := 0
	for _, t := range s.things {
		if t.host == "" && s.states[t] == well {
			working++
		}
	}
	return 2*working > s.Spec.Etcd
}

// wellHosts returns the hosts that have all they need.
func (s *soak) wellHosts() []string {
	var hosts []string
	for _, h := range s.Spec.Hosts {
		if s.quorum() && s.hostWell(h.Name) {
			hosts = append(hosts, h.Name)
		}
	}
	return hosts
}
