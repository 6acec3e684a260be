#!/bin/sh
# Builds the packages, bit by bit the same from the same tree, wherever and whenever.
# Called by `make packages`, which sets VERSION and LDFLAGS.
#
#	build.sh DIRECTORY [ARCHITECTURES [FORMATS]]
set -eu
umask 022
export LC_ALL=C TZ=UTC
cd "$(dirname "$0")/.."
mkdir -p "$1"
dist=$(cd "$1" && pwd)
rm -f "$dist"/tuplenet[-_]*
architectures=${2:-amd64 arm64}
formats=${3:-deb rpm}
nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.4

# All times in the packages are that of the last commit.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -c safe.directory='*' log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

STAGE=$(mktemp -d)
trap 'rm -rf "$STAGE"' EXIT

here=$(go env GOHOSTARCH)
for a in $(printf '%s\n' "$here" $architectures | sort -u); do
	mkdir -p "$STAGE/$a"
	GOARCH=$a go build -trimpath -ldflags "$LDFLAGS" -o "$STAGE/$a/tuplenet" .
done
"$STAGE/$here/tuplenet" man "$STAGE/man"
gzip -9n "$STAGE"/man/*

# The licenses of what is linked into the program want to be told.
go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' . | sort -u |
	while read -r module release dir; do
		case $dir in "" | "$PWD"*) continue ;; esac
		for text in "$dir"/LICEN[CS]E* "$dir"/COPYING* "$dir"/NOTICE*; do
			[ ! -f "$text" ] || { printf '\n==== %s %s, %s\n\n' "$module" "$release" "${text##*/}" && cat "$text"; }
		done
	done | gzip -9n >"$STAGE/third-party.gz"

cat >"$STAGE/changelog.yaml" <<END
- semver: "$VERSION-1"
  date: $(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
  packager: $(sed -n 's/^maintainer: //p' packaging/nfpm.yaml)
  deb: {urgency: medium, distributions: [unstable]}
  changes:
    - {note: "Built from the tree of this version; git has its changes."}
END

for ARCH in $architectures; do
	for format in $formats; do
		sed "s|\${STAGE}|$STAGE|; s|\${ARCH}|$ARCH|; s|\${VERSION}|$VERSION|" packaging/nfpm.yaml >"$STAGE/nfpm.yaml"
		go run $nfpm package --config "$STAGE/nfpm.yaml" --packager "$format" --target "$dist"
	done
done
