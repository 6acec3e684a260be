package store

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/internal/topology"
)

// Reservation is an address, or a whole subnet, that Docker was given before
// there is anything that has it. It ends when a port, or a network, has it, or
// when Docker gives it back.
type Reservation struct {
	Subnet  netip.Prefix `json:"-"`
	IP      netip.Addr   `json:"-"` // the zero Addr: all of the subnet
	Chassis string       `json:"chassis"`
	Since   int64        `json:"since"` // Unix seconds
}

// reservations is the directory of what Docker was given: by subnet, as
// 10.20.3.0-24, and under that by address.
func (l layout) reservations() string { return string(l) + "cnm/reserved/" }

func (l layout) reservation(subnet netip.Prefix, ip netip.Addr) string {
	path := fmt.Sprintf("%s%s-%d", l.reservations(), subnet.Masked().Addr(), subnet.Bits())
	if ip.IsValid() {
		path += "/" + ip.String()
	}
	return path
}

// parseReservation reads a key of reservations.
func (l layout) parseReservation(path, value string) (r Reservation, err error) {
	rest := strings.TrimPrefix(path, l.reservations())
	subnet, ip, ofAddress := strings.Cut(rest, "/")
	if r.Subnet, err = topology.ParsePrefix(strings.Replace(subnet, "-", "/", 1)); err == nil && ofAddress {
		r.IP, err = topology.ParseAddr(ip)
	}
	if err == nil {
		err = json.Unmarshal([]byte(value), &r)
	}
	if err == nil {
		err = checkSubnet(r.Subnet)
	}
	switch {
	case err != nil:
		return r, fmt.Errorf("invalid reservation %s: %w", rest, err)
	case r.IP.IsValid() && !r.Subnet.Contains(r.IP):
		return r, fmt.Errorf("invalid reservation %s: the address is not in the subnet", rest)
	case l.reservation(r.Subnet, r.IP) != path:
		return r, fmt.Errorf("invalid reservation %s, want SUBNET-LENGTH or SUBNET-LENGTH/ADDRESS", rest)
	}
	return r, nil
}

// Reservations returns all reservations in the order of etcd's keys. Those that
// cannot be read are left out.
func (s *Store) Reservations(ctx context.Context) ([]Reservation, error) {
	return s.reservationsUnder(ctx, s.layout.reservations())
}

func (s *Store) reservationsUnder(ctx context.Context, under string) (all []Reservation, err error) {
	_, err = s.scan(ctx, under, clientv3.GetPrefixRangeEnd(under), func(kv *mvccpb.KeyValue) {
		if r, err := s.layout.parseReservation(string(kv.Key), string(kv.Value)); err == nil {
			all = append(all, r)
		}
	})
	if err != nil {
		return nil, s.failed("listing what Docker has reserved", err)
	}
	return all, nil
}

// ReserveAddress reserves an address of a subnet for a host, in one
// transaction: ip, or if that is the zero Addr the next free one in within, a
// part of the subnet or all of it, behind the address after (which turns over;
// the zero Addr: from the beginning). No port of a switch has it that the host's
// Docker may mean, see sharing, nor is it the gateway of a network there.
// ErrConflict: ip is not free. ErrFull: none is.
func (s *Store) ReserveAddress(ctx context.Context, subnet, within netip.Prefix, ip, after netip.Addr, chassis string) (netip.Addr, error) {
	subnet = subnet.Masked()
	all, err := s.Networks(ctx)
	if err != nil {
		return netip.Addr{}, err
	}
	of := sharing(all, subnet, chassis)
	var switches []topology.Key
	for _, n := range of {
		switches = append(switches, topology.Switch{Name: n.Switch}.Key())
	}
	slices.SortFunc(switches, topology.Key.Compare)
	switches = slices.Compact(switches)
	var books []string
	for _, sw := range switches {
		books = append(books, s.layout.book(sw))
	}
	var chosen netip.Addr
	err = s.change(ctx, "reserving an address of "+subnet.String(), books, func(t *txn) error {
		used := roaring.New()
		for _, sw := range switches {
			ids, err := s.takenIDs(ctx, t, sw)
			if err != nil {
				return err
			}
			used.Or(ids)
		}
		// What a port has taken over meanwhile has changed a book.
		held, err := s.reservationsUnder(ctx, s.layout.reservation(subnet, netip.Addr{})+"/")
		if err != nil {
			return err
		}
		for _, r := range held {
			used.Add(uint32(topology.PortID(r.IP)))
		}
		for _, n := range of {
			if n.Gateway.IsValid() {
				used.Add(uint32(topology.PortID(n.Gateway)))
			}
		}
		isFree := func(a netip.Addr) bool {
			return topology.IsHost(a, subnet) && !used.Contains(uint32(topology.PortID(a)))
		}
		chosen = ip
		if !ip.IsValid() {
			chosen = nextFree(within, after, isFree)
		}
		switch {
		case !chosen.IsValid():
			return fmt.Errorf("%w in %s", ErrFull, within.Masked())
		case !isFree(chosen):
			return s.notFree(ctx, of, held, ip)
		}
		return s.reserve(t, Reservation{Subnet: subnet, IP: chosen, Chassis: chassis})
	})
	return chosen, err
}

