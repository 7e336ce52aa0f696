#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# crew.sh - the kernel's TCP against weir's under a crew, whose number of workers changes all the time.
#
#     crew.sh CREW_PROBE TCP_PROBE
#
# In a network namespace of its own, on a TUN device of four queues. Needs root; ends with 77 where it
# cannot run.
set -euo pipefail
crew=$1
tcp=$2

skip() {
    echo "crew.sh: skipped, $*"
    exit 77
}

if [ "${3-}" != inside ]; then
    [ "$(id -u)" = 0 ] || skip 'needs root'
    [ -e /dev/net/tun ] || skip 'there is no /dev/net/tun'
    command -v ip >/dev/null || skip 'needs iproute2'
    unshare -n true 2>/dev/null || skip 'may not make a network namespace'
    exec unshare -n "$0" "$crew" "$tcp" inside
fi

work=$(mktemp -d)
server=
finish() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

fail() {
    echo "crew.sh: $*"
    cat "$work"/*.log "$work"/err >&2 || true
    exit 1
}

ip link set lo up
mkfifo "$work/in"
"$crew" weir0 10.7.0.2 fd07::2 <"$work/in" >"$work/out" 2>"$work/err" &
server=$!
exec {hold}>"$work/in"
for _ in $(seq 200); do
    grep -q ready "$work/out" && break
    kill -0 "$server" 2>/dev/null || fail 'the server does not start'
    sleep 0.05
done
ip address add 10.7.0.1/24 dev weir0
ip address add fd07::1/64 dev weir0 nodad
ip link set weir0 up

# Many at once, so that all queues and shards have something to do.
clients=()
for i in $(seq 12); do
    addr=10.7.0.2
    [ $((i % 3)) != 0 ] || addr=fd07::2
    if [ $((i % 2)) = 0 ]; then
        timeout 60 "$tcp" echo "$addr" 20000000 >"$work/$i.log" 2>&1 &
    else
        timeout 60 "$tcp" chat "$addr" 200 >"$work/$i.log" 2>&1 &
    fi
    clients+=("$!")
done
for pid in "${clients[@]}"; do
    wait "$pid" || fail 'a client failed'
done
for _ in $(seq 30); do
    timeout 30 "$tcp" echo 10.7.0.2 1000 >"$work/short.log" 2>&1 || fail 'a short connection failed'
done
exec {hold}>&-
wait "$server" || fail 'the server failed'
server=
echo "crew.sh: passed, $(cat "$work/err")"
