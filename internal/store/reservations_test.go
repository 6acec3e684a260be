package store

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/embedded"
	"tuplenet/internal/topology"
)

var net3 = netip.MustParsePrefix("10.20.3.0/29") // with the addresses 10.20.3.1 to 10.20.3.6

// reserve asks for an address, "" being any, and returns it.
func reserve(t *testing.T, s *Store, within, ip, after, chassis string) (string, error) {
	t.Helper()
	addr := func(text string) (a netip.Addr) {
		if text != "" {
			a = netip.MustParseAddr(text)
		}
		return a
	}
	got, err := s.ReserveAddress(t.Context(), net3, netip.MustParsePrefix(within), addr(ip), addr(after), chassis)
	if err != nil {
		return "", err
	}
	return got.String(), nil
}

func wantReserved(t *testing.T, s *Store, want ...string) {
	t.Helper()
	all, err := s.Reservations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range all {
		text := r.Subnet.String()
		if r.IP.IsValid() {
			text = r.IP.String()
		}
		got = append(got, text+" "+r.Chassis)
		if age := time.Since(time.Unix(r.Since, 0)); age < 0 || age > time.Minute {
			t.Errorf("%s was reserved at %d", text, r.Since)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("reserved are %q, want %q", got, want)
	}
}

func TestReserveAddress(t *testing.T) {
	s := start(t)
	mustCreate(t, s, topology.Router{Name: "R"})
	n := network("n1")
	n.Subnet = net3
	mustCreateNetwork(t, s, n)
	mustCreate(t, s, port("n1", "e1", "10.20.3.3"))
	put(t, s, "entity_view/LS/n1/lsp/strange", "ip=10.20.3.4,mac=00:00:00:00:00:01,chassis=hv2") // which is in no book
	for _, tt := range []struct{ within, ip, after, chassis, want string }{
		{"10.20.3.0/29", "", "", "hv1", "10.20.3.2"}, // the first one that is neither the gateway's nor a port's
		{"10.20.3.0/29", "", "", "hv2", "10.20.3.5"},
		{"10.20.3.0/29", "10.20.3.6", "", "hv2", "10.20.3.6"},
	} {
		if got, err := reserve(t, s, tt.within, tt.ip, tt.after, tt.chassis); got != tt.want {
			t.Errorf("%+v: got %s, %v", tt, got, err)
		}
	}
	wantReserved(t, s, "10.20.3.2 hv1", "10.20.3.5 hv2", "10.20.3.6 hv2")
	_, err := reserve(t, s, "10.20.3.0/29", "", "", "hv1")
	wantError(t, err, ErrFull, "no free address in 10.20.3.0/29")
	for ip, says := range map[string]string{
		"10.20.3.1": "the gateway of Docker network n1",
		"10.20.3.3": "port e1 of switch n1 has it; see: tpctl lsp show n1 --filter ip=10.20.3.3",
		"10.20.3.4": "port strange of switch n1 has it on host hv2",
		"10.20.3.5": "Docker on host hv2 has it",
	} {
		_, err := reserve(t, s, "10.20.3.0/29", ip, "", "hv1")
		wantError(t, err, ErrConflict, ip, says)
	}

	// Only its own host gives it back, or who says that a port has it.
	release := func(ip, chassis string) {
		t.Helper()
		if err := s.ReleaseAddress(t.Context(), net3, netip.MustParseAddr(ip), chassis); err != nil {
			t.Error(err)
		}
	}
	release("10.20.3.5", "hv1")
	release("10.20.3.2", "hv1")
	release("10.20.3.2", "hv1")
	release("10.20.3.6", "")
	wantReserved(t, s, "10.20.3.5 hv2")

	// One of a part; behind the one that was given last, and from the beginning
	// again.
	release("10.20.3.5", "hv2")
	for _, tt := range []struct{ within, after, want string }{
		{"10.20.3.4/30", "", "10.20.3.5"},
		{"10.20.3.0/29", "10.20.3.5", "10.20.3.6"},
		{"10.20.3.0/29", "10.20.3.6", "10.20.3.2"},
	} {
		if got, err := reserve(t, s, tt.within, "", tt.after, "hv1"); got != tt.want {
			t.Errorf("%+v: got %s, %v", tt, got, err)
		}
	}

	// A book that has what no port has.
	for key := range dump(t, s) {
		if strings.HasPrefix(key, "cnm/reserved/") || strings.HasSuffix(key, "lsp/e1") {
			if _, err := s.client.Delete(t.Context(), string(s.layout)+key); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, err = reserve(t, s, "10.20.3.0/29", "10.20.3.3", "", "hv1")
	wantError(t, err, ErrConflict, "rebuild-ip-book")
	put(t, s, "ip_book/LS/n1", "broken")
	// One that cannot be read: the ports say it themselves.
	if got, err := reserve(t, s, "10.20.3.0/29", "", "", "hv1"); err != nil || got != "10.20.3.2" {
		t.Errorf("got %s, %v", got, err)
	}
	_, err = reserve(t, s, "10.20.3.0/29", "10.20.3.4", "", "hv1")
	wantError(t, err, ErrConflict, "port strange of switch n1")
}

// Networks that have a subnet in common and nothing else, one of which has addresses
// that are fixed, as where one compose file is used on many hosts.
func TestSharing(t *testing.T) {
	of := func(id, sw string, scope Scope, chassis string) Network {
		return Network{ID: id, Switch: sw, Subnet: net3, Scope: scope, Chassis: chassis}
	}
	elsewhere := of("x", "X", ScopeLocal, "hv1")
	elsewhere.Subnet = netip.MustParsePrefix("10.9.0.0/24")
	all := []Network{of("a", "A", ScopeLocal, "hv1"), of("a2", "A", ScopeLocal, "hv2"), of("b", "B", ScopeLocal, "hv2"), of("c", "C", ScopeLocal, "hv3"), elsewhere}
	for _, tt := range []struct {
		all           []Network
		chassis, want string
	}{
		{all, "hv1", "a a2"}, {all, "hv2", "a a2 b"}, {all, "hv3", "c"}, {all, "hv4", "a a2 b c"},
		{append(slices.Clone(all), of("g", "G", ScopeGlobal, "hv9")), "hv4", "g"}, {nil, "hv1", ""},
	} {
		var got []string
		for _, n := range sharing(slices.Clone(tt.all), net3, tt.chassis) {
			got = append(got, n.ID)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: got %q, want %s", tt.chassis, got, tt.want)
		}
	}
}

// Networks of other subnets are left out of account, and all of this one are in.
func TestReserveAddressOfSeveralNetworks(t *testing.T) {
	s := start(t)
	mustCreate(t, s, topology.Switch{Name: "S"}, port("S", "e1", "10.20.3.2"), topology.Switch{Name: "T"}, port("T", "e2", "10.20.3.3"),
		topology.Switch{Name: "U"}, port("U", "e3", "10.20.3.1"))
	for _, n := range []Network{{ID: "n1", Switch: "S"}, {ID: "n2", Switch: "S", Gateway: netip.MustParseAddr("10.20.3.6")}, {ID: "n3", Switch: "T"}} {
		n.Subnet = net3
		mustCreateNetwork(t, s, n)
	}
	mustCreateNetwork(t, s, Network{ID: "n4", Switch: "U", Subnet: netip.MustParsePrefix("10.20.3.0/28")})
	for _, want := range []string{"10.20.3.1", "10.20.3.4", "10.20.3.5"} {
		if got, err := reserve(t, s, "10.20.3.0/29", "", "", "hv1"); got != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	_, err := reserve(t, s, "10.20.3.0/29", "", "", "hv1")
	wantError(t, err, ErrFull)
}

// Many hosts reserve addresses, make ports with them, end the reservations, and
// look for addresses, all at the same time.
func TestReserveTogether(t *testing.T) {
	const hosts, each = 8, 25
	server := startEtcd(t, embedded.Config{})
	stores := make([]*Store, hosts)
	for i := range stores {
		stores[i] = open(t, server)
	}
	n := network("n1")
	n.Router, n.Subnet = "", netip.MustParsePrefix("10.20.3.0/24")
	mustCreateNetwork(t, stores[0], n)
	var mu sync.Mutex
	given := map[netip.Addr]bool{n.Gateway: true}
	together(t, stores, func(s *Store, host int) error {
		chassis := fmt.Sprint("hv", host)
		for i := range each {
			ip, err := s.ReserveAddress(t.Context(), n.Subnet, n.Subnet, netip.Addr{}, netip.Addr{}, chassis)
			if err != nil {
				return err
			}
			mu.Lock()
			again := given[ip]
			given[ip] = true
			mu.Unlock()
			if again {
				return fmt.Errorf("%s is given out a second time", ip)
			}
			if i%2 == 0 { // the others keep their reservation
				if _, err := s.Create(t.Context(), port("n1", "e-"+ip.String(), ip.String())); err != nil {
					return err
				}
				if err := s.ReleaseAddress(t.Context(), n.Subnet, ip, ""); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if len(given) != 1+hosts*each {
		t.Errorf("%d addresses were given out", len(given)-1)
	}
}

func TestReserveSubnet(t *testing.T) {
	s := start(t)
	mustCreate(t, s, topology.Router{Name: "R"}, routerPort("R", "p", "10.64.1.1/24", ""))
	pools := []netip.Prefix{netip.MustParsePrefix("10.64.0.0/21"), netip.MustParsePrefix("192.168.0.0/24")}
	get := func(bits int) (string, error) {
		subnet, err := s.ReserveSubnet(t.Context(), pools, bits, "hv1")
		return subnet.String(), err
	}
	for _, want := range []string{"10.64.0.0/24", "10.64.2.0/24", "10.64.3.0/24", "10.64.4.0/23", "10.64.6.0/24", "10.64.7.0/24", "192.168.0.0/24"} {
		if got, err := get(netip.MustParsePrefix(want).Bits()); got != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	_, err := get(24)
	wantError(t, err, ErrFull, "10.64.0.0/21")
	if err := s.ReleaseSubnet(t.Context(), netip.MustParsePrefix("10.64.4.0/23"), "hv2"); err != nil {
		t.Error(err)
	}
	_, err = get(26)
	wantError(t, err, ErrFull)

	// What a network has is not free, although its reservation has ended.
	n := network("n1")
	n.Router, n.Subnet, n.Gateway = "", netip.MustParsePrefix("10.64.3.0/24"), netip.Addr{}
	mustCreateNetwork(t, s, n)
	_, err = get(24)
	wantError(t, err, ErrFull)
	if err := s.DeleteNetwork(t.Context(), "n1"); err != nil {
		t.Error(err)
	}
	if err := s.ReleaseSubnet(t.Context(), netip.MustParsePrefix("10.64.4.0/23"), "hv1"); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"10.64.3.0/24", "10.64.4.0/26"} {
		if got, err := get(netip.MustParsePrefix(want).Bits()); got != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}

// Hosts ask for subnets of different lengths at the same time: none overlaps
// another.
func TestReserveSubnetsTogether(t *testing.T) {
	const hosts = 6
	server := startEtcd(t, embedded.Config{})
	stores := make([]*Store, hosts)
	for i := range stores {
		stores[i] = open(t, server)
	}
	var mu sync.Mutex
	var given []netip.Prefix
	together(t, stores, func(s *Store, host int) error {
		for i := range 6 {
			subnet, err := s.ReserveSubnet(t.Context(), []netip.Prefix{netip.MustParsePrefix("10.64.0.0/12")}, 20+(host+i)%6, fmt.Sprint("hv", host))
			if err != nil {
				return err
			}
			mu.Lock()
			i := slices.IndexFunc(given, subnet.Overlaps)
			given = append(given, subnet)
			mu.Unlock()
			if i >= 0 {
				return fmt.Errorf("%s overlaps %s", subnet, given[i])
			}
		}
		return nil
	})
}

func TestHoldSubnet(t *testing.T) {
	s := start(t)
	subnet := netip.MustParsePrefix("10.20.3.1/24")
	// What a host has left behind is nothing that keeps another from noticing.
	for _, tt := range []struct {
		chassis string
		again   bool
	}{{"hv1", false}, {"hv1", true}, {"hv2", false}, {"hv2", true}} {
		if again, err := s.HoldSubnet(t.Context(), subnet, tt.chassis); err != nil || again != tt.again {
			t.Errorf("%+v: got %t, %v", tt, again, err)
		}
	}
	wantReserved(t, s, "10.20.3.0/24 hv2")
}

func TestInvalidReservations(t *testing.T) {
	s := start(t)
	good := `{"chassis":"hv1","since":1}`
	for key, value := range map[string]string{
		"10.20.3.0-24/10.20.3.2": ``, "10.20.3.0-24/10.20.3.3": `[]`, "10.20.3.1-24/10.20.3.4": good, "10.20.3.0-24/": good, "10.20.3.0-24/10.20.3.5/6": good,
		"10.20.3.0-24/010.20.3.6": good, "10.20.3.0-24/10.20.4.6": good, "0.0.0.0-0": good, "10.0.0.0-8": good, "10.20.3.0/24": good, "fd00::-64": good, "": good,
	} {
		put(t, s, "cnm/reserved/"+key, value)
	}
	put(t, s, "cnm/reserved/10.20.3.0-24/10.20.3.9", good)
	if all, err := s.Reservations(t.Context()); err != nil || len(all) != 1 || all[0].IP.String() != "10.20.3.9" {
		t.Errorf("got %v, %v", all, err)
	}
}

// Keys of Docker's are nothing that an agent watches.
func TestDockerIsNotWatched(t *testing.T) {
	s := start(t)
	before, err := s.LastChange(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mustCreateNetwork(t, s, func() Network { n := network("n1"); n.Made, n.Switch = true, "n1"; n.Router = ""; return n }())
	made, err := s.LastChange(t.Context())
	if err != nil || made == before {
		t.Fatalf("the switch is watched: %d, %v", made, err)
	}
	if _, err := s.ReserveAddress(t.Context(), network("n1").Subnet, network("n1").Subnet, netip.Addr{}, netip.Addr{}, "hv1"); err != nil {
		t.Fatal(err)
	}
	if err := s.ChangeNetwork(t.Context(), "n1", func(n *Network) { n.Name = "web" }); err != nil {
		t.Fatal(err)
	}
	if now, err := s.LastChange(t.Context()); err != nil || now != made {
		t.Errorf("a reservation is watched: %d, %v", now, err)
	}
}

func TestNextFree(t *testing.T) {
	net := netip.MustParsePrefix("10.0.0.0/29")
	taken := map[string]bool{"10.0.0.0": true, "10.0.0.7": true}
	isFree := func(a netip.Addr) bool { return !taken[a.String()] }
	for after, want := range map[string]string{"": "10.0.0.1", "10.0.0.1": "10.0.0.2", "10.0.0.5": "10.0.0.6", "10.0.0.6": "10.0.0.1", "11.0.0.1": "10.0.0.1", "9.0.0.1": "10.0.0.1"} {
		var a netip.Addr
		if after != "" {
			a = netip.MustParseAddr(after)
		}
		if got := nextFree(net, a, isFree); got.String() != want {
			t.Errorf("behind %q comes %s, want %s", after, got, want)
		}
	}
	if got := nextFree(net, netip.Addr{}, func(netip.Addr) bool { return false }); got.IsValid() {
		t.Errorf("got %s, and none is free", got)
	}
}

func TestFirstSubnet(t *testing.T) {
	parse := func(texts ...string) (list []netip.Prefix) {
		for _, text := range texts {
			list = append(list, netip.MustParsePrefix(text))
		}
		return list
	}
	for _, tt := range []struct {
		pools []netip.Prefix
		bits  int
		used  []netip.Prefix
		want  string
	}{
		{parse("10.0.0.0/16"), 24, nil, "10.0.0.0/24"},
		{parse("10.0.0.0/16"), 24, parse("10.0.0.0/26"), "10.0.1.0/24"},
		{parse("10.0.0.0/16"), 24, parse("10.0.0.0/22", "10.0.4.128/25"), "10.0.5.0/24"},
		{parse("10.0.0.0/16"), 24, parse("10.0.0.0/8"), "invalid Prefix"},
		{parse("10.0.0.0/16", "10.1.0.0/16"), 24, parse("10.0.0.0/16"), "10.1.0.0/24"},
		{parse("10.0.0.0/24"), 16, nil, "10.0.0.0/24"}, // all of it
		{parse("255.255.255.0/24"), 25, parse("255.255.255.0/25", "255.255.255.128/25"), "invalid Prefix"},
		{nil, 24, nil, "invalid Prefix"},
	} {
		if got := firstSubnet(tt.pools, tt.bits, tt.used); got.String() != tt.want {
			t.Errorf("%v: got %s", tt, got)
		}
	}
}

// An address of a /16 in which 20,000 ports are.
func BenchmarkReserveAddress20000(b *testing.B) {
	s := benchStore(b, 0)
	n := Network{ID: "n1", Switch: "n1", Made: true, Subnet: netip.MustParsePrefix("10.20.0.0/16"), Gateway: netip.MustParseAddr("10.20.0.1"), Scope: ScopeLocal}
	if err := s.CreateNetwork(b.Context(), n); err != nil {
		b.Fatal(err)
	}
	book, ops := map[uint32]bool{}, []clientv3.Op(nil)
	ip := n.Gateway
	for range 20_000 {
		ip = ip.Next()
		book[uint32(topology.PortID(ip))] = true
		p := topology.SwitchPort{Switch: "n1", Name: "e-" + ip.String(), IP: ip, MAC: topology.MACFromIP(ip), Chassis: "hv1"}
		ops = append(ops, clientv3.OpPut(s.layout.path(p.Key()), p.Value()))
	}
	bits := roaring.BitmapOf(slices.Collect(maps.Keys(book))...)
	ops = append(ops, clientv3.OpPut(s.layout.book(topology.Switch{Name: "n1"}.Key()), encodeBitmap(bits)))
	for batch := range slices.Chunk(ops, maxOps) {
		if _, err := s.client.Txn(b.Context()).Then(batch...).Commit(); err != nil {
			b.Fatal(err)
		}
	}
	var last netip.Addr
	for b.Loop() {
		got, err := s.ReserveAddress(b.Context(), n.Subnet, n.Subnet, netip.Addr{}, last, "hv1")
		if err != nil {
			b.Fatal(err)
		}
		last = got
		b.StopTimer()
		if err := s.ReleaseAddress(b.Context(), n.Subnet, got, "hv1"); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
