package store

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"tuplenet/internal/topology"
)

// requestTimeout bounds an attempt that is made again when it fails.
const requestTimeout = 3 * time.Second

// Presence says in the store that a chassis is alive, and at which address,
// for as long as its holder lives: contact/<system-id> under a lease. Renewing
// the lease writes nothing to etcd's log. Its methods are for one goroutine.
type Presence struct {
	store   *Store
	session *concurrency.Session
	is      topology.Presence
}

// TakenError says that a chassis is alive at another address.
type TakenError struct {
	Chassis string
	IP      netip.Addr
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("chassis %s is alive at %s", e.Chassis, e.IP)
}

// Appear announces that a chassis is alive at ip. After a crash the
// announcement lasts for ttl, whole seconds. One from the same address is
// taken over, and so is one that was stopped, and that of before, the presence
// that this process had last, or nil. One from another address is a
// *TakenError. With the announcement ends what the store says of the chassis'
// absence. The presence ends with ctx, though etcd learns that only from Leave
// or when the ttl is over.
func (s *Store) Appear(ctx context.Context, chassis string, ip netip.Addr, ttl time.Duration, before *Presence) (*Presence, error) {
	try, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	doing := "announcing chassis " + chassis
	p := &Presence{store: s, is: topology.Presence{Chassis: chassis, IP: ip}}
	key := s.layout.path(p.is.Key())
	var lease clientv3.LeaseID
	for {
		resp, err := s.client.Get(try, key)
		if err != nil {
			return nil, s.failed(doing, err)
		}
		revision := int64(0)
		if len(resp.Kvs) > 0 {
			kv := resp.Kvs[0]
			revision = kv.ModRevision
			// A value that nobody can read keeps nobody out.
			has, err := topology.Parse(p.is.Key(), string(kv.Value))
			other, _ := has.(topology.Presence)
			ours := other.IP == ip || before != nil && kv.Lease == int64(before.session.Lease())
			if err == nil && !other.Stopped && !ours {
				return nil, &TakenError{chassis, other.IP}
			}
		}
		if lease == 0 { // not before, so that waiting for another host writes nothing
			grant, err := s.client.Grant(try, int64(ttl.Seconds()))
			if err != nil {
				return nil, s.failed(doing, err)
			}
			lease = grant.ID
		}
		done, err := s.client.Txn(try).
			If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
			Then(s.appearance(p.is, lease)...).Commit()
		if err != nil {
			return nil, s.failed(doing, err)
		}
		if done.Succeeded {
			break
		}
	}
	session, err := concurrency.NewSession(s.client, concurrency.WithLease(lease), concurrency.WithContext(ctx))
	if err != nil {
		return nil, s.failed(doing, err)
	}
	p.session = session
	return p, nil
}

// appearance returns what is written when a chassis appears: it is there, not
// absent, and does not contend with itself.
func (s *Store) appearance(p topology.Presence, lease clientv3.LeaseID) []clientv3.Op {
	contender := topology.Contender{Chassis: p.Chassis, IP: p.IP}
	path := s.layout.path(contender.Key())
	return []clientv3.Op{
		clientv3.OpPut(s.layout.path(p.Key()), p.Value(), clientv3.WithLease(lease)),
		clientv3.OpDelete(s.layout.path(topology.Absence{Chassis: p.Chassis}.Key())),
		clientv3.OpTxn([]clientv3.Cmp{clientv3.Compare(clientv3.Value(path), "=", contender.Value())},
			[]clientv3.Op{clientv3.OpDelete(path)}, nil),
	}
}

// Lost is closed when the presence has ended: with its context, or because
// etcd was away for longer than the ttl.
func (p *Presence) Lost() <-chan struct{} { return p.session.Done() }

// Confirm announces the presence again, at ip, after the host's address has
// changed or somebody has tampered with the announcement. If that is not there
// any more, or is another host's, the presence is lost.
func (p *Presence) Confirm(ctx context.Context, ip netip.Addr) error {
	p.is.IP = ip
	return p.announce(ctx, p.store.appearance(p.is, p.session.Lease()))
}

// Leave says that the chassis' agent has been stopped. The announcement stays
// until its lease is over, so that an agent that starts again by then has been
// missed by nobody.
func (p *Presence) Leave(ctx context.Context) error {
	p.session.Orphan()
	p.is.Stopped = true
	return p.announce(ctx, []clientv3.Op{
		clientv3.OpPut(p.store.layout.path(p.is.Key()), p.is.Value(), clientv3.WithLease(p.session.Lease())),
	})
}

// announce writes ops if the announcement still is this presence's. If it is
// not, nobody is to be kept alive by it.
func (p *Presence) announce(ctx context.Context, ops []clientv3.Op) error {
	try, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := p.store.client.Txn(try).
		If(clientv3.Compare(clientv3.LeaseValue(p.store.layout.path(p.is.Key())), "=", p.session.Lease())).
		Then(ops...).Commit()
	if err != nil {
		return p.store.failed("announcing chassis "+p.is.Chassis, err)
	}
	if !resp.Succeeded {
		p.session.Orphan()
	}
	return nil
}

// Contend lets the host that is alive as a chassis know that another one, at
// ip, was refused under the same name. The word lasts for ttl, whole seconds.
func (s *Store) Contend(ctx context.Context, chassis string, ip netip.Addr, ttl time.Duration) error {
	doing := "telling that chassis " + chassis + " is there twice"
	try, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	lease, err := s.client.Grant(try, int64(ttl.Seconds()))
	if err != nil {
		return s.failed(doing, err)
	}
	contender := topology.Contender{Chassis: chassis, IP: ip}
	if _, err := s.client.Put(try, s.layout.path(contender.Key()), contender.Value(), clientv3.WithLease(lease.ID)); err != nil {
		return s.failed(doing, err)
	}
	return nil
}

// DeclareDown writes that a chassis has not been heard of, since a time. It
// writes nothing if the chassis is alive, has no record, or was declared down
// before.
func (s *Store) DeclareDown(ctx context.Context, absence topology.Absence) error {
	try, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	alive := s.layout.path(topology.Presence{Chassis: absence.Chassis}.Key())
	record := s.layout.path(topology.Chassis{Name: absence.Chassis}.Key())
	down := s.layout.path(absence.Key())
	_, err := s.client.Txn(try).If(
		clientv3.Compare(clientv3.CreateRevision(alive), "=", 0),
		clientv3.Compare(clientv3.CreateRevision(record), ">", 0),
		clientv3.Compare(clientv3.CreateRevision(down), "=", 0),
	).Then(clientv3.OpPut(down, absence.Value())).Commit()
	if err != nil {
		return s.failed("declaring chassis "+absence.Chassis+" down", err)
	}
	return nil
}
