#!/bin/sh
# Makes a machine what the tutorial begins with: TupleNet installed from its package,
# /tmp/tuplenet.deb, and running, or a physical network to reach. It may be run again,
# and upgrades the package then.
#
#	provision.sh node|edge|outside [ADDRESS]	the address that carries the tunnels
set -eu
role=$1
address=${2:-}
name=$(hostname)
etcd=192.168.50.10 # on host-alice
export DEBIAN_FRONTEND=noninteractive

# install PROGRAM PACKAGE: installs Debian's package unless the program is there.
install() {
	command -v "$1" >/dev/null || { apt-get -q update && apt-get -q install -y --no-install-recommends "$2"; }
}

install busybox busybox-static
install wget wget

case $role in
outside)
	# The router of the physical network, and a web server in another one behind it.
	ip address replace 172.16.1.10/32 dev lo
	sysctl -q -w net.ipv4.ip_forward=1
	mkdir -p /srv/www
	echo "hello from outside" >/srv/www/hello.txt
	systemctl -q is-active web || systemd-run -q --unit web --collect busybox httpd -f -p 80 -h /srv/www
	exit
	;;
node) unit=tuplenet ;;
edge) unit=tuplenet-gateway ;;
*)
	echo "provision.sh knows no role $role, only node, edge and outside" >&2
	exit 2
	;;
esac

# 1.1 Open vSwitch, and the host's name in it.
install ovs-vsctl openvswitch-switch
echo "$name" >/etc/openvswitch/system-id.conf
ovs-vsctl set Open_vSwitch . external_ids:system-id="$name"

# 1.3 TupleNet.
[ -f /tmp/tuplenet.deb ] || { echo "/tmp/tuplenet.deb is missing: run make packages, and vagrant provision" >&2; exit 1; }
dpkg -i --force-confold /tmp/tuplenet.deb
printf 'endpoints: %s:2379\n' "$etcd" >/etc/tuplenet/client.yaml
printf 'endpoints: %s:2379\ninterface: %s\n' "$etcd" "$address" >/etc/tuplenet/agent.yaml
tuplenet agent --check >/dev/null
if [ "$address" = "$etcd" ]; then
	echo "TUPLENET_ETCD_LISTEN_CLIENT=http://$etcd:2379" >/etc/tuplenet/etcd.env
	systemctl -q enable --now tuplenet-etcd
fi
systemctl -q enable "$unit"
systemctl start "$unit"
