#!/bin/sh
# Makes the directory of a managed plugin of Docker, docker plugin create's PATH.
#
#	build.sh PROGRAM DIRECTORY	from the static program tuplenet
set -eu
program=$1 dir=$2
rm -rf "$dir"
root=$dir/rootfs
mkdir -p "$root/etc/tuplenet" "$root/host/run" "$root/run/docker/plugins" "$root/tmp" "$root/var"
# What the configuration file names is where it is on the host. The plugin's own
# socket is not the host's.
ln -s ../run "$root/var/run"
ln -s ../host/run/docker.sock "$root/run/docker.sock"
ln -s ../host/run/tuplenet "$root/run/tuplenet"
cp "$program" "$root/tuplenet"
cp "$(dirname "$0")/config.json" "$dir"
