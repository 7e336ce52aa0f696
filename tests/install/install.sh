#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# install.sh - installs a build tree into a staging folder and uses it from outside: by CMake's
# find_package (shared and static), by pkg-config (shared and static), and by the example of the README.
#
#     tests/install/install.sh BUILD
set -euo pipefail

build=$(cd "${1:?build tree}" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

fail() {
    echo "install: $*" >&2
    exit 1
}

prefix=$stage/usr
cmake --install "$build" --prefix "$prefix" >/dev/null
libraries=$(dirname "$(find "$prefix" -name libweir.so)")
for file in "$prefix"/bin/weir "$prefix"/share/man/man1/weir.1 "$libraries"/libweir.{a,so} "$libraries"/libweir-ikcp.{a,so} \
    "$prefix"/share/bash-completion/completions/weir \
    "$prefix"/share/zsh/vendor-completions/_weir "$prefix"/share/fish/vendor_completions.d/weir.fish; do
    [ -e "$file" ] || fail "${file#"$stage"} is not installed"
done
readelf -d "$libraries/libweir.so" | grep -q 'SONAME.*\[libweir\.so\.0\]' || fail "the soname is not libweir.so.0"
readelf -d "$libraries/libweir-ikcp.so" | grep -q 'SONAME.*\[libweir-ikcp\.so\.0\]' ||
    fail "the soname is not libweir-ikcp.so.0"

cmake -S "$root/tests/install/project" -B "$stage/project" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
cmake --build "$stage/project" >/dev/null
"$stage/project/consumer_shared"
"$stage/project/consumer_static"
LD_LIBRARY_PATH=$libraries "$stage/project/consumer_ikcp"
"$stage/project/consumer_ikcp_static"

export PKG_CONFIG_PATH=$libraries/pkgconfig
consumer=$root/tests/install/project/consumer.c
# shellcheck disable=SC2046 # one word per flag
cc -o "$stage/by_shared" "$consumer" $(pkg-config --cflags --libs weir)
LD_LIBRARY_PATH=$libraries "$stage/by_shared"
# The archive is named, as the linker would take the shared library beside it.
# shellcheck disable=SC2046
cc -o "$stage/by_static" "$consumer" $(pkg-config --cflags weir) "$libraries/libweir.a" \
    $(pkg-config --static --libs weir | sed 's/-lweir//')
"$stage/by_static"
! ldd "$stage/by_static" | grep -q libweir || fail "the static program needs libweir.so"

# A program for KCP's reference implementation, as C and as C++.
cp "$root/tests/compat/latency.c" "$stage/latency.c"
cp "$root/tests/compat/latency.c" "$stage/latency.cc"
for source in "$stage"/latency.c*; do
    c++ --version >/dev/null 2>&1 || [[ $source == *.c ]] || continue
    compiler=cc
    [[ $source == *.c ]] || compiler=c++
    # shellcheck disable=SC2046
    "$compiler" -o "$stage/latency" "$source" $(pkg-config --cflags --libs weir-ikcp)
    LD_LIBRARY_PATH=$libraries "$stage/latency" >/dev/null || fail "latency.c does not run"
done
# shellcheck disable=SC2046
cc -o "$stage/latency" "$stage/latency.c" $(pkg-config --cflags weir-ikcp) "$libraries/libweir-ikcp.a" \
    "$libraries/libweir.a" $(pkg-config --static --libs weir | sed 's/-lweir//')
"$stage/latency" >/dev/null || fail "latency.c does not run with the static libraries"

awk '/^```c$/ { on = 1; next } /^```/ { on = 0 } on' "$root/README.md" >"$stage/readme.c"
[ -s "$stage/readme.c" ] || fail "README.md has no C example"
# shellcheck disable=SC2046
cc -Wall -Wextra -Werror -o "$stage/readme" "$stage/readme.c" $(pkg-config --cflags --libs weir)
echo "install: all consumers work"
