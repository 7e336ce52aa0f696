#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# build.sh - compiles kcppeer with Debian's Go and kcp-go; ends with 77 where they are not installed.
#
#     tests/interop/kcp_go/build.sh DIRECTORY     the program is DIRECTORY/kcppeer
set -euo pipefail

out=${1:?directory}
source=$(cd "$(dirname "$0")" && pwd)/kcppeer.go
modules=/usr/share/gocode
if ! command -v go >/dev/null || [ ! -d "$modules/src/github.com/xtaci/kcp-go" ]; then
    echo "kcp_go: skipped, golang-go and golang-github-xtaci-kcp-dev are not installed" >&2
    exit 77
fi
mkdir -p "$out"
out=$(cd "$out" && pwd)
# Tests run side by side.
exec 9>"$out/lock"
flock 9
[ "$out/kcppeer" -nt "$source" ] || GO111MODULE=off GOPATH=$modules GOPROXY=off GOFLAGS='' \
    GOCACHE=$out/go-cache go build -o "$out/kcppeer" "$source"
