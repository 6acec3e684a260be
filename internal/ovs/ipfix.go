package ovs

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/ovn-kubernetes/libovsdb/cache"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// IPFIX says whom Open vSwitch is to tell of the bridge's packets (RFC 7011), and
// of how many. It is comparable by its String.
type IPFIX struct {
	Collectors []netip.AddrPort // are told by UDP; none: nobody is told
	Sampling   uint32           // of so many packets one is told of, by chance; at least 1
	Node       netip.Addr       // IPv4, whose 32 bits are the observation domain id
}

// String says what is told to whom, in the words of Health.IPFIX; empty if nobody
// is told.
func (w IPFIX) String() string {
	if len(w.Collectors) == 0 {
		return ""
	}
	return w.row().String()
}

func (w IPFIX) domain() int {
	if !w.Node.Is4() {
		return 0
	}
	b := w.Node.As4()
	return int(binary.BigEndian.Uint32(b[:]))
}

// row returns the row that carries out the wish.
func (w IPFIX) row() *ipfix {
	r := &ipfix{Sampling: new(int(w.Sampling)), Domain: new(w.domain()), Point: new(0), ExternalIDs: map[string]string{ownerID: agentOwner}}
	for _, c := range w.Collectors {
		r.Targets = append(r.Targets, c.String())
	}
	slices.Sort(r.Targets)
	r.Targets = slices.Compact(r.Targets)
	return r
}

// agentOwner is under ownerID in what the agent has made that is no attachment.
const agentOwner = "agent"

// String tells what the row asks for.
func (r *ipfix) String() string {
	if r == nil {
		return ""
	}
	number := func(n *int, initial string) string {
		if n == nil {
			return initial
		}
		return fmt.Sprint(*n)
	}
	// What a column that is empty means ovs-vswitchd.conf.db(5) says.
	return fmt.Sprintf("one packet in %s is told to %s, with observation domain %s and point %s", number(r.Sampling, "400"),
		cmp.Or(strings.Join(slices.Sorted(slices.Values(r.Targets)), ", "), "nobody"), number(r.Domain, "0"), number(r.Point, "0"))
}

func (r *ipfix) isOurs() bool { return r != nil && r.ExternalIDs[ownerID] == agentOwner }

// isEarlier reports whether an agent of TupleNet before this one may have made the
// row: it has the domain of this node, and bears no sign of anybody.
func (r *ipfix) isEarlier(domain int) bool {
	return r.Domain != nil && *r.Domain == domain && r.Point != nil && *r.Point == 0 && len(r.ExternalIDs) == 0
}

// errUnfinished says that the replica lacks a row that another refers to: an
// update is under way.
var errUnfinished = errors.New("the database is changing")

// findIPFIX returns the row of a bridge, nil if it has none.
func findIPFIX(c *cache.TableCache, b *bridge) (*ipfix, error) {
	if b == nil || b.IPFIX == nil {
		return nil, nil
	}
	if row, ok := c.Table(tableIPFIX).RowsShallow()[*b.IPFIX].(*ipfix); ok {
		return row, nil
	}
	return nil, errUnfinished
}

// SetIPFIX has Open vSwitch tell of the bridge's packets what is wanted, and
// writes nothing when it does already. Columns of the row that it knows nothing of
// stay as they are.
//
// A bridge has room for one row. One that somebody else has made stays: without
// collectors that is no error, with some it is one that names the remedy. A row
// that an earlier TupleNet has made for this node is taken over.
//
// Collectors understand nothing without templates, and Open vSwitch sends these
// when it begins to tell, and then every ten minutes, whoever has joined meanwhile.
// So it ends and begins anew for other collectors or another domain.
func (d *Driver) SetIPFIX(ctx context.Context, want IPFIX) error {
	s, err := d.currentSession()
	if err != nil {
		return err
	}
	if err := s.setIPFIX(ctx, d.cfg.Bridge, want); err != nil {
		return fmt.Errorf("IPFIX of bridge %s: %w", d.cfg.Bridge, err)
	}
	return nil
}

