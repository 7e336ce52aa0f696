#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# example_kcp.sh - servers and clients of examples/echo_kcp*.c talk to each other over loopback.
#
#     tests/install/example_kcp.sh echo_kcp|echo_kcp_epoll PROGRAM
set -euo pipefail

name=${1:?echo_kcp or echo_kcp_epoll}
program=${2:?the program}
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT

fail() {
    echo "example_kcp: $*" >&2
    exit 1
}

# A port may be taken by somebody else: then the server ends at once, and another one is tried.
start_server() {
    for _ in {1..20}; do
        address=127.0.0.1:$((20000 + RANDOM % 12000))
        "$program" server "$address" "$@" 2>"$work/server.log" &
        server=$!
        sleep 0.2
        kill -0 "$server" 2>/dev/null && return
        server=
    done
    fail "no port for the server"
}

# One client, after which the server ends by itself.
check_blocking() {
    local text='a line that comes back' answer
    start_server 1
    answer=$(timeout 30 "$program" client "$address" "$text")
    [ "$answer" = "$text" ] || fail "the answer is '$answer'"
    wait "$server" || fail "the server: $(cat "$work/server.log")"
    server=
    [ ! -s "$work/server.log" ] || fail "the server: $(cat "$work/server.log")"
}

# Two clients at once, one of them reading a file, the other a pipe.
check_epoll() {
    local first
    seq 100000 >"$work/numbers"
    start_server
    timeout 60 "$program" client "$address" <"$work/numbers" >"$work/first" 2>"$work/first.log" &
    first=$!
    # shellcheck disable=SC2002 # a pipe is wanted
    cat "$work/numbers" | timeout 60 "$program" client "$address" >"$work/second" 2>"$work/second.log" ||
        fail "the second client: $(cat "$work/second.log")"
    wait "$first" || fail "the first client: $(cat "$work/first.log")"
    cmp "$work/numbers" "$work/first" || fail "the file came back changed"
    cmp "$work/numbers" "$work/second" || fail "the pipe came back changed"
}

case $name in
echo_kcp) check_blocking ;;
echo_kcp_epoll) check_epoll ;;
*) fail "no such example: $name" ;;
esac
echo "example_kcp: $name works"
