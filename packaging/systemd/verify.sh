#!/bin/sh
# Has systemd judge the units, where it is installed, as it would with tuplenet in
# /usr/bin; and sees to it that an edge's agent runs as a host's does.
set -eu
cd "$(dirname "$0")"

# What systemd-analyze security finds exposed, of 100: what these units need to be of
# use costs about 25.
exposed=30

other=$(sed -e 's|^\(Description=.*agent\)$|\1 on an edge|' \
	-e 's|^\(ExecStart=.*\) agent$|\1 gateway|' \
	-e 's|^\(Conflicts=\).*|\1tuplenet.service|' \
	-e '/^After=tuplenet-gateway/d' tuplenet.service)
[ "$other" = "$(cat tuplenet-gateway.service)" ] || {
	echo "tuplenet-gateway.service differs from tuplenet.service in more than it has to:" >&2
	echo "$other" | diff -u - tuplenet-gateway.service >&2
	exit 1
}

command -v systemd-analyze >/dev/null || exit 0
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for unit in *.service; do
	sed 's|^\(Exec[A-Za-z]*=-\{0,1\}\)/usr/bin/tuplenet|\1/bin/true|' "$unit" >"$dir/$unit"
done
complaint=$(systemd-analyze verify --man=no "$dir"/*.service 2>&1) && [ -z "$complaint" ] || {
	echo "$complaint" >&2
	exit 1
}
# Older ones judge only units that are loaded.
systemd-analyze --help | grep -q -- --threshold || exit 0
for unit in *.service; do
	systemd-analyze security --no-pager --offline=true --threshold="$exposed" "$dir/$unit" >"$dir/exposed" || {
		tail -n 1 "$dir/exposed" >&2
		exit 1
	}
done
