package store

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// requestTimeout bounds an attempt that is made again when it fails.
const requestTimeout = 3 * time.Second

// Presence says in the store that a chassis is alive, and at which address,
// for as long as its holder lives: alive/<system-id> under a lease. Renewing
// the lease writes nothing to etcd's log.
type Presence struct {
	session *concurrency.Session
}

// TakenError says that a chassis is alive at another address.
type TakenError struct {
	Chassis string
	IP      string
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("chassis %s is alive at %s", e.Chassis, e.IP)
}

// Appear announces that a chassis is alive at ip. After a crash the
// announcement lasts for ttl, whole seconds. One from the same address is
// taken over, one from another address is a *TakenError. The presence ends
// with ctx, though etcd learns that only from Leave or when the ttl is over.
func (s *Store) Appear(ctx context.Context, chassis string, ip netip.Addr, ttl time.Duration) (*Presence, error) {
	try, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	doing := "announcing chassis " + chassis
	key, value := s.layout.alive(chassis), ip.String()
	lease, err := s.client.Grant(try, int64(ttl.Seconds()))
	if err != nil {
		return nil, s.failed(doing, err)
	}
	for {
		was, err := s.client.Get(try, key)
		if err != nil {
			return nil, s.failed(doing, err)
		}
		revision := int64(0)
		if len(was.Kvs) > 0 {
			revision = was.Kvs[0].ModRevision
			if other := string(was.Kvs[0].Value); other != value {
				s.client.Revoke(try, lease.ID) // else it ends by itself
				return nil, &TakenError{chassis, other}
			}
		}
		done, err := s.client.Txn(try).
			If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
			Then(clientv3.OpPut(key, value, clientv3.WithLease(lease.ID))).Commit()
		if err != nil {
			return nil, s.failed(doing, err)
		}
		if done.Succeeded {
			break
		}
	}
	session, err := concurrency.NewSession(s.client, concurrency.WithLease(lease.ID), concurrency.WithContext(ctx))
	if err != nil {
		return nil, s.failed(doing, err)
	}
	return &Presence{session}, nil
}

// Lost is closed when the presence has ended: with its context, or because
// etcd was away for longer than the ttl.
func (p *Presence) Lost() <-chan struct{} { return p.session.Done() }

// Leave takes the announcement back.
func (p *Presence) Leave(ctx context.Context) error {
	p.session.Orphan()
	if _, err := p.session.Client().Revoke(ctx, p.session.Lease()); err != nil {
		return fmt.Errorf("taking the announcement of the chassis back: %w", err)
	}
	return nil
}
