package store

import (
	"bytes"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/authpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/internal/topology"
)

// Duty is what somebody has to do with the store.
type Duty string

// The duties. What each may write is in grants; all of them read everything.
const (
	DutyReader   Duty = "reader"   // looks at things
	DutyOperator Duty = "operator" // changes the network
	DutyNode     Duty = "node"     // is the agent of a chassis
	DutyPlugin   Duty = "plugin"   // attaches containers to a switch
	DutyDocker   Duty = "docker"   // makes networks of Docker, and links them to a router
)

// Party is somebody with a duty. For etcd it is a role, and a user may have
// several.
type Party struct {
	Duty Duty
	Of   string // the chassis, switch or router that the duty is about; empty for a reader and an operator
}

// String returns "node hv1", or "reader".
func (p Party) String() string { return strings.TrimSpace(string(p.Duty) + " " + p.Of) }

// Check says why there is no such party, or returns nil.
func (p Party) Check() error {
	switch p.Duty {
	case DutyReader, DutyOperator:
		if p.Of != "" {
			return fmt.Errorf("a party %q is about nothing in particular", p.Duty)
		}
		return nil
	case DutyNode, DutyPlugin, DutyDocker:
		return topology.CheckName(p.Of)
	}
	return fmt.Errorf("no party is called %q", p.Duty)
}

// role returns the name of etcd's role for a party. Roles are etcd's and not a
// prefix's, so the name has the prefix in it.
func (l layout) role(p Party) string {
	if p.Of == "" {
		return string(l) + string(p.Duty)
	}
	return string(l) + string(p.Duty) + "/" + p.Of
}

// party is role's inverse.
func (l layout) party(role string) (p Party, ok bool) {
	rest, ok := strings.CutPrefix(role, string(l))
	duty, of, _ := strings.Cut(rest, "/")
	p = Party{Duty(duty), of}
	return p, ok && p.Check() == nil && l.role(p) == role
}

// Grant is a right to the keys from From up to, and without, End; or to From alone
// if End is empty.
type Grant struct {
	From, End   string
	Read, Write bool
}

// String returns the key, or the keys' common beginning and an asterisk.
func (g Grant) String() string {
	switch {
	case g.End == "":
		return g.From
	case g.End == clientv3.GetPrefixRangeEnd(g.From):
		return g.From + "*"
	}
	return g.From + " to " + g.End
}

func under(directory string) Grant {
	return Grant{From: directory, End: clientv3.GetPrefixRangeEnd(directory), Write: true}
}

func only(key string) Grant { return Grant{From: key, Write: true} }

// grants returns what a party may do. Whoever takes part needs all that there is:
// an agent has the whole topology in memory, and every transaction reads what it
// guards.
func (l layout) grants(p Party) []Grant {
	all := under(string(l))
	all.Read = true
	if p.Duty == DutyOperator {
		return []Grant{all}
	}
	all.Write = false
	grants := []Grant{all}
	write := func(more ...Grant) { grants = append(grants, more...) }
	switch p.Duty {
	case DutyNode:
		for _, kind := range []topology.Kind{topology.KindPresence, topology.KindContender, topology.KindAbsence, topology.KindChassis} {
			write(only(l.path(topology.Key{Kind: kind, Name: p.Of})))
		}
		write(under(l.bindings(p.Of)), under(l.answersBy(p.Of)))
	case DutyPlugin:
		write(under(l.collection(topology.KindSwitchPort, p.Of)), only(l.book(topology.Switch{Name: p.Of}.Key())))
	case DutyDocker:
		write(under(l.networks()), under(l.reservations()), only(l.deviceIDs()))
		router := topology.Router{Name: p.Of}.Key()
		write(under(l.collection(topology.KindRouterPort, p.Of)+"to_"), only(l.book(router)))
		// A range cannot say "an id of Docker's". They begin with a digit or a small
		// letter, of a swarm's networks with any, so that other names are safe.
		for _, directory := range []string{l.group(topology.KindSwitch), l.book(topology.Key{Kind: topology.KindSwitch})} {
			write(Grant{From: directory + "0", End: directory + ":", Write: true}, Grant{From: directory + "a", End: directory + "{", Write: true})
		}
	}
	return grants
}

// permission returns a grant as etcd knows it.
func (g Grant) permission() *authpb.Permission {
	p := &authpb.Permission{Key: []byte(g.From), RangeEnd: []byte(g.End), PermType: authpb.Permission_READ}
	switch {
	case g.Write && g.Read:
		p.PermType = authpb.Permission_READWRITE
	case g.Write:
		p.PermType = authpb.Permission_WRITE
	}
	return p
}

func grantOf(p *authpb.Permission) Grant {
	return Grant{From: string(p.Key), End: string(p.RangeEnd), Read: p.PermType != authpb.Permission_WRITE, Write: p.PermType != authpb.Permission_READ}
}

// sameRange reports whether two permissions are of the same keys: etcd has one
// for these in a role.
func sameRange(a, b *authpb.Permission) bool {
	return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.RangeEnd, b.RangeEnd)
}
