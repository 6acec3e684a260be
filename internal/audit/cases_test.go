package audit

import "strings"

// A network that is as it should be, and another router's.
const (
	linked = `
		LS/A id=1
		LR/R id=2
		LS/A/lsp/A_to_R ip=10.0.1.1,mac=f2:01:0a:00:01:01,peer=R_to_A
		LR/R/lrp/R_to_A ip=10.0.1.1,prefix=24,mac=f2:01:0a:00:01:01,peer=A_to_R
		LS/A/lsp/a ip=10.0.1.10,mac=f2:01:0a:00:01:0a
	`
	second = `
		LS/B id=3
		LS/B/lsp/B_to_R ip=10.0.2.1,mac=f2:01:0a:00:02:01,peer=R_to_B
		LR/R/lrp/R_to_B ip=10.0.2.1,prefix=24,mac=f2:01:0a:00:02:01,peer=B_to_R
		LS/B/lsp/b ip=10.0.2.10,mac=f2:01:0a:00:02:0a
	`
	edge1 = `
		chassis/hv1 ip=172.16.0.1,tick=1
		LR/E1 id=11,chassis=hv1
		LS/m1 id=12
		LS/out1 id=13
		LS/m1/lsp/m1_to_R ip=100.64.0.1,mac=f2:01:64:40:00:01,peer=R_to_m1
		LR/R/lrp/R_to_m1 ip=100.64.0.1,prefix=24,mac=f2:01:64:40:00:01,peer=m1_to_R
		LS/m1/lsp/m1_to_E1 ip=100.64.0.2,mac=f2:01:64:40:00:02,peer=E1_to_m1
		LR/E1/lrp/E1_to_m1 ip=100.64.0.2,prefix=24,mac=f2:01:64:40:00:02,peer=m1_to_E1
		LS/out1/lsp/out1_to_E1 ip=192.168.1.20,mac=f2:01:c0:a8:01:14,peer=E1_to_out1
		LR/E1/lrp/E1_to_out1 ip=192.168.1.20,prefix=24,mac=f2:01:c0:a8:01:14,peer=out1_to_E1
		LS/out1/lsp/patch1 ip=255.255.255.255,mac=ff:ff:ff:ff:ff:ee,peer=br0,chassis=hv1
		LR/R/lsr/out1 ip=0.0.0.0,prefix=0,next_hop=100.64.0.2,outport=R_to_m1
		LR/E1/lsr/back ip=10.0.0.0,prefix=16,next_hop=100.64.0.1,outport=E1_to_m1
		LR/E1/lsr/world ip=0.0.0.0,prefix=0,next_hop=192.168.1.1,outport=E1_to_out1
	`
	edge2 = `
		chassis/hv2 ip=172.16.0.2,tick=1
		LR/E2 id=21,chassis=hv2
		LS/m2 id=22
		LS/out2 id=23
		LS/m2/lsp/m2_to_R ip=100.64.0.3,mac=f2:01:64:40:00:03,peer=R_to_m2
		LR/R/lrp/R_to_m2 ip=100.64.0.3,prefix=24,mac=f2:01:64:40:00:03,peer=m2_to_R
		LS/m2/lsp/m2_to_E2 ip=100.64.0.2,mac=f2:01:64:40:00:02,peer=E2_to_m2
		LR/E2/lrp/E2_to_m2 ip=100.64.0.2,prefix=24,mac=f2:01:64:40:00:02,peer=m2_to_E2
		LS/out2/lsp/out2_to_E2 ip=192.168.1.21,mac=f2:01:c0:a8:01:15,peer=E2_to_out2
		LR/E2/lrp/E2_to_out2 ip=192.168.1.21,prefix=24,mac=f2:01:c0:a8:01:15,peer=out2_to_E2
		LS/out2/lsp/patch2 ip=255.255.255.255,mac=ff:ff:ff:ff:ff:ee,peer=br0,chassis=hv2
		LR/R/lsr/out2 ip=0.0.0.0,prefix=0,next_hop=100.64.0.2,outport=R_to_m2
		LR/E2/lsr/back ip=10.0.0.0,prefix=16,next_hop=100.64.0.3,outport=E2_to_m2
		LR/E2/lsr/world ip=0.0.0.0,prefix=0,next_hop=192.168.1.1,outport=E2_to_out2
	`
	roads = linked + second + edge1 + edge2
)