// sharing returns the networks with a subnet that share its addresses with those
// that the Docker of a host may mean by it: they are on the same switches. Docker
// does not say which network it means, and knows no local ones of other hosts. If
// there is none that it may mean, as one is only being made, all are returned.
func sharing(all []Network, subnet netip.Prefix, chassis string) []Network {
	of := slices.DeleteFunc(all, func(n Network) bool { return n.Subnet != subnet })
	meant := map[string]bool{} // switches
	for _, n := range of {
		if n.Scope != ScopeLocal || n.Chassis == chassis {
			meant[n.Switch] = true
		}
	}
	if len(meant) == 0 {
		return of
	}
	return slices.DeleteFunc(of, func(n Network) bool { return !meant[n.Switch] })
}

// takenIDs returns the ids of a switch's ports: those in its book and, if there are
// others, or that cannot be read, what the ports themselves say.
func (s *Store) takenIDs(ctx context.Context, t *txn, sw topology.Key) (*roaring.Bitmap, error) {
	text, _ := t.get(s.layout.book(sw))
	book, broken := decodeBitmap(text)
	if broken == nil {
		resp, err := s.client.Get(ctx, s.layout.collection(topology.KindSwitchPort, sw.Name), clientv3.WithPrefix(), clientv3.WithCountOnly(), clientv3.WithRev(t.revision))
		if err != nil {
			return nil, s.failed("counting the ports of "+describe(sw), err)
		}
		if uint64(resp.Count) == book.GetCardinality() {
			return book, nil
		}
	}
	ports, err := s.usedPortIDs(ctx, sw, topology.Key{})
	if err == nil && broken == nil {
		ports.Or(book)
	}
	return ports, err
}

// notFree says who has an address.
func (s *Store) notFree(ctx context.Context, of []Network, held []Reservation, ip netip.Addr) error {
	for _, n := range of {
		if n.Gateway.IsValid() && topology.PortID(n.Gateway) == topology.PortID(ip) {
			return fmt.Errorf("address %s: %w: it is the gateway of Docker network %s", ip, ErrConflict, n)
		}
	}
	for _, n := range of {
		ports, err := s.ports(ctx, topology.Switch{Name: n.Switch}.Key())
		if err != nil {
			return err
		}
		for _, e := range ports {
			port := e.(topology.SwitchPort)
			if port.ID() != topology.PortID(ip) {
				continue
			}
			where := ""
			if port.Chassis != "" {
				where = " on host " + port.Chassis
			}
			return fmt.Errorf("address %s: %w: port %s of switch %s has it%s; see: tpctl lsp show %[4]s --filter ip=%[1]s", ip, ErrConflict, port.Name, port.Switch, where)
		}
	}
	for _, r := range held {
		if r.IP == ip {
			return fmt.Errorf("address %s: %w: Docker on host %s has it for a container that is just being started, or keeps it (--aux-address)", ip, ErrConflict, r.Chassis)
		}
	}
	return fmt.Errorf("address %s: %w, which no port has any more; %q frees it", ip, ErrConflict, remedyBooks)
}

// reserve adds a reservation that nobody has to t.
func (s *Store) reserve(t *txn, r Reservation) error {
	t.guards = append(t.guards, clientv3.Compare(clientv3.CreateRevision(s.layout.reservation(r.Subnet, r.IP)), "=", 0))
	return s.put(t, r)
}

// put is reserve whoever has it.
func (s *Store) put(t *txn, r Reservation) error {
	r.Since = time.Now().Unix()
	text, err := json.Marshal(r)
	if err == nil {
		t.put(s.layout.reservation(r.Subnet, r.IP), string(text))
	}
	return err
}

