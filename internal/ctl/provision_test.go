package ctl

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// switchPortsOf returns the ports that are under a prefix, by name.
func (b *bed) switchPortsOf(prefix string) map[string]topology.SwitchPort {
	b.Helper()
	list, bad, err := b.store(prefix).List(b.Context(), topology.KindSwitchPort, "")
	if err != nil || len(bad) > 0 {
		b.Fatal(err, bad)
	}
	all := map[string]topology.SwitchPort{}
	for _, p := range ports(list) {
		all[p.Name] = p
	}
	return all
}

// The widest networks: all addresses and tags are given out, each once, and the
// books say so.
func TestProvisionWidest(t *testing.T) {
	b := newBed(t)
	b.must("/wide", "ls add", nil, "hosts")
	b.must("/wide", "lsp add", nil, "hosts", "vm", "192.168.0.1")
	out := b.must("/wide", "ls provision", map[string]string{"node": "vm"}, "pods", "10.0.0.0/20")
	if out != "switch pods provisioned for vm: 4093 ports created, 0 there before\n" {
		t.Error(out)
	}
	tags, addresses := map[uint16]bool{}, map[netip.Addr]bool{}
	for _, p := range b.switchPortsOf("/wide") {
		if p.Switch == "pods" {
			tags[p.Tag], addresses[p.IP] = true, true
		}
	}
	if len(tags) != 4093 || tags[0] || tags[topology.MaxTag] || len(addresses) != 4093 || addresses[netip.MustParseAddr("10.0.0.1")] {
		t.Errorf("%d tags, %d addresses", len(tags), len(addresses))
	}
	b.must("/wide", "lsp add", map[string]string{"parent": "vm"}, "hosts", "last", "192.168.0.2")
	if _, err := b.run(t.Context(), "/wide", "lsp add", map[string]string{"parent": "vm"}, "hosts", "more", "192.168.0.3"); err == nil || !strings.Contains(err.Error(), "all 4094 tags of parent vm are in use") {
		t.Error(err)
	}
	b.must("/wide", "ls provision", map[string]string{"node": "hv", "force": "true"}, "many", "10.4.0.1/18")
	if n := len(b.switchPortsOf("/wide")); n != 4093+2+16381 {
		t.Errorf("%d ports", n)
	}
	b.sound("/wide")
}

// What is interrupted goes on where it stopped, and who provisions at the same
// time, or takes addresses meanwhile, costs nobody anything.
func TestProvisionBesideOthers(t *testing.T) {
	b := newBed(t)
	b.must("/p", "ls add", nil, "hosts")
	b.must("/p", "lsp add", nil, "hosts", "vm", "192.168.0.1")
	b.must("/p", "lr add", nil, "R")
	b.must("/p", "ls add", nil, "pods")
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() {
			if _, err := b.run(t.Context(), "/p", "ls provision", map[string]string{"node": "vm", "router": "R"}, "pods", "10.0.0.1/22"); err != nil {
				t.Error("provision:", err)
			}
		})
		all.Go(func() {
			s, subnet := b.store("/p"), netip.MustParsePrefix("10.0.0.1/22")
			isGateway := func(ip netip.Addr) bool { return ip == subnet.Addr() }
			for j := range 5 {
				port := topology.SwitchPort{Switch: "pods", Name: fmt.Sprintf("lsp-%d-%d", i, j)}
				if _, err := s.AllocatePort(t.Context(), port, subnet, isGateway); err != nil && !errors.Is(err, store.ErrFull) {
					t.Error("allocate:", err)
				}
			}
		})
		all.Go(func() {
			owner := fmt.Sprint("cni:k8s/", i, "/eth0")
			for {
				p, err := b.store("/p").ClaimPort(t.Context(), "pods", "vm", owner, store.Want{})
				if err == nil && p.Owner == owner {
					return
				}
				if !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrFull) { // of which there is none yet
					t.Error("claim:", p, err)
					return
				}
			}
		})
	}
	all.Wait()
	out := b.must("/p", "ls provision", map[string]string{"node": "vm", "router": "R"}, "pods", "10.0.0.1/22")
	if !regexp.MustCompile(`^switch pods provisioned for vm: 0 ports created, \d+ there before(, \d+ addresses taken by other ports)?\n$`).MatchString(out) {
		t.Error(out)
	}
	owners, tags := map[string]int{}, map[uint16]string{}
	for name, p := range b.switchPortsOf("/p") {
		if p.Owner != "" {
			owners[p.Owner]++
		}
		if other, twice := tags[p.Tag]; p.Parent == "vm" && twice {
			t.Errorf("%s and %s have tag %d", name, other, p.Tag)
		} else if p.Parent == "vm" {
			tags[p.Tag] = name
		}
	}
	if got := slices.Sorted(maps.Keys(owners)); !slices.Equal(got, []string{"cni:k8s/0/eth0", "cni:k8s/1/eth0", "cni:k8s/2/eth0"}) || len(tags) < 900 {
		t.Errorf("owners %v, %d tags", owners, len(tags))
	}
	b.sound("/p")
}