// lose returns a store without a key.
func lose(store, path string) string {
	var b strings.Builder
	for line := range strings.Lines(store) {
		if !strings.HasPrefix(strings.TrimSpace(line), path+" ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// storeCase is a store and what is wrong with it: kind, object, and the remedy or
// what it follows from.
type storeCase struct {
	name, store string
	want        []string
}

var cases = []storeCase{
	{"sound", roads, nil},
	{"empty", "globals/version 1", nil},
	{"sound, with NAT", roads + `
		LR/E1/lnat/hide ip=10.0.0.0,prefix=16,xlate_ip=192.168.1.30,xlate_type=snat
		LR/E1/lnat/pool ip=10.0.0.0,prefix=16,xlate_ip=192.168.1.20,xlate_type=snat
		LR/E2/lnat/hide ip=10.0.0.0,prefix=16,xlate_ip=192.168.1.31,xlate_type=snat
		LR/E1/lnat/in ip=10.0.1.10,prefix=32,xlate_ip=192.168.1.50,xlate_type=dnat
		LR/E1/lnat/out ip=10.0.1.10,prefix=32,xlate_ip=192.168.1.50,xlate_type=snat
		LR/E2/lnat/in ip=10.0.1.10,prefix=32,xlate_ip=192.168.1.50,xlate_type=dnat
		LR/E2/lnat/out ip=10.0.1.10,prefix=32,xlate_ip=192.168.1.50,xlate_type=snat`, nil},
	{"a port's value", linked + "LS/A/lsp/bad ip=10.0.1.300,mac=f2:01:0a:00:01:0b", []string{
		"unreadable-value switch port A/bad: tpctl lsp del A bad"}},
	{"a router's value", "LR/R ix=7,chassis=hv1\nLR/R/lrp/x ip=10.0.1.1,prefix=24,mac=f2:01:0a:00:01:01,peer=\nLS/A id=1", []string{
		"unreadable-value router R: echo '{\"routers\":{\"R\":{\"chassis\":\"hv1\"}}}' | tpctl apply -f - --force",
		"router-port-unplugged router port R/x: tpctl lrp del R x"}},
	{"a switch's value", "LS/A ix=7", []string{"unreadable-value switch A: echo '{\"switches\":{\"A\":{}}}' | tpctl apply -f -"}},
	{"a chassis' value", "chassis/hv1 ip=nowhere", []string{"unreadable-value chassis hv1: tpctl ch del hv1"}},
	{"a name", "LS/A id=1\nLS/A/lsp/b\x01 ip=10.0.0.1,mac=f2:01:0a:00:00:01", []string{
		"unreadable-value switch port A/\"b\\x01\": etcdctl del '/tuplenet/entity_view/LS/A/lsp/b\x01'"}},
	{"a contact", "contact/hv1 here", []string{
		"unreadable-value presence of chassis hv1: tpctl check --repair /tuplenet/contact/hv1"}},
	{"no parent", `LS/gone/lsp/x ip=10.0.0.1,mac=f2:01:0a:00:00:01
		LR/gone/lsr/r ip=0.0.0.0,prefix=0,next_hop=10.0.0.9,outport=p`, []string{
		"parent-missing router gone: tpctl lr add gone", "parent-missing switch gone: tpctl ls add gone"}},
	{"peers that are not there", `LS/A id=1
		LR/R id=2
		LS/A/lsp/x ip=10.0.1.1,mac=f2:01:0a:00:01:01,peer=nobody
		LR/R/lrp/R_to_A ip=10.0.1.2,prefix=24,mac=f2:01:0a:00:01:02,peer=A_to_R
		LR/R/lrp/R_to_B ip=10.0.2.2,prefix=24,mac=f2:01:0a:00:02:02,peer=B_to_R`, []string{
		"peer-missing router port R/R_to_A: tpctl lr link R A 10.0.1.2/24", "peer-missing router port R/R_to_B: tpctl lrp del R R_to_B",
		"peer-missing switch port A/x: tpctl lsp del A x"}},
	{"peers that are not mutual", linked + `
		LS/A/lsp/half ip=10.0.1.3,mac=f2:01:0a:00:01:03
		LR/R/lrp/whole ip=10.0.3.3,prefix=24,mac=f2:01:0a:00:03:03,peer=half
		LR/R/lrp/silent ip=10.0.4.3,prefix=24,mac=f2:01:0a:00:04:03,peer=
		LS/A/lsp/asks ip=10.0.1.4,mac=f2:01:0a:00:01:04,peer=silent
		LS/A/lsp/steals ip=10.0.1.5,mac=f2:01:0a:00:01:05,peer=R_to_A
		LR/R/lrp/steals ip=10.0.5.5,prefix=24,mac=f2:01:0a:00:05:05,peer=A_to_R
		LS/A/lsp/host ip=10.0.1.6,mac=f2:01:0a:00:01:06,chassis=hv1
		chassis/hv1 ip=172.16.0.1,tick=1
		LR/R/lrp/host ip=10.0.6.5,prefix=24,mac=f2:01:0a:00:06:05,peer=host
		LS/A/lsp/out ip=255.255.255.255,mac=ff:ff:ff:ff:ff:ee
		LR/R/lrp/out ip=10.0.7.5,prefix=24,mac=f2:01:0a:00:07:05,peer=out`, []string{
		"peer-one-sided router port R/host: tpctl lrp del R host", "peer-one-sided router port R/out: tpctl lrp del R out",
		"peer-one-sided router port R/steals: tpctl lrp del R steals",
		"peer-one-sided router port R/whole: tpctl lsp del A half; tpctl lsp add A half 10.0.1.3 f2:01:0a:00:01:03 whole",
		"peer-one-sided switch port A/asks: tpctl lrp del R silent; tpctl lrp add R silent 10.0.4.3/24 f2:01:0a:00:04:03 asks",
		"peer-one-sided switch port A/steals: tpctl lsp del A steals"}},
	{"a router port without a peer", "LR/R id=1\nLR/R/lrp/x ip=10.0.1.1,prefix=24,mac=f2:01:0a:00:01:01,peer=", []string{
		"router-port-unplugged router port R/x: tpctl lrp del R x"}},
	{"ends that differ", `LS/A id=1
		LR/R id=2
		LS/A/lsp/s ip=10.0.1.2,mac=f2:01:0a:00:01:02,peer=r
		LR/R/lrp/r ip=10.0.1.1,prefix=24,mac=f2:01:0a:00:01:01,peer=s
		LS/A/lsp/s2 ip=10.0.1.3,mac=f2:01:0a:00:01:03,peer=r2
		LR/R/lrp/r2 ip=10.0.2.2,prefix=24,mac=f2:01:0a:00:02:02,peer=s2`, []string{
		"link-mismatch router port R/r: tpctl lsp del A s; tpctl lsp add A s 10.0.1.1 f2:01:0a:00:01:01 r",
		"link-mismatch router port R/r2: tpctl lsp del A s2; tpctl lsp add A s2 10.0.2.2 f2:01:0a:00:02:02 r2"}},
	{"one id", "LS/A id=1\nLS/B id=1\nLR/R id=1", []string{
		"duplicate-id router R: tpctl check --repair R", "duplicate-id switch B: tpctl check --repair B"}},
	{"ports that are alike", `LS/A id=1
		LS/B id=2
		LS/A/lsp/a ip=10.0.0.1,mac=f2:01:0a:00:00:01
		LS/A/lsp/address ip=10.0.0.1,mac=f2:01:0a:00:00:02
		LS/A/lsp/id ip=10.1.0.1,mac=f2:01:0a:01:00:01
		LS/A/lsp/mac ip=10.0.0.3,mac=f2:01:0a:00:00:01
		LS/B/lsp/a ip=10.0.0.4,mac=f2:01:0a:00:00:04`, []string{
		"duplicate-port switch port A/address: tpctl lsp del A address", "duplicate-port switch port A/id: tpctl lsp del A id",
		"duplicate-port switch port A/mac: tpctl lsp del A mac", "duplicate-port switch port B/a: tpctl lsp del B a"}},
	{"ports that nobody can have", `LS/A id=1
		LR/R id=2
		LS/A/lsp/none ip=0.0.0.0,mac=f2:01:0a:00:00:01
		LS/A/lsp/group ip=224.0.0.5,mac=f2:01:0a:00:00:02
		LS/A/lsp/mac ip=10.0.0.3,mac=ff:ff:ff:ff:ff:ee
		LS/A/lsp/r ip=10.0.0.255,mac=f2:01:0a:00:00:04,peer=r
		LR/R/lrp/r ip=10.0.0.255,prefix=24,mac=f2:01:0a:00:00:04,peer=r`, []string{
		"port-unusable router port R/r: tpctl lrp del R r", "port-unusable switch port A/group: tpctl lsp del A group",
		"port-unusable switch port A/mac: tpctl lsp del A mac", "port-unusable switch port A/none: tpctl lsp del A none"}},
	{"names like flags", `LS/-A id=1
		LS/-B id=1
		LS/A id=2
		LS/A/lsp/-p nonsense
		LR/-R id=3,chassis=hv9`, []string{
		"duplicate-id switch -B: tpctl check --repair -- -B", "router-pinned-gone router -R: tpctl lr del -r -- -R",
		"unreadable-value switch port A/-p: tpctl lsp del -- A -p"}},
	{"routes that are alike", roads + "LR/E1/lsr/again ip=0.0.0.0,prefix=0,next_hop=192.168.1.1,outport=E1_to_out1", []string{
		"duplicate-route static route E1/again: tpctl lsr del E1 again"}},
	{"NAT rules that are alike", roads + `LR/E1/lnat/in ip=10.0.1.10,prefix=32,xlate_ip=192.168.1.50,xlate_type=dnat
		LR/E1/lnat/in2 ip=10.0.1.11,prefix=32,xlate_ip=192.168.1.50,xlate_type=dnat`, []string{
		"duplicate-nat NAT E1/in2: tpctl lnat del E1 in2"}},
	{"one tunnel address", "chassis/new ip=172.16.0.1,tick=2\nchassis/old ip=172.16.0.1,tick=1", []string{
		"duplicate-tunnel-address chassis old: tpctl ch del old"}},
	{"one network twice, with workloads", linked + `
		LS/C id=4
		LS/C/lsp/C_to_R ip=10.0.1.129,mac=f2:01:0a:00:01:81,peer=R_to_C
		LR/R/lrp/R_to_C ip=10.0.1.129,prefix=24,mac=f2:01:0a:00:01:81,peer=C_to_R
		LS/C/lsp/c ip=10.0.1.130,mac=f2:01:0a:00:01:82`, []string{
		"network-shadowed router port R/R_to_C: tpctl lrp del R R_to_C; tpctl lsp del C C_to_R"}},
	{"a network within another", linked + `
		LS/C id=4
		LS/C/lsp/C_to_R ip=10.0.1.129,mac=f2:01:0a:00:01:81,peer=R_to_C
		LR/R/lrp/R_to_C ip=10.0.1.129,prefix=25,mac=f2:01:0a:00:01:81,peer=C_to_R`, []string{
		"networks-overlap router port R/R_to_A: tpctl lrp del R R_to_C; tpctl lsp del C C_to_R"}},
	{"a wide network", `LS/A id=1
		LR/R id=2
		LS/A/lsp/s ip=10.0.1.1,mac=f2:01:0a:00:01:01,peer=r
		LR/R/lrp/r ip=10.0.1.1,prefix=8,mac=f2:01:0a:00:01:01,peer=s`, []string{
		"network-too-wide router port R/r: tpctl lrp del R r; tpctl lrp add R r 10.0.1.1/16 f2:01:0a:00:01:01 s"}},
	{"an address outside", linked + "LS/A/lsp/far ip=10.9.1.11,mac=f2:01:0a:09:01:0b", []string{
		"address-outside switch port A/far: tpctl lsp del A far"}},
	{"an external address of two edges", roads + `
		LR/E1/lnat/hide ip=10.0.0.0,prefix=16,xlate_ip=192.168.1.30,xlate_type=snat
		LR/E2/lnat/hide ip=10.0.0.0,prefix=16,xlate_ip=192.168.1.30,xlate_type=snat
		LR/E2/lnat/vip ip=10.9.0.0,prefix=16,xlate_ip=192.168.1.20,xlate_type=snat`, []string{
		"external-address-twice NAT E2/hide: tpctl lnat del E2 hide", "external-address-twice NAT E2/vip: tpctl lnat del E2 vip"}},
	{"an external address of two routers on an inner switch", linked + `
		LR/Q id=7
		LS/A/lsp/A_to_Q ip=10.0.1.2,mac=f2:01:0a:00:01:02,peer=Q_to_A
		LR/Q/lrp/Q_to_A ip=10.0.1.2,prefix=24,mac=f2:01:0a:00:01:02,peer=A_to_Q
		LR/R/lnat/n ip=10.7.0.0,prefix=16,xlate_ip=10.0.1.99,xlate_type=snat
		LR/Q/lnat/n ip=10.8.0.0,prefix=16,xlate_ip=10.0.1.99,xlate_type=snat`, []string{
		"external-address-twice NAT R/n: tpctl lnat del R n"}},
	{"routes that cannot work", linked + `
		LR/R/lsr/noport ip=10.1.0.0,prefix=16,next_hop=10.0.1.10,outport=nobody
		LR/R/lsr/outside ip=10.2.0.0,prefix=16,next_hop=10.5.1.10,outport=R_to_A
		LR/R/lsr/self ip=10.3.0.0,prefix=16,next_hop=10.0.1.1,outport=R_to_A
		LR/R/lsr/all ip=10.4.0.0,prefix=16,next_hop=10.0.1.255,outport=R_to_A`, []string{
		"route-dead static route R/all: tpctl lsr del R all",
		"route-dead static route R/noport: tpctl lsr del R noport", "route-dead static route R/outside: tpctl lsr del R outside",
		"route-dead static route R/self: tpctl lsr del R self"}},
	{"a next hop that nobody has", linked + "LR/R/lsr/r ip=10.1.0.0,prefix=16,next_hop=10.0.1.99,outport=R_to_A", []string{
		"next-hop-nobody static route R/r: tpctl lsr del R r"}},
	{"a next hop that is an external address", linked + `
		LR/Q id=7
		LS/A/lsp/A_to_Q ip=10.0.1.2,mac=f2:01:0a:00:01:02,peer=Q_to_A
		LR/Q/lrp/Q_to_A ip=10.0.1.2,prefix=24,mac=f2:01:0a:00:01:02,peer=A_to_Q
		LR/Q/lnat/n ip=10.8.0.0,prefix=16,xlate_ip=10.0.1.99,xlate_type=snat
		LR/R/lsr/r ip=10.1.0.0,prefix=16,next_hop=10.0.1.99,outport=R_to_A`, nil},
	{"half a link, and routes that used it", lose(roads, "LS/m1/lsp/m1_to_E1"), []string{
		"peer-missing router port E1/E1_to_m1: tpctl lr link E1 m1 100.64.0.2/24",
		"next-hop-nobody static route R/out1: follows from router port E1/E1_to_m1"}},
	{"the other half, and routes that used it", lose(roads, "LR/E1/lrp/E1_to_m1"), []string{
		"peer-missing switch port m1/m1_to_E1: tpctl lsp del m1 m1_to_E1",
		"route-dead static route E1/back: follows from switch port m1/m1_to_E1"}},
	{"an unreadable end of a link", lose(roads, "LS/m1/lsp/m1_to_E1") + "LS/m1/lsp/m1_to_E1 nonsense", []string{
		"next-hop-nobody static route R/out1: follows from switch port m1/m1_to_E1",
		"unreadable-value switch port m1/m1_to_E1: tpctl lsp del m1 m1_to_E1"}},
	{"the other unreadable end", lose(roads, "LR/E1/lrp/E1_to_m1") + "LR/E1/lrp/E1_to_m1 nonsense", []string{
		"route-dead static route E1/back: follows from router port E1/E1_to_m1",
		"unreadable-value router port E1/E1_to_m1: tpctl lrp del E1 E1_to_m1"}},
	{"a link that is whole on one side", lose(roads, "LR/E1/lrp/E1_to_m1") + "LR/E1/lrp/E1_to_m1 ip=100.64.0.2,prefix=24,mac=f2:01:64:40:00:02,peer=", []string{
		"peer-one-sided switch port m1/m1_to_E1: tpctl lrp del E1 E1_to_m1; tpctl lrp add E1 E1_to_m1 100.64.0.2/24 f2:01:64:40:00:02 m1_to_E1"}},
	{"no way out for NAT", lose(roads, "LS/out1/lsp/out1_to_E1") + "LR/E1/lnat/hide ip=10.0.0.0,prefix=16,xlate_ip=192.168.1.30,xlate_type=snat", []string{
		"peer-missing router port E1/E1_to_out1: tpctl lr link E1 out1 192.168.1.20/24",
		"nat-dead NAT E1/hide: follows from router port E1/E1_to_out1"}},
	{"a next router that has lost its way", linked + second + `
		LR/Q id=7
		LS/A/lsp/A_to_Q ip=10.0.1.2,mac=f2:01:0a:00:01:02,peer=Q_to_A
		LR/Q/lrp/Q_to_A ip=10.0.1.2,prefix=24,mac=f2:01:0a:00:01:02,peer=A_to_Q
		LR/Q/lrp/Q_to_B ip=10.1.0.1,prefix=24,mac=f2:01:0a:01:00:01,peer=B_to_Q
		LR/R/lsr/r ip=10.1.0.0,prefix=16,next_hop=10.0.1.2,outport=R_to_A`, []string{
		"peer-missing router port Q/Q_to_B: tpctl lr link Q B 10.1.0.1/24",
		"next-router-no-way static route R/r: follows from router port Q/Q_to_B"}},
	{"a next router whose route is unreadable", linked + `
		LR/Q id=7
		LS/A/lsp/A_to_Q ip=10.0.1.2,mac=f2:01:0a:00:01:02,peer=Q_to_A
		LR/Q/lrp/Q_to_A ip=10.0.1.2,prefix=24,mac=f2:01:0a:00:01:02,peer=A_to_Q
		LR/Q/lsr/on nonsense
		LR/R/lsr/r ip=10.1.0.0,prefix=16,next_hop=10.0.1.2,outport=R_to_A`, []string{
		"unreadable-value static route Q/on: tpctl lsr del Q on",
		"next-router-no-way static route R/r: follows from static route Q/on"}},
	{"a next router that knows nothing", linked + `
		LR/Q id=7
		LS/A/lsp/A_to_Q ip=10.0.1.2,mac=f2:01:0a:00:01:02,peer=Q_to_A
		LR/Q/lrp/Q_to_A ip=10.0.1.2,prefix=24,mac=f2:01:0a:00:01:02,peer=A_to_Q
		LR/R/lsr/r ip=10.1.0.0,prefix=16,next_hop=10.0.1.2,outport=R_to_A`, []string{
		"next-router-no-way static route R/r: tpctl lsr del R r"}},
	{"a circle", linked + `
		LR/Q id=7
		LS/A/lsp/A_to_Q ip=10.0.1.2,mac=f2:01:0a:00:01:02,peer=Q_to_A
		LR/Q/lrp/Q_to_A ip=10.0.1.2,prefix=24,mac=f2:01:0a:00:01:02,peer=A_to_Q
		LR/R/lsr/r ip=10.1.0.0,prefix=16,next_hop=10.0.1.2,outport=R_to_A
		LR/Q/lsr/r ip=10.1.0.0,prefix=16,next_hop=10.0.1.1,outport=Q_to_A`, []string{
		"route-loop static route R/r: tpctl lsr del R r"}},
	{"routes that are not used", linked + `
		LS/A/lsp/b ip=10.0.1.11,mac=f2:01:0a:00:01:0b
		LR/R/lsr/r1 ip=10.1.0.0,prefix=16,next_hop=10.0.1.11,outport=R_to_A
		LR/R/lsr/r0 ip=10.1.0.0,prefix=16,next_hop=10.0.1.10,outport=R_to_A`, []string{
		"route-unused static route R/r0: tpctl lsr del R r0"}},
	{"a route beside shared ones", roads + "LR/R/lsr/host ip=0.0.0.0,prefix=0,next_hop=10.0.1.10,outport=R_to_A", []string{
		"route-unused static route R/host: tpctl lsr del R host"}},
	{"two routes to a chassis", strings.ReplaceAll(roads, "LR/E2 id=21,chassis=hv2", "LR/E2 id=21,chassis=hv1"), []string{
		"route-unused static route R/out2: tpctl lsr del R out2"}},
	{"a route over a network", linked + second + "LR/R/lsr/r ip=10.0.2.0,prefix=24,next_hop=10.0.1.10,outport=R_to_A", []string{
		"route-over-network static route R/r: tpctl lsr del R r"}},
	{"NAT rules that cannot work", roads + `
		LR/E1/lnat/far ip=10.0.0.0,prefix=16,xlate_ip=192.168.1.255,xlate_type=snat
		LR/E1/lnat/none ip=10.0.0.0,prefix=16,xlate_ip=0.0.0.0,xlate_type=snat
		LR/E1/lnat/hop ip=10.0.0.0,prefix=16,xlate_ip=192.168.1.1,xlate_type=snat
		LR/E1/lnat/wide ip=10.0.1.0,prefix=24,xlate_ip=192.168.1.40,xlate_type=dnat
		LR/Q id=7
		LR/Q/lnat/n ip=10.0.1.0,prefix=24,xlate_ip=192.168.1.40,xlate_type=snat`, []string{
		"nat-dead NAT E1/far: tpctl lnat del E1 far", "nat-dead NAT E1/hop: tpctl lnat del E1 hop", "nat-dead NAT E1/none: tpctl lnat del E1 none", "nat-dead NAT E1/wide: tpctl lnat del E1 wide",
		"nat-dead NAT Q/n: tpctl lnat del Q n"}},
	{"NAT rules that overlap", roads + `
		LR/E1/lnat/wide ip=10.0.0.0,prefix=16,xlate_ip=192.168.1.30,xlate_type=snat
		LR/E1/lnat/part ip=10.0.1.0,prefix=24,xlate_ip=192.168.1.31,xlate_type=snat
		LR/E1/lnat/one ip=10.0.1.10,prefix=32,xlate_ip=192.168.1.32,xlate_type=snat`, []string{
		"nat-overlap NAT E1/part: tpctl lnat del E1 part"}},
	{"an external address within", roads + "LR/E1/lnat/n ip=192.168.1.0,prefix=24,xlate_ip=192.168.1.30,xlate_type=snat", []string{
		"nat-within NAT E1/n: tpctl lnat del E1 n"}},
	{"a floating IP on one edge", roads + `
		LR/E1/lnat/in ip=10.0.1.10,prefix=32,xlate_ip=192.168.1.50,xlate_type=dnat
		LR/E1/lnat/out ip=10.0.1.10,prefix=32,xlate_ip=192.168.1.50,xlate_type=snat
		LR/E2/lnat/out ip=10.0.0.0,prefix=16,xlate_ip=192.168.1.31,xlate_type=snat`, []string{
		"floating-ip-missing router E2: tpctl lnat add E2 in 10.0.1.10/32 dnat 192.168.1.50; tpctl lnat add E2 out_E1 10.0.1.10/32 snat 192.168.1.50"}},
	{"a chassis that is gone", linked + `
		LS/A/lsp/c ip=10.0.1.11,mac=f2:01:0a:00:01:0b,chassis=hv9
		LS/A/lsp/patch ip=255.255.255.255,mac=ff:ff:ff:ff:ff:ee,peer=br0,chassis=hv9
		LR/Q id=7,chassis=hv9`, []string{
		"chassis-gone chassis hv9: tpctl ch del hv9", "patch-port-gone switch port A/patch: tpctl patchport del A patch",
		"router-pinned-gone router Q: tpctl lr del -r Q"}},
	{"an edge that is gone", strings.ReplaceAll(roads, "chassis/hv1 ip=172.16.0.1,tick=1", "chassis/hv3 ip=172.16.0.1,tick=1"), []string{
		"patch-port-gone switch port out1/patch1: tpctl patchport del out1 patch1",
		"router-pinned-gone router E1: tpctl edge remove --vip 192.168.1.20"}},
	{"an agent without a record", "contact/hv1 172.16.0.1 #", []string{"chassis-unregistered chassis hv1: "}},
	{"hosts that run", linked + `
		chassis/hv1 ip=172.16.0.1,mtu=1438,tick=1
		contact/hv1 172.16.0.1 #
		chassis/hv2 ip=172.16.0.2,mtu=1438,tick=1
		contact/hv2 172.16.0.2,stopped #
		chassis/hv3 ip=172.16.0.3,tick=1
		LS/A/lsp/x ip=10.0.1.11,mac=f2:01:0a:00:01:0b,chassis=hv1
		LS/A/lsp/y ip=10.0.1.12,mac=f2:01:0a:00:01:0c,chassis=hv2
		LS/A/lsp/z ip=10.0.1.13,mac=f2:01:0a:00:01:0d,chassis=hv3`, nil},
	{"hosts that are down", linked + `
		chassis/hv1 ip=172.16.0.1,mtu=1438,tick=1
		chassis/hv2 ip=172.16.0.2,tick=1
		down/hv2 since=1795269785
		chassis/hv3 ip=172.16.0.3,mtu=1438,tick=1
		LS/A/lsp/x ip=10.0.1.11,mac=f2:01:0a:00:01:0b,chassis=hv1
		LS/A/lsp/y ip=10.0.1.12,mac=f2:01:0a:00:01:0c,chassis=hv2`, []string{
		"chassis-down chassis hv1: tpctl ch del hv1", "chassis-down chassis hv2: tpctl ch del hv2", "chassis-down-idle chassis hv3: tpctl ch del hv3"}},
	{"down and alive", "chassis/hv1 ip=172.16.0.1,tick=1\ncontact/hv1 172.16.0.1 #\ndown/hv1 since=1", []string{
		"down-contradicted absence of chassis hv1: tpctl check --repair /tuplenet/down/hv1"}},
	{"down and gone", "down/hv1 since=1", []string{"down-leftover absence of chassis hv1: tpctl ch del hv1"}},
	{"no lease", "chassis/hv1 ip=172.16.0.1,tick=1\ncontact/hv1 172.16.0.1\ncontender/hv1 172.16.0.9", []string{
		"stale-liveness contender for chassis hv1: tpctl check --repair /tuplenet/contender/hv1",
		"stale-liveness presence of chassis hv1: tpctl check --repair /tuplenet/contact/hv1"}},
	{"down, and a contact that is nobody's", "chassis/hv1 ip=172.16.0.1,tick=1\ncontact/hv1 172.16.0.1\ndown/hv1 since=1", []string{
		"stale-liveness presence of chassis hv1: tpctl check --repair /tuplenet/contact/hv1"}},
	{"one system-id", "chassis/hv1 ip=172.16.0.1,tick=1\ncontact/hv1 172.16.0.1 #\ncontender/hv1 172.16.0.9 #", []string{
		"system-id-twice chassis hv1: "}},
	{"MTUs", `chassis/hv1 ip=172.16.0.1,mtu=1438,tick=1
		chassis/hv2 ip=172.16.0.2,mtu=8938,tick=1
		chassis/hv3 ip=172.16.0.3,mtu=8934,tick=1
		chassis/hv4 ip=172.16.0.4,mtu=8938,tick=1
		contact/hv1 172.16.0.1 #
		contact/hv2 172.16.0.2 #
		contact/hv3 172.16.0.3 #
		contact/hv4 172.16.0.4 #`, []string{"mtu-differs chassis hv1: "}},
	{"no book of ids", "globals/version 1\nLS/A id=1", []string{"device-ids-missing globals/device_ids: tpctl toolbox sync-device-map"}},
	{"a damaged book of ids", "globals/version 1\nglobals/device_ids nonsense", []string{
		"device-ids-damaged globals/device_ids: tpctl toolbox sync-device-map"}},
	{"a book of other ids", "globals/version 1\nglobals/device_ids ids=2,3,4,5,6\nLS/A id=1", []string{
		"device-id-leaked globals/device_ids: tpctl toolbox sync-device-map", "device-id-unlisted globals/device_ids: tpctl toolbox sync-device-map"}},
	{"a damaged book of addresses", linked + "ip_book/LS/A OjAA", []string{"ip-book-damaged ip_book of switch A: tpctl toolbox rebuild-ip-book"}},
	{"books of other addresses", linked + "ip_book/LS/A ids=257,1000\nip_book/LR/R ids=257\nip_book/LR/gone ids=1", []string{
		"address-leaked ip_book of router gone: tpctl toolbox rebuild-ip-book",
		"address-leaked ip_book of switch A: tpctl toolbox rebuild-ip-book", "address-unlisted ip_book of switch A: tpctl toolbox rebuild-ip-book"}},
	{"no version", "globals/device_ids ids=1\nLS/A id=1", []string{"version-missing globals/version: tpctl check --repair version"}},
	{"talk", "communicate/push/hv1/cmd/7 cmd=pkt_trace\ncommunicate/push/hv1/cmd/8 cmd=pkt_trace #", []string{
		"stale-command /tuplenet/communicate/push/hv1/cmd/7: tpctl check --repair /tuplenet/communicate/push/hv1/cmd/7"}},
	{"strange keys", "LS/A/foo/x 1\nfoo bar", []string{
		"strange-key /tuplenet/entity_view/LS/A/foo/x: etcdctl del /tuplenet/entity_view/LS/A/foo/x", "strange-key /tuplenet/foo: etcdctl del /tuplenet/foo"}},
}
