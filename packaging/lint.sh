#!/bin/sh
# Has lintian and rpmlint judge the packages of a directory. What they find is an error,
# but for what packaging/deb/lintian-overrides and packaging/rpm/rpmlint.toml explain.
set -eu
cd "$(dirname "$0")/.."
dist=$1

# rpmlint unpacks a package by the paths that are in it, which begin with a slash in
# ours. So that this machine does not get them, it sees a copy of the root file system.
elsewhere='
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
mkdir -p "/mnt/root$PWD"
for dir in /proc /dev "$PWD"; do mount --rbind "$dir" "/mnt/root$dir"; done
exec chroot /mnt/root sh -c "cd \"\$0\" && exec \"\$@\"" "$PWD" "$@"'

lintian --allow-root --fail-on error,warning "$dist"/*.deb
unshare --mount sh -ec "$elsewhere" sh rpmlint --strict -c packaging/rpm/rpmlint.toml "$dist"/*.rpm >"$dist/rpmlint.log" 2>&1 || {
	cat "$dist/rpmlint.log" >&2
	exit 1
}
rm "$dist/rpmlint.log"
