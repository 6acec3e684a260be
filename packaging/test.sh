#!/bin/sh
# Tests the packages: builds them for all architectures into dist, and for this one
# again and once more as a later version; has lintian and rpmlint judge them; and has
# internal/packages install them. Called by `make test-packages`.
set -eu
cd "$(dirname "$0")/.."
here=$(go env GOHOSTARCH)
version=$(packaging/version.sh)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

make -s packages VERSION="$version"
(
	umask 077
	export TZ=Asia/Tokyo LC_ALL=C.UTF-8
	make -s packages VERSION="$version" DIST="$work/again" ARCHITECTURES="$here"
)
for package in "$work"/again/*; do
	cmp "$package" "dist/${package##*/}" || {
		echo "test-packages: the same tree has made two different packages; diffoscope tells in what they differ" >&2
		exit 1
	}
done
packaging/lint.sh dist

make -s packages VERSION="$version.newer" DIST="$work/newer" ARCHITECTURES="$here"
go test -tags packages -count=1 -timeout 5m ./internal/packages \
	-args -dist "$PWD/dist" -newer "$work/newer" -root "$PWD/bin/debian"
