package audit

// childCases are of children, and of what containers use.
var childCases = []storeCase{
	{"sound, with children, containers and a pool", linked + `
		chassis/hv1 ip=172.16.0.1,tick=1
		LS/A/lsp/vm ip=10.0.1.11,mac=f2:01:0a:00:01:0b,chassis=hv1
		LS/P id=5,security=on
		LS/P/lsp/P-10.4.0.2 ip=10.4.0.2,mac=f2:01:0a:04:00:02,parent=vm,tag=1,pool=vm,owner=cni:k8s/1/eth0
		LS/P/lsp/P-10.4.0.3 ip=10.4.0.3,mac=f2:01:0a:04:00:03,parent=vm,tag=2,pool=vm
		LS/A/lsp/lsp-eth0-1 ip=10.0.1.12,mac=f2:01:0a:00:01:0c,chassis=hv1,security=on,owner=cni:k8s/2/eth0
		LS/A/lsp/spare ip=10.0.1.13,mac=f2:01:0a:00:01:0d,pool=hv1`, nil},
	{"children without a parent", linked + `
		LS/A/lsp/c ip=10.0.1.11,mac=f2:01:0a:00:01:0b,parent=gone,tag=1
		LS/A/lsp/d ip=10.0.1.12,mac=f2:01:0a:00:01:0c,parent=gone,tag=2,owner=cni:k8s/1/eth0`, []string{
		"child-parent-missing switch port A/c: tpctl lsp del A c; tpctl lsp del --force A d"}},
	{"a pool without a parent", `
		LS/P id=5
		LS/P/lsp/p2 ip=10.4.0.2,mac=f2:01:0a:04:00:02,parent=vm,tag=1,pool=vm
		LS/P/lsp/p3 ip=10.4.0.3,mac=f2:01:0a:04:00:03,parent=vm,tag=2,pool=vm
		LS/P/lsp/p4 ip=10.4.0.4,mac=f2:01:0a:04:00:04,parent=vm,tag=3,pool=vm
		LS/P/lsp/p5 ip=10.4.0.5,mac=f2:01:0a:04:00:05,parent=vm,tag=4,pool=vm`, []string{
		"child-parent-missing switch port P/p2: tpctl ls del -r P"}},
	{"an unreadable parent", linked + `
		LS/A/lsp/vm nonsense
		LS/A/lsp/c ip=10.0.1.11,mac=f2:01:0a:00:01:0b,parent=vm,tag=1`, []string{
		"unreadable-value switch port A/vm: tpctl lsp del A vm"}},
	{"parents that no host is plugged into", linked + `
		LS/A/lsp/out ip=255.255.255.255,mac=ff:ff:ff:ff:ff:ee
		LS/A/lsp/c ip=10.0.1.11,mac=f2:01:0a:00:01:0b,parent=a,tag=1
		LS/A/lsp/d ip=10.0.1.12,mac=f2:01:0a:00:01:0c,parent=c,tag=1
		LS/A/lsp/e ip=10.0.1.13,mac=f2:01:0a:00:01:0d,parent=A_to_R,tag=1
		LS/A/lsp/f ip=10.0.1.14,mac=f2:01:0a:00:01:0e,parent=out,tag=1`, []string{
		"child-parent-unfit switch port A/d: tpctl lsp del A d", "child-parent-unfit switch port A/e: tpctl lsp del A e",
		"child-parent-unfit switch port A/f: tpctl lsp del A f"}},
	{"one tag", linked + `
		LS/A/lsp/c ip=10.0.1.11,mac=f2:01:0a:00:01:0b,parent=a,tag=1
		LS/A/lsp/d ip=10.0.1.12,mac=f2:01:0a:00:01:0c,parent=a,tag=1`, []string{
		"duplicate-port switch port A/d: tpctl lsp del A d"}},
	{"a parent's address twice", linked + `
		LS/A/lsp/vm ip=10.0.1.10,mac=f2:01:0a:00:01:0c
		LS/A/lsp/d ip=10.0.1.12,mac=f2:01:0a:00:01:0d,parent=vm,tag=1`, []string{
		"duplicate-port switch port A/vm: tpctl lsp del --force A vm"}},
	{"a container on no host", linked + `
		LS/A/lsp/lsp-eth0-1 ip=10.0.1.12,mac=f2:01:0a:00:01:0c,owner=cni:k8s/2/eth0`, []string{
		"attachment-leaked switch port A/lsp-eth0-1: tpctl lsp del --force A lsp-eth0-1"}},
	{"a container on a host that is gone", linked + `
		LS/A/lsp/lsp-eth0-1 ip=10.0.1.12,mac=f2:01:0a:00:01:0c,chassis=hv9,owner=cni:k8s/2/eth0`, []string{
		"chassis-gone chassis hv9: tpctl ch del hv9"}},
	{"a pool of nobody", linked + `
		LS/A/lsp/p1 ip=10.0.1.12,mac=f2:01:0a:00:01:0c,pool=hv9
		LS/A/lsp/p2 ip=10.0.1.13,mac=f2:01:0a:00:01:0d,pool=hv9
		LS/A/lsp/p3 ip=10.0.1.14,mac=f2:01:0a:00:01:0e,pool=hv9
		LS/A/lsp/p4 ip=10.0.1.15,mac=f2:01:0a:00:01:0f,pool=hv9`, []string{
		"pool-node-missing switch port A/p1: tpctl ls unprovision --node hv9 A"}},
	{"a pool outside", linked + `
		chassis/hv1 ip=172.16.0.1,tick=1
		LS/A/lsp/far ip=10.9.1.20,mac=f2:01:0a:09:01:14
		LS/A/lsp/p1 ip=10.9.1.21,mac=f2:01:0a:09:01:15,pool=hv1
		LS/A/lsp/p2 ip=10.9.1.22,mac=f2:01:0a:09:01:16,pool=hv1,chassis=hv1,owner=cni:k8s/1/eth0
		LS/A/lsp/p3 ip=10.9.1.23,mac=f2:01:0a:09:01:17,pool=hv1
		LS/A/lsp/p4 ip=10.9.1.24,mac=f2:01:0a:09:01:18,pool=hv1`, []string{
		"address-outside switch port A/far: tpctl lsp del A far",
		"address-outside switch port A/p1: tpctl ls unprovision --node hv1 A; tpctl lsp del --force A p2"}},
	{"a router port whose peer is a container's", linked + `
		LS/A/lsp/lsp-eth0-1 ip=10.0.1.12,mac=f2:01:0a:00:01:0c,parent=a,tag=3,owner=cni:k8s/2/eth0
		LR/R/lrp/r ip=10.0.6.5,prefix=24,mac=f2:01:0a:00:06:05,peer=lsp-eth0-1`, []string{
		"peer-one-sided router port R/r: tpctl lrp del R r"}},
}
