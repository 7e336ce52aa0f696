#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# fetch_ikcp.sh - puts the reference implementation of KCP (ikcp.c, ikcp.h) into BUILD/ikcp, where
# the benchmarks look for it when BUILD is configured next. It comes with an npm package; nothing of
# it is kept in the source tree. Left out, in one line and without an error, where it cannot be had.
#
#     tools/fetch_ikcp.sh BUILD
set -euo pipefail

build=${1:?build tree}
package=node-kcp@1.0.13
# Of ikcp.c followed by ikcp.h: what the figures of docs/benchmarks.md belong to.
sum=054c724655d6e491e3d2cbaa1bf5ced218890cec7d29ad978c1b9e5eb951388b

[ ! -s "$build/ikcp/ikcp.c" ] || exit 0
leave_out() {
    echo "fetch_ikcp: the reference KCP is left out: $1" >&2
    exit 0
}
command -v npm >/dev/null || leave_out "npm is not installed"
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
(cd "$stage" && timeout 60 npm pack --silent --fetch-retries 1 "$package" >/dev/null 2>&1) ||
    leave_out "npm has no $package"
tar -xzf "$stage"/*.tgz -C "$stage" package/src/kcp
found=$(cat "$stage/package/src/kcp/ikcp.c" "$stage/package/src/kcp/ikcp.h" | sha256sum)
[ "${found%% *}" = "$sum" ] || leave_out "$package is not what it was"
mkdir -p "$build/ikcp"
cp "$stage/package/src/kcp/ikcp.h" "$build/ikcp/"
cp "$stage/package/src/kcp/ikcp.c" "$build/ikcp/"
