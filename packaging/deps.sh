#!/bin/sh
# Installs what building, testing and the lab need, by the names of Debian's and
# Ubuntu's packages. Does nothing when all of it is there.
#
#	deps.sh		for the demo and the lab
#	deps.sh test	for the tests, too: traffic, a flow collector, paths, a web server, shells to complete in, what checks manual pages and metrics, and container runtimes
#	deps.sh bench	for the benchmarks, too: the CNI plugins that ours is measured against
#	deps.sh kernel	for the kernel's datapath, too: an emulator, and a kernel
#	deps.sh vm	for virtual machines on that kernel, too: a system for them, and what checks the Vagrantfile
#	deps.sh packages	for the tests of packages, too: what judges them, and a system to install them in
set -eu

packages="openvswitch-switch iproute2 iputils-ping procps ethtool tcpdump"

fail() {
	echo "make: $1" >&2
	exit 1
}

# Runs a command whose output matters only if it fails.
quietly() {
	log=$(mktemp)
	if "$@" >"$log" 2>&1; then
		rm -f "$log"
	else
		tail -20 "$log" >&2
		rm -f "$log"
		return 1
	fi
}

case "${1:-}" in
"") ;;
test) packages="$packages iperf3 nfdump wget traceroute iputils-tracepath busybox-static zsh fish mandoc containernetworking-plugins iptables"
	# Docker's own packages have these programs, too, and exclude Debian's.
	for p in podman runc containerd; do
		command -v $p >/dev/null || packages="$packages $p"
	done
	command -v dockerd >/dev/null || packages="$packages libdevmapper1.02.1"
	;;
bench) packages="$packages iperf3 containernetworking-plugins" ;;
kernel) packages="$packages iperf3 nfdump wget traceroute iputils-tracepath qemu-system-x86 busybox-static kmod" ;;
vm)
	packages="$packages qemu-system-x86 busybox-static kmod debootstrap"
	command -v vagrant >/dev/null || packages="$packages vagrant" # HashiCorp's does as well
	;;
packages) packages="$packages lintian rpmlint rpm debootstrap" ;;
*) fail "deps.sh knows no $1, only test, bench, kernel, vm and packages" ;;
esac

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
	quietly apt-get update && quietly apt-get install -y --no-remove --no-install-recommends $missing ||
		fail "the packages could not be installed:$missing"
fi

# Without the openvswitch module the lab's switches run in user space, on tap
# devices.
if ! [ -c /dev/net/tun ]; then
	mkdir -p /dev/net && mknod /dev/net/tun c 10 200 2>/dev/null || true
fi
if ! [ -d /sys/module/openvswitch ] && ! (exec 3<>/dev/net/tun) 2>/dev/null; then
	fail "/dev/net/tun cannot be opened, which Open vSwitch's userspace datapath needs: load the module tun (modprobe tun), or give this container the device"
fi

# Unpacks a package into a directory of bin, for what must not be installed.
unpack() {
	echo "unpacking $1"
	rm -rf "$2.new"
	mkdir -p "$2.new"
	(cd "$2.new" && quietly apt-get download "$1" && dpkg -x ./*.deb . && rm ./*.deb) ||
		fail "the package could not be downloaded and unpacked: $1"
	mv "$2.new" "$2"
}

bin=$(cd "$(dirname "$0")/.." && pwd)/bin

# This machine goes on booting its own kernel.
case ${1:-} in kernel | vm) booting=yes ;; *) booting= ;; esac
if [ -n "$booting" ] && ! [ -d "$bin/kernel" ]; then
	command -v apt-get >/dev/null && quietly apt-get update || fail "Debian's kernel cannot be had: apt-get update fails"
	image=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: //p')
	[ -n "$image" ] || fail "apt-get has no package linux-image-cloud-amd64: only Debian on amd64 has it"
	unpack "$image" "$bin/kernel"
fi

# Installed, Docker would be started, and would change this machine's packet filter.
if [ "${1:-}" = test ] && ! [ -d "$bin/docker" ] && ! command -v dockerd >/dev/null; then
	command -v apt-get >/dev/null && quietly apt-get update || fail "the package docker.io cannot be had: apt-get update fails"
	unpack docker.io "$bin/docker"
fi

# Engines of Docker before 23.0 share networks by an etcd that has its API of
# version 2, which the one of the lab does not. Installed, it would be started.
if [ "${1:-}" = test ] && ! [ -d "$bin/etcd-v2" ] &&
	PATH=$bin/docker/usr/sbin:$PATH dockerd --cluster-store=etcd://x --version >/dev/null 2>&1; then
	command -v apt-get >/dev/null && quietly apt-get update || fail "the package etcd-server cannot be had: apt-get update fails"
	unpack etcd-server "$bin/etcd-v2"
fi

# Prometheus has the program that checks its rules. Installed, it would serve.
if [ "${1:-}" = test ] && ! [ -d "$bin/prometheus" ] && ! command -v promtool >/dev/null; then
	command -v apt-get >/dev/null && quietly apt-get update || fail "the package prometheus cannot be had: apt-get update fails"
	unpack prometheus "$bin/prometheus"
fi

# The distribution that this machine has, as it comes, with what the package depends on,
# a web server, and what asks it.
case ${1:-} in packages | vm) installing=yes ;; *) installing= ;; esac
if [ -n "$installing" ] && ! [ -x "$bin/debian/usr/bin/wget" ]; then
	release=$(. /etc/os-release && echo "$VERSION_CODENAME")
	echo "making a root file system of $release"
	rm -rf "$bin/debian.new"
	quietly debootstrap --variant=minbase --include=systemd-sysv,dbus,openvswitch-switch,iproute2,iputils-ping,busybox-static,wget "$release" "$bin/debian.new" ||
		fail "debootstrap could not make a root file system of $release; its log is in $bin/debian.new/debootstrap"
	rm -rf "$bin/debian.new/var/cache/apt/archives" "$bin/debian.new/var/lib/apt/lists"
	rm -rf "$bin/debian"
	mv "$bin/debian.new" "$bin/debian"
fi
