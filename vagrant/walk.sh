#!/bin/sh
# Walks the tutorial on the machines that vagrant has brought up: two hosts, a third on
# the first one's switch, the edge, and the way outside and back. It prints every command
# behind a prompt that says where, and what comes of it, and ends with the first that
# fails. What is there already is not made again.
#
# ON is a program that runs a script, from standard input, on the machine that is its
# argument; without it ssh does.
set -eu
cd "$(dirname "$0")"

if [ -z "${ON-}" ]; then
	config=$(mktemp)
	trap 'rm -f "$config"' EXIT
	vagrant ssh-config >"$config"
fi
on() {
	if [ -n "${ON-}" ]; then
		"$ON" "$1"
	else
		ssh -q -F "$config" "$1" sudo sh -e
	fi
}

# What the machines know beside their programs: "eventually COMMAND..." runs it until it
# succeeds, "lossless COMMAND..." runs a ping, which must not lose a packet, and "shows
# PATTERN COMMAND..." prints the lines of its output that match, of which there must be one.
library='
eventually() {
	{ set +x; } 2>/dev/null
	tries=0
	until "$@" >/run/walk 2>&1; do
		tries=$((tries + 1))
		[ $tries -lt 60 ] || { cat /run/walk; exit 1; }
		sleep 0.5
	done
	cat /run/walk
	set -x
}
shows() {
	{ set +x; } 2>/dev/null
	pattern=$1
	shift
	"$@" >/run/walk 2>&1 || { cat /run/walk; exit 1; }
	grep -e "$pattern" /run/walk || { cat /run/walk; echo "no line of this matches $pattern"; exit 1; }
	set -x
}
lossless() {
	{ set +x; } 2>/dev/null
	shows " 0% packet loss" "$@"
}'

# at MACHINE COMMANDS: types them there.
at() {
	printf '{ %s\nPS4="%s# "\nset -x\n%s\n} 2>&1 </dev/null\n' "$library" "$1" "$2" | on "$1" || {
		echo "walk.sh: that failed on $1" >&2
		exit 1
	}
}

section() {
	printf '\n== %s\n' "$1"
}

section "1.2 Logical switches and a logical router"
at host-alice '
! tpctl lr show LR-central >/dev/null 2>&1 || exit 0
tpctl ls add LS-A
tpctl ls add LS-B
tpctl lr add LR-central
tpctl lsp add LS-A lsp-alice 10.20.1.10 f2:01:00:00:00:01
tpctl lsp add LS-B lsp-bob 10.20.2.10 f2:01:00:00:00:02
tpctl lsp add LS-A lsp-carol 10.20.1.11 f2:01:00:00:00:03
tpctl lr link LR-central LS-A 10.20.1.1/24
tpctl lr link LR-central LS-B 10.20.2.1/24'

# workload NAME ADDRESS MAC GATEWAY: plugs a network namespace into a port of its host.
# Its MTU leaves room for the tunnel's headers.
workload() {
	at "host-$1" "
! ip netns exec ns-$1 true 2>/dev/null || exit 0
ip netns add ns-$1
ip link add nseth0 type veth peer name nseth0-peer
ip link set nseth0 netns ns-$1
ovs-vsctl --may-exist add-port br-int nseth0-peer -- set Interface nseth0-peer external-ids:iface-id=lsp-$1
ip netns exec ns-$1 ip addr add $2/24 dev nseth0
ip netns exec ns-$1 ip link set dev nseth0 address $3 mtu 1400 up
ip netns exec ns-$1 ip route add default via $4
ip link set nseth0-peer up"
}

section "1.4 Namespaces on the hosts"
workload alice 10.20.1.10 f2:01:00:00:00:01 10.20.1.1
workload bob 10.20.2.10 f2:01:00:00:00:02 10.20.2.1
workload carol 10.20.1.11 f2:01:00:00:00:03 10.20.1.1