func (s *session) setIPFIX(ctx context.Context, bridgeName string, want IPFIX) error {
	b := findBridge(s.cache, bridgeName)
	if b == nil {
		return fmt.Errorf("the bridge is missing: %w", ErrNotConnected)
	}
	has, err := findIPFIX(s.cache, b)
	if err != nil {
		return err
	}
	ours := has.isOurs() || has != nil && has.isEarlier(want.domain())
	var ops []ovsdb.Operation
	switch {
	case len(want.Collectors) == 0 && ours:
		ops, err = s.clearIPFIXOps(b)
	case len(want.Collectors) == 0:
		return nil
	case has == nil:
		s.settle(ctx)
		ops, err = s.createIPFIXOps(b, want.row())
	case !ours:
		return fmt.Errorf("somebody else has set that %s; take that away with: ovs-vsctl clear Bridge %s ipfix", has, b.Name)
	default:
		ops, err = s.changeIPFIXOps(ctx, has, want.row())
	}
	if err != nil {
		return err
	}
	return s.transact(ctx, ops)
}

// changeIPFIXOps returns the operations that make a row as it is wanted. If Open
// vSwitch has to begin anew, it has ended when this returns.
func (s *session) changeIPFIXOps(ctx context.Context, has, row *ipfix) ([]ovsdb.Operation, error) {
	if has.String() == row.String() && has.isOurs() {
		return nil, nil
	}
	if has.begunAs(row) {
		return s.updateIPFIXOps(has, row)
	}
	if len(has.Targets) > 0 {
		ops, err := s.endIPFIXOps(has)
		if err == nil {
			err = s.transact(ctx, ops)
		}
		if err != nil {
			return nil, err
		}
	}
	s.settle(ctx)
	return s.updateIPFIXOps(has, row)
}

// begunAs reports whether all collectors of a row have been sent the templates of
// its domain.
func (r *ipfix) begunAs(row *ipfix) bool {
	return slices.Equal(slices.Sorted(slices.Values(r.Targets)), row.Targets) && r.Domain != nil && *r.Domain == *row.Domain
}

// updateIPFIXOps leaves alone what others have in the row, also what they have
// written by now and the replica does not show yet.
func (s *session) updateIPFIXOps(has, row *ipfix) ([]ovsdb.Operation, error) {
	update, err1 := s.client.Where(has).Update(row, &row.Targets, &row.Sampling, &row.Domain, &row.Point)
	sign, err2 := s.client.Where(has).Mutate(has, model.Mutation{Field: &has.ExternalIDs, Mutator: ovsdb.MutateOperationInsert, Value: row.ExternalIDs})
	return append(update, sign...), errors.Join(err1, err2)
}

func (s *session) createIPFIXOps(b *bridge, row *ipfix) ([]ovsdb.Operation, error) {
	row.UUID = "ipfix"
	create, err1 := s.client.Create(row)
	with := &bridge{IPFIX: &row.UUID}
	refer, err2 := s.client.Where(b).Update(with, &with.IPFIX)
	return append(create, refer...), errors.Join(err1, err2)
}

// clearIPFIXOps returns the operations that take a bridge's row away. The server
// removes it when no bridge refers to it any more.
func (s *session) clearIPFIXOps(b *bridge) ([]ovsdb.Operation, error) {
	without := &bridge{}
	clear, err1 := s.client.Where(b).Update(without, &without.IPFIX)
	count, err2 := s.countOps()
	return append(clear, count...), errors.Join(err1, err2)
}

// endIPFIXOps returns the operations after which nobody is told, while the row stays
// with what others have put into it.
func (s *session) endIPFIXOps(has *ipfix) ([]ovsdb.Operation, error) {
	without := &ipfix{}
	end, err1 := s.client.Where(has).Update(without, &without.Targets)
	count, err2 := s.countOps()
	return append(end, count...), errors.Join(err1, err2)
}

// countOps returns the operation by which settle sees when ovs-vswitchd has done
// what is asked for in the same transaction.
func (s *session) countOps() ([]ovsdb.Operation, error) {
	root := findRoot(s.cache)
	if root == nil {
		return nil, errEmptyDatabase
	}
	return s.client.Where(root).Mutate(root, model.Mutation{Field: &root.NextCfg, Mutator: ovsdb.MutateOperationAdd, Value: 1})
}

// settlePatience bounds settle: an ovs-vswitchd that is away begins anew anyway.
const settlePatience = time.Second

// settle waits until ovs-vswitchd has done what the database asks it for, by
// next_cfg. What is asked for one upon the other it may take for one change.
func (s *session) settle(ctx context.Context) {
	ctx, cancel := s.bound(ctx, settlePatience)
	defer cancel()
	for {
		root := findRoot(s.cache)
		if root == nil || root.CurCfg >= root.NextCfg || !pause(ctx, 5*time.Millisecond) {
			return
		}
	}
}
