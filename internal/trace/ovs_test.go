package trace

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"tuplenet/flows"
	"tuplenet/internal/ovs"
	"tuplenet/internal/ovs/ovstest"
	"tuplenet/internal/topology"
)

// TestAgainstOpenVSwitch holds the likeliest path of packets against what Open
// vSwitch says that it would do with the same flows (ofproto/trace), table by
// table, and the hashes along with it. Where connection tracking translates,
// Open vSwitch does not show what becomes of the packet, and the comparison ends.
func TestAgainstOpenVSwitch(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"two-hosts", "two-edges", "nat", "outer-elsewhere", "children"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(filepath.Join("testdata", "dry", name+".txtar"))
			if err != nil {
				t.Fatal(err)
			}
			n := NewNetwork(stored(t, section(archive, "topology")), nil)
			switches := map[string]*reality{}
			for line := range strings.Lines(section(archive, "packets")) {
				if !strings.Contains(line, "size=") { // ofproto/trace has no sizes
					checkPacket(t, n, switches, strings.Fields(line))
				}
			}
		})
	}
}

// reality is an Open vSwitch with a chassis' flows.
type reality struct {
	*ovstest.OVS
	driver *ovs.Driver
}

// checkPacket follows a packet over all chassis.
func checkPacket(t *testing.T, n *Network, switches map[string]*reality, word []string) {
	t.Helper()
	from, frame, _ := packetOf(t, n, word)
	p, err := newParcel(from, frame)
	if err != nil {
		t.Fatal(word, err)
	}
	for n.journey(from, p, &choices{}).run() { // until all is learned
	}
	defer n.forget()
	for j := n.journey(from, p, &choices{}); len(j.parcels) > 0; {
		at, before := j.parcels[0], len(j.records)
		j.cross()
		r := switches[at.chassis]
		if r == nil {
			r = realityOf(t, n, at.chassis)
			switches[at.chassis] = r
		}
		r.sync(t, n.bridge(at.chassis).engine.All())
		got := []int{int(flows.TableClassify)}
		for _, record := range j.records[before:] {
			for _, s := range record.Steps {
				got = append(got, int(s.Table))
			}
		}
		want, whole, output := r.trace(at)
		if !whole {
			got = got[:min(len(got), len(want))]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v on %s: tables differ (-Open vSwitch +Dry):\n%s%s", word, at.chassis, diff, output)
		}
	}
}

