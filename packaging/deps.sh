#!/bin/sh
# Installs what building, testing and the lab need, by the names of Debian's and
# Ubuntu's packages. Does nothing when all of it is there.
set -eu

packages="openvswitch-switch iproute2 iputils-ping ethtool tcpdump iperf3"

fail() {
	echo "make: $1" >&2
	exit 1
}

PATH=$PATH:/usr/local/go/bin
command -v go >/dev/null || fail "Go is not installed, or not in root's PATH; install it from https://go.dev/dl/ or as the package golang"
[ "$(id -u)" -eq 0 ] || fail "this needs root, for network namespaces and packages: run it with sudo"

missing=
for p in $packages; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q ' installed$' || missing="$missing $p"
done
if [ -n "$missing" ]; then
	command -v apt-get >/dev/null || fail "these packages are missing, and there is no apt-get to install them:$missing"
	echo "installing$missing"
	export DEBIAN_FRONTEND=noninteractive
	log=$(mktemp)
	if ! { apt-get update && apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
		tail -20 "$log" >&2
		rm -f "$log"
		fail "the packages could not be installed:$missing"
	fi
	rm -f "$log"
fi

# Without the openvswitch module the lab's switches run in user space, on tap
# devices.
if ! [ -c /dev/net/tun ]; then
	mkdir -p /dev/net && mknod /dev/net/tun c 10 200 2>/dev/null || true
fi
if ! [ -d /sys/module/openvswitch ] && ! (exec 3<>/dev/net/tun) 2>/dev/null; then
	fail "/dev/net/tun cannot be opened, which Open vSwitch's userspace datapath needs: load the module tun (modprobe tun), or give this container the device"
fi
