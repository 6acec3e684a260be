#!/bin/sh
# Has lintian and rpmlint judge the packages of a directory. What they find is an error,
# but for what packaging/deb/lintian-overrides and packaging/rpm/rpmlint.toml explain.
set -eu
cd "$(dirname "$0")/.."
dist=$1
lintian --allow-root --fail-on error,warning "$dist"/*.deb
rpmlint --strict -c packaging/rpm/rpmlint.toml "$dist"/*.rpm >"$dist/rpmlint.log" 2>&1 || {
	cat "$dist/rpmlint.log" >&2
	exit 1
}
rm "$dist/rpmlint.log"