func TestProvisionInterrupted(t *testing.T) {
	b := newBed(t)
	b.must("/i", "ls add", nil, "hosts")
	b.must("/i", "lsp add", nil, "hosts", "vm", "192.168.0.1")
	ctx, cancel := context.WithCancel(t.Context())
	s := b.store("/i")
	go func() {
		defer cancel()
		seen := 0
		for u := range s.Watch(ctx) {
			if seen += len(u.Changes); seen > 300 { // a batch, of which the command knows, and some of the next
				return
			}
		}
	}()
	_, err := b.run(ctx, "/i", "ls provision", map[string]string{"node": "vm"}, "pods", "10.0.0.0/20")
	if err == nil || !strings.Contains(err.Error(), "all of it complete; run it again to go on") {
		t.Fatalf("interrupted: %v", err)
	}
	b.sound("/i")
	made := len(b.switchPortsOf("/i")) - 1
	out := b.must("/i", "ls provision", map[string]string{"node": "vm"}, "pods", "10.0.0.0/20")
	if want := fmt.Sprintf("switch pods provisioned for vm: %d ports created, %d there before\n", 4093-made, made); out != want || made == 0 {
		t.Errorf("got %s, want %s", out, want)
	}
	b.sound("/i")
}

// Children that are made at the same time without a tag get one each.
func TestTagsInParallel(t *testing.T) {
	b := newBed(t)
	b.must("/t", "ls add", nil, "S")
	b.must("/t", "lsp add", nil, "S", "vm", "10.0.0.1")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 5 {
				name, ip := fmt.Sprintf("c-%d-%d", i, j), fmt.Sprintf("10.0.%d.%d", 1+i, j)
				if _, err := b.run(t.Context(), "/t", "lsp add", map[string]string{"parent": "vm"}, "S", name, ip); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	tags := map[uint16]bool{}
	for _, p := range b.switchPortsOf("/t") {
		tags[p.Tag] = true
	}
	for tag := range uint16(41) { // the parent has none
		if !tags[tag] {
			t.Errorf("no port has tag %d", tag)
		}
	}
	b.sound("/t")
}

func TestPoolNetwork(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/24":   "10.0.0.1/24",
		"10.0.0.9/24":   "10.0.0.9/24",
		" 10.0.0.0/31 ": "10.0.0.0/31",
		"10.0.0.1/31":   "10.0.0.1/31",
		"10.0.0.0/18":   "10.0.0.1/18",
		"10.0.0.0/17":   "invalid CIDR",
		"10.0.0.0/0":    "invalid CIDR",
		"10.0.0.0/32":   "invalid CIDR",
		"10.0.0.3/30":   "invalid CIDR",
		"224.0.0.0/24":  "invalid IP",
		"fd00::/120":    "invalid CIDR",
		"":              "invalid CIDR",
	} {
		net, err := poolNetwork(text)
		if err != nil && !strings.HasPrefix(err.Error(), want) || err == nil && net.String() != want {
			t.Errorf("%q: %s, %v; want %s", text, net, err, want)
		}
	}
}