func newReality(t *testing.T) *reality {
	t.Helper()
	o := ovstest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d, err := ovs.Open(ctx, ovs.Config{RunDir: o.RunDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return &reality{o, d}
}

// realityOf makes a bridge with the ports of a chassis.
func realityOf(t *testing.T, n *Network, chassis string) *reality {
	t.Helper()
	r := newReality(t)
	for to, end := range n.bridge(chassis).leads {
		if to.tag != 0 {
			continue // by the interface of its parent
		}
		name, kind := fmt.Sprintf("p%d", to.ofport), []string{"type=dummy"}
		if end.Kind == Tunnel {
			remote := n.model.Get(topology.Chassis{Name: end.Chassis}.Key()).(topology.Chassis)
			kind = []string{"type=geneve", "options:key=flow", "options:remote_ip=" + remote.IP.String()}
		}
		r.Vsctl(append([]string{"add-port", "br-int", name, "--", "set", "Interface", name, fmt.Sprintf("ofport_request=%d", to.ofport)}, kind...)...)
	}
	return r
}

// sync makes flows those of the bridge.
func (r *reality) sync(t *testing.T, all iter.Seq2[uint64, *flows.Flow]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		if _, err := r.driver.Sync(ctx, all); err == nil {
			return
		}
		select { // it is connecting yet
		case <-r.driver.Events():
		case <-ctx.Done():
		}
	}
	t.Fatal("the flows do not get into Open vSwitch")
}

var tracedTable = regexp.MustCompile(`^ *(\d+)\. `)

// larger is in what Open vSwitch tells of the packet as it would go on if it were
// too large for the tunnel.
const larger = "reg3=0x1000000/0x1000000"

// trace returns the tables that a packet comes to, and whether those are all.
func (r *reality) trace(p parcel) (tables []int, whole bool, output string) {
	output = r.Appctl("ofproto/trace", "br-int", flowText(p))
	first, _, recirculated := strings.Cut(output, "\nrecirc(")
	for line := range strings.Lines(first) {
		if m := tracedTable.FindStringSubmatch(line); m != nil && !strings.Contains(line, larger) {
			n, _ := strconv.Atoi(m[1])
			tables = append(tables, n)
		}
	}
	return tables, !recirculated, output
}

// flowText describes a packet as ofproto/trace takes it.
func flowText(p parcel) string {
	get := func(f flows.Field) uint64 { return p.state.Get(flows.All(f)) }
	parts := []string{fmt.Sprintf("in_port=%d", get(flows.InPort))}
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if get(flows.TunDst) != 0 {
		add("tun_id=%#x,tun_src=%s,tun_dst=%s,tun_metadata0=%#x", get(flows.TunID), ip4(get(flows.TunSrc)), ip4(get(flows.TunDst)), get(flows.TunMetadata0))
	}
	if get(flows.VLAN) != 0 {
		add("vlan_tci=%#x", get(flows.VLAN))
	}
	add("dl_src=%s,dl_dst=%s", macOf(get(flows.EthSrc)), macOf(get(flows.EthDst)))
	if get(flows.EthType) == etherARP {
		add("arp,arp_op=%d,arp_spa=%s,arp_tpa=%s,arp_sha=%s,arp_tha=%s", get(flows.ARPOp), ip4(get(flows.ARPSpa)), ip4(get(flows.ARPTpa)),
			macOf(get(flows.ARPSha)), macOf(get(flows.ARPTha)))
		return strings.Join(parts, ",")
	}
	switch get(flows.IPProto) {
	case protoICMP:
		add("icmp,icmp_type=%d,icmp_code=%d", get(flows.ICMPType), get(flows.ICMPCode))
	case protoTCP:
		add("tcp,tp_src=%d,tp_dst=%d", p.srcPort, p.dstPort)
	}
	add("nw_src=%s,nw_dst=%s,nw_ttl=%d", ip4(get(flows.IPSrc)), ip4(get(flows.IPDst)), get(flows.IPTTL))
	return strings.Join(parts, ",")
}

// TestHash holds the order in which preference has ports and members of a pool
// against what Open vSwitch chooses.
func TestHash(t *testing.T) {
	t.Parallel()
	r := newReality(t)
	const n = 5
	choose := flows.Choose{Dst: flows.All(flows.RegTunnel)}
	for i := range n {
		port := fmt.Sprint("p", i)
		r.Vsctl("add-port", "br-int", port, "--", "set", "Interface", port, "type=dummy", fmt.Sprint("ofport_request=", i+1))
		choose.Ports = append(choose.Ports, uint32(i+1))
	}
	byMAC := choose
	choose.Fields, byMAC.Fields = flows.HashIPDst, flows.HashEthSrc
	byMAC.Dst = flows.All(flows.RegDirect)
	flow := &flows.Flow{Table: flows.TableClassify, Priority: 1, Actions: []flows.Action{
		choose, byMAC, flows.Spread{Fields: flows.HashIPSrc, N: n, Dst: flows.All(flows.RegNextHop)}, flows.Goto{Table: flows.TableDrop}}}
	r.sync(t, func(yield func(uint64, *flows.Flow) bool) { yield(flows.CookieTag|1, flow) })
	register := regexp.MustCompile(`reg(\d)=(0x[0-9a-f]+|\d+)`)
	for i := range uint64(20) {
		var p parcel
		p.state.Set(flows.All(flows.EthType), etherIPv4)
		p.state.Set(flows.All(flows.IPProto), protoICMP)
		p.state.Set(flows.All(flows.EthSrc), 0xf20100000000+i*7919)
		p.state.Set(flows.All(flows.IPSrc), 0x0a000000+i*104729)
		p.state.Set(flows.All(flows.IPDst), 0xac100000+i)
		want := map[string]uint64{
			"6": uint64(choose.Ports[preference(flows.HashIPDst, &p.state, n, portWeight)[0]]),
			"1": uint64(byMAC.Ports[preference(flows.HashEthSrc, &p.state, n, portWeight)[0]]),
		}
		if member := preference(flows.HashIPSrc, &p.state, n, memberWeight)[0]; member > 0 { // 0 is not printed
			want["0"] = uint64(member)
		}
		_, final, _ := strings.Cut(r.Appctl("ofproto/trace", "br-int", flowText(p)), "Final flow: ")
		final, _, _ = strings.Cut(final, "\n")
		got := map[string]uint64{}
		for _, m := range register.FindAllStringSubmatch(final, -1) {
			got[m[1]], _ = strconv.ParseUint(m[2], 0, 64)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: registers differ (-preference +Open vSwitch):\n%s", flowText(p), diff)
		}
	}
}
