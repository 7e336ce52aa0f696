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
if ! (cd "$out/weir" && dpkg-buildpackage --build=binary --no-sign) >"$out/build.log" 2>&1; then
    tail -n 30 "$out/build.log" >&2
    echo "deb: the build failed; all of its output: $out/build.log" >&2
    exit 1
fi
rm -rf "$out/weir"
if command -v lintian >/dev/null; then
    # These packages are no upload to Debian: there is no address to write to and no bug to close.
    lintian --fail-on error --tag-display-limit 0 --allow-root --suppress-tags \
        bogus-mail-host,bogus-mail-host-in-debian-changelog,initial-upload-closes-no-bugs \
        "$out"/*.changes
fi
ls -l "$out"/*.deb
