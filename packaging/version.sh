#!/bin/sh
# Prints the version of this tree, from git, in a form that dpkg and rpm sort right:
#
#	1.2.3			the tag v1.2.3
#	1.2.3~rc1		the tag v1.2.3-rc1: before 1.2.3
#	1.2.3+4.g0123456789	four commits after the tag v1.2.3: before 1.2.4
#	0.3.99+123.g0123456789	123 commits, and no tag yet: after 0.3, the original's
#
# What is not committed adds ".dirty", or "+0.dirty" to a tag.
set -eu
cd "$(dirname "$0")/.."
# Under sudo git may refuse to look at somebody else's clone.
git() { command git -c safe.directory='*' "$@"; }

if ! commit=$(git rev-parse --short=10 HEAD 2>/dev/null); then
	echo "0.3.99+0.unknown"
	exit
fi
if described=$(git describe --tags --match 'v[0-9]*' --long --abbrev=10 2>/dev/null); then
	described=${described%-*} # the commit
	since=${described##*-}
	tag=${described%-*}
	version=$(echo "${tag#v}" | tr - '~')
	[ "$since" = 0 ] || version=$version+$since.g$commit
else
	version=0.3.99+$(git rev-list --count HEAD).g$commit
fi
if [ -n "$(git status --porcelain --untracked-files=no)" ]; then
	case $version in
	*.g"$commit") version=$version.dirty ;;
	*) version=$version+0.dirty ;;
	esac
fi
echo "$version"
