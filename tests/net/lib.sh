# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# lib.sh - what the tests in network namespaces of their own have in common. Sourced first, with the
# script's arguments; from there on the script runs in its namespace, as root, with loopback up.
#
#     needs='curl'            # commands beside ip
#     . "$(dirname "$0")/lib.sh" "$@"
#
# Where it cannot run, the script ends with 77. $work is a directory; it and the processes in the array
# pids are gone at the end.
set -euo pipefail
export LC_ALL=C

skip() {
    echo "${0##*/}: skipped, $*"
    exit 77
}

if [ "${WEIR_IN_NAMESPACE_OF-}" != "$0" ]; then
    [ "$(id -u)" = 0 ] || skip 'needs root'
    [ -e /dev/net/tun ] || skip 'there is no /dev/net/tun'
    for command in ip ${needs-}; do
        command -v "$command" >/dev/null || skip "needs $command"
    done
    unshare -n true 2>/dev/null || skip 'may not make a network namespace'
    WEIR_IN_NAMESPACE_OF=$0 exec unshare -n "$0" "$@"
fi
unset WEIR_IN_NAMESPACE_OF

work=$(mktemp -d)
pids=()
finish() {
    local pid
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

fail() {
    echo "${0##*/}: $*"
    tail -n 100 "$work"/log "$work"/*.log "$work"/*.err "$work"/out >&2 2>/dev/null || true
    exit 1
}

ip link set lo up
# Addresses of IPv6 are good at once.
echo 0 2>/dev/null >/proc/sys/net/ipv6/conf/default/accept_dad || true

# start NAME COMMAND...: a server, until stop NAME. Its standard input is a pipe that we hold.
declare -A pid_of fd_of
start() {
    local name=$1 fd
    shift
    rm -f "$work/$name".{in,out,err}
    mkfifo "$work/$name.in"
    "$@" <"$work/$name.in" >"$work/$name.out" 2>"$work/$name.err" &
    pid_of[$name]=$!
    pids+=($!)
    exec {fd}>"$work/$name.in"
    fd_of[$name]=$fd
    for _ in $(seq 200); do
        grep -qsE 'ready|listening|serving' "$work/$name.out" "$work/$name.err" && return
        kill -0 "${pid_of[$name]}" 2>/dev/null || break
        sleep 0.05
    done
    fail "$name does not start"
}

# stop NAME: by the end of its standard input. What it said is in $work/NAME.{out,err}.
stop() {
    local fd=${fd_of[$1]}
    exec {fd}>&-
    wait "${pid_of[$1]}" || fail "$1 failed: $?"
    unset "pid_of[$1]" "fd_of[$1]"
}

# stop_by_signal NAME: the same by SIGTERM.
stop_by_signal() {
    kill -TERM "${pid_of[$1]}"
    stop "$1"
}

# big_file PATH BYTES: every block of 16 MB is another one.
big_file() {
    local i
    head -c 16000000 /dev/urandom >"$work/block"
    for i in $(seq $((($2 + 15999999) / 16000000))); do
        echo "$i"
        cat "$work/block"
    done 2>/dev/null | head -c "$2" >"$1" || true
    rm "$work/block"
    [ "$(stat -c %s "$1")" -eq "$2" ] || fail 'the disk is too small'
}

# other_namespace: one more, of the process $other, with a veth in between: near here, far there.
other_namespace() {
    unshare -n sleep 600 &
    other=$!
    pids+=("$other")
    for _ in $(seq 100); do
        [ "$(readlink "/proc/$other/ns/net")" != "$(readlink /proc/self/ns/net)" ] && break
        sleep 0.02
    done
    ip link add near type veth peer name far
    ip link set far netns "$other"
    ip link set near up
    nsenter -t "$other" -n ip link set lo up
    nsenter -t "$other" -n ip link set far up
}