section "1.5 Now try to ping"
at host-alice '
eventually ip netns exec ns-alice ping -c 1 -W 1 10.20.2.10
lossless ip netns exec ns-alice ping -c 10 -i 0.2 10.20.2.10
eventually ip netns exec ns-alice ping -c 1 -W 1 10.20.1.11
lossless ip netns exec ns-alice ping -c 10 -i 0.2 10.20.1.11
lossless ip netns exec ns-alice ping -c 3 -i 0.2 -s 1372 -M do 10.20.2.10
shows ^system@ovs-system$ ovs-appctl dpctl/dump-dps
shows genev_sys_6081 ovs-appctl dpctl/dump-flows --names system@ovs-system
shows "^delivered to lsp-bob on host-bob$" tpctl trace lsp-alice --to lsp-bob'
at host-bob '
lossless ip netns exec ns-bob ping -c 10 -i 0.2 10.20.1.10'

section "2.1 The edge: its card of the physical network becomes a port of a bridge"
at host-edge1 '
{ set +x; } 2>/dev/null
for card in /sys/class/net/*/device; do
	card=${card%/device}
	card=${card##*/}
	ip -4 -o address show dev $card | grep -q . || break # this one has no address
done
set -x
ovs-vsctl --may-exist add-br br0
ovs-vsctl --may-exist add-port br0 $card
ip link set $card up
ovs-vsctl --may-exist add-port br-int patchport-outside1 -- set Interface patchport-outside1 type=patch external_ids:iface-id=patchport-outside1 options:peer=patchport-outside1-peer
ovs-vsctl --may-exist add-port br0 patchport-outside1-peer -- set Interface patchport-outside1-peer type=patch options:peer=patchport-outside1'

section "2.2 Logical devices from LR-central to the physical network, and NAT"
at host-edge1 '
! tpctl lr show LR-edge1 >/dev/null 2>&1 || exit 0
tpctl lr add LR-edge1 host-edge1
tpctl ls add m1
tpctl ls add outside1
tpctl lr link LR-central m1 100.10.10.1/24
tpctl lr link LR-edge1 m1 100.10.10.2/24
tpctl lr link LR-edge1 outside1 192.168.60.20/24
tpctl lsr add LR-central to_outside1 0.0.0.0/0 100.10.10.2 LR-central_to_m1
tpctl lsr add LR-edge1 to_virt1 10.20.0.0/16 100.10.10.1 LR-edge1_to_m1
tpctl lsr add LR-edge1 to_ext_world1 0.0.0.0/0 192.168.60.254 LR-edge1_to_outside1
tpctl lsp add outside1 patchport-outside1 255.255.255.255 ff:ff:ff:ff:ff:ee
tpctl lnat add LR-edge1 snat_rule1 10.20.0.0/16 snat 192.168.60.30
tpctl lnat add LR-edge1 carol-in 10.20.1.11/32 dnat 192.168.60.50
tpctl lnat add LR-edge1 carol-out 10.20.1.11/32 snat 192.168.60.50'

section "2.2 Now try to ping and wget"
at host-alice '
eventually ip netns exec ns-alice ping -c 1 -W 1 192.168.60.254
lossless ip netns exec ns-alice ping -c 10 -i 0.2 172.16.1.10
shows "hello from outside" ip netns exec ns-alice wget -q -O - -T 10 -t 1 http://172.16.1.10/hello.txt'
at host-bob '
eventually ip netns exec ns-bob ping -c 1 -W 1 172.16.1.10
lossless ip netns exec ns-bob ping -c 10 -i 0.2 172.16.1.10'
at host-edge1 '
shows "src=10.20.1.10,dst=172.16.1.10,.*dst=192.168.60.30," ovs-appctl dpctl/dump-conntrack'

section "And back: carol has a floating IP"
at outside '
eventually ping -c 1 -W 1 192.168.60.50
lossless ping -c 10 -i 0.2 192.168.60.50'
at host-alice '
tuplenet doctor --only flows
tpctl status'
