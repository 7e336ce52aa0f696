#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# crew.sh - the kernel's TCP against weir's under a crew, whose number of workers changes all the time:
# connections from the kernel, and from every shard.
#
#     crew.sh CREW_PROBE TCP_PROBE INET_PROBE
#
# In a network namespace of its own, on a TUN device and a TAP device of four queues, and on a group of
# four packet sockets. Needs root; ends with 77 where it cannot run.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh" "$@"
crew=$1
tcp=$2
inet=$3

# load KIND: many at once, so that all queues and shards have something to do.
load() {
    local clients=() i addr
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
        wait "$pid" || fail "$1: a client failed"
    done
    for _ in $(seq 30); do
        timeout 30 "$tcp" echo 10.7.0.2 1000 >"$work/short.log" 2>&1 ||
            fail "$1: a short connection failed"
    done
}

# calls KIND: from every shard to the kernel, each with a port whose answers lead to that shard.
calls() {
    start kernel "$tcp" listen
    echo 10.7.0.1 >&"${fd_of[server]}"
    for _ in $(seq 400); do
        ! grep -q called "$work/server.out" || break
        kill -0 "${pid_of[server]}" 2>/dev/null || fail "$1: calls failed"
        sleep 0.05
    done
    grep -q called "$work/server.out" || fail "$1: calls are not over"
    stop kernel
}

for kind in tun tap packet; do
    if [ "$kind" = packet ]; then
        # The other end of the pair is ours; the kernel knows nothing of our addresses there.
        ip link add weir0 type veth peer name weir1
        ip link set weir1 up
        device=weir1
    else
        device=weir0
    fi
    start server "$crew" "$kind" "$device" 10.7.0.2 fd07::2
    ip address add 10.7.0.1/24 dev weir0
    ip address add fd07::1/64 dev weir0 nodad
    ip link set weir0 up
    load "$kind"
    # All fragments of a packet come by one queue, or it would not be answered.
    for addr in 10.7.0.2 fd07::2; do
        timeout 60 "$inet" ping "$addr" 1400 3000 9000 20000 60000 >"$work/ping.log" 2>&1 ||
            fail "$kind: a ping failed"
    done
    calls "$kind"
    stop server
    echo "crew.sh: $kind: passed, $(cat "$work/server.err")"
    [ "$kind" != packet ] || ip link delete weir0
done