// nextFree returns the first free address of a network behind one of its own, or
// else the first from the beginning; the zero Addr: there is none.
func nextFree(net netip.Prefix, after netip.Addr, isFree func(netip.Addr) bool) (first netip.Addr) {
	for ip := net.Masked().Addr(); net.Contains(ip); ip = ip.Next() {
		switch {
		case !isFree(ip):
		case !after.IsValid() || ip.Compare(after) > 0:
			return ip
		case !first.IsValid():
			first = ip
		}
	}
	return first
}

// ReleaseAddress ends the reservation of an address, if that chassis has it, or
// whoever has it if chassis is empty. One that is not there is no error.
func (s *Store) ReleaseAddress(ctx context.Context, subnet netip.Prefix, ip netip.Addr, chassis string) error {
	return s.releaseReservation(ctx, s.layout.reservation(subnet, ip), chassis)
}

// ReleaseSubnet is ReleaseAddress for a whole subnet.
func (s *Store) ReleaseSubnet(ctx context.Context, subnet netip.Prefix, chassis string) error {
	return s.releaseReservation(ctx, s.layout.reservation(subnet, netip.Addr{}), chassis)
}

func (s *Store) releaseReservation(ctx context.Context, path, chassis string) error {
	return s.change(ctx, "releasing "+path, []string{path}, func(t *txn) error {
		value, ok := t.get(path)
		if !ok {
			return nil
		}
		if r, err := s.layout.parseReservation(path, value); err == nil && chassis != "" && r.Chassis != chassis {
			return nil
		}
		t.delete(path)
		return nil
	})
}

// ReserveSubnet reserves the first subnet with a prefix of bits, in one of the
// pools, that nothing known overlaps: no network of Docker, no reservation and no
// router port. ErrFull: there is none.
func (s *Store) ReserveSubnet(ctx context.Context, pools []netip.Prefix, bits int, chassis string) (netip.Prefix, error) {
	var subnet netip.Prefix
	err := s.change(ctx, "reserving a subnet", []string{s.layout.version()}, func(t *txn) error {
		t.settle(s.layout.networks(), s.layout.reservations())
		var used []netip.Prefix
		networks, err := s.Networks(ctx)
		if err != nil {
			return err
		}
		for _, n := range networks {
			used = append(used, n.Subnet)
		}
		held, err := s.Reservations(ctx)
		if err != nil {
			return err
		}
		for _, r := range held {
			used = append(used, r.Subnet)
		}
		ports, _, err := s.List(ctx, topology.KindRouterPort, "")
		if err != nil {
			return err
		}
		for _, e := range ports {
			used = append(used, e.(topology.RouterPort).Net)
		}
		if subnet = firstSubnet(pools, bits, used); !subnet.IsValid() {
			return fmt.Errorf("no subnet of the length %d is left in %v: %w", bits, pools, ErrFull)
		}
		return s.reserve(t, Reservation{Subnet: subnet, Chassis: chassis})
	})
	return subnet, err
}

// HoldSubnet reserves a subnet, whoever else has it, and reports whether that
// host had reserved it before.
func (s *Store) HoldSubnet(ctx context.Context, subnet netip.Prefix, chassis string) (again bool, err error) {
	path := s.layout.reservation(subnet, netip.Addr{})
	err = s.change(ctx, "reserving "+subnet.Masked().String(), []string{path}, func(t *txn) error {
		value, _ := t.get(path)
		held, err := s.layout.parseReservation(path, value)
		if again = err == nil && held.Chassis == chassis; again {
			return nil
		}
		return s.put(t, Reservation{Subnet: subnet.Masked(), Chassis: chassis})
	})
	return again, err
}

// firstSubnet returns the first subnet in one of the pools that overlaps none of
// those that are used; the zero Prefix: there is none.
func firstSubnet(pools []netip.Prefix, bits int, used []netip.Prefix) netip.Prefix {
	for _, pool := range pools {
		for subnet := netip.PrefixFrom(pool.Masked().Addr(), max(bits, pool.Bits())); pool.Contains(subnet.Addr()); {
			i := slices.IndexFunc(used, subnet.Overlaps)
			if i < 0 {
				return subnet
			}
			// The next one behind both.
			last := lastOf(subnet)
			if other := lastOf(used[i]); other.Compare(last) > 0 {
				last = other
			}
			if !last.Next().IsValid() {
				break
			}
			subnet = netip.PrefixFrom(last.Next(), subnet.Bits())
		}
	}
	return netip.Prefix{}
}

// lastOf returns the highest address of an IPv4 network.
func lastOf(net netip.Prefix) netip.Addr {
	b := net.Masked().Addr().As4()
	for i := net.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}
