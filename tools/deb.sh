#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# deb.sh - Debian packages (libweir0, libweir-dev, weir) from a copy of this tree.
#
#     tools/deb.sh BUILD
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-build-deb}
rm -rf "$out"
mkdir -p "$out/weir"
tar --create --exclude='./build*' --exclude=./.git --exclude=./debian . | tar --extract -C "$out/weir"
cp -r packaging/debian "$out/weir/debian"
(cd "$out/weir" && dpkg-buildpackage --build=binary --no-sign)
rm -rf "$out/weir"
if command -v lintian >/dev/null; then
    lintian --fail-on error --tag-display-limit 0 "$out"/*.changes
fi
ls -l "$out"/*.deb
