#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# test_workers.sh - perf -l and recv with --workers: nothing is lost, whatever the number of workers
# does meanwhile.
#
#     tests/cli/test_workers.sh WEIR PART
#
# PART: usage, rudp and kcp (perf), recv, futex (no futex call once it runs; needs strace), tcp (over
# a tun device in a network namespace of its own; needs root). Ends with 77 where it cannot run.
set -euo pipefail
export LC_ALL=C
weir=${1:?the program}
part=${2:?usage, rudp, kcp, recv, futex or tcp}

skip() {
    echo "test_workers: skipped, $*"
    exit 77
}

if [ "$part" = tcp ] && [ "${3-}" != inside ]; then
    [ "$(id -u)" = 0 ] || skip 'needs root'
    [ -e /dev/net/tun ] || skip 'there is no /dev/net/tun'
    command -v ip >/dev/null || skip 'needs iproute2'
    unshare -n true 2>/dev/null || skip 'may not make a network namespace'
    exec unshare -n "$0" "$weir" tcp inside
fi

work=$(mktemp -d)
server= # its pid, of those that start began last
pids=()
finish() {
    local pid
    for pid in "${pids[@]}"; do
        kill -CONT "$pid" 2>/dev/null || true
        kill "$pid" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

fail() {
    echo "test_workers: $*" >&2
    cat "$work"/*.err >&2 2>/dev/null || true
    exit 1
}

# field FILE NAME: a number out of one JSON object.
field() {
    sed -nE "s/.*\"$2\":[[:space:]]*([0-9.]+).*/\1/p" "$1" | head -n 1
}

# start NAME ARGUMENT...: weir in the background until it listens; sets server and url.
start() {
    local name=$1
    shift
    : >"$work/$name.err"
    "$weir" "$@" --control "$work/$name.sock" >"$work/$name.out" 2>"$work/$name.err" &
    server=$!
    pids+=("$server")
    for _ in $(seq 400); do
        url=$(sed -nE 's/^listening on ([^,]*).*/\1/p' "$work/$name.err")
        [ -z "$url" ] || return 0
        sleep 0.05
    done
    fail "$name does not listen"
}

# stop SIGNAL CODE: ends the server.
stop() {
    local code=0
    kill "-$1" "$server"
    wait "$server" || code=$?
    [ "$code" -eq "$2" ] || fail "the server ended with $code, not $2"
}

# until_true COMMAND...: at most 20 s.
until_true() {
    for _ in $(seq 400); do
        "$@" && return
        sleep 0.05
    done
    "$weir" ctl -s "$work/server.sock" status >&2 || true
    fail "waited 20 s for: $*"
}

# The main thread is one, too; a sanitizer's own make it more.
threads() {
    find "/proc/$server/task" -mindepth 1 -maxdepth 1 | wc -l
}
is_thread_count() {
    [ "$(threads)" -eq "$1" ]
}

# In the background, until rest.
keep_resizing() {
    local pid=$server
    : >"$work/moving"
    (
        while [ -e "$work/moving" ]; do
            for signal in USR1 USR2 USR2 USR2 USR1 USR1; do
                kill "-$signal" "$pid" 2>/dev/null || exit 0
                sleep 0.05
            done
        done
    ) &
    resizer=$!
}
rest() {
    rm "$work/moving"
    wait "$resizer"
}

refuse() {
    local text=$1 code=0
    shift
    timeout 10 "$weir" "$@" </dev/null >"$work/out" 2>"$work/refuse.err" || code=$?
    [ "$code" -eq 2 ] || fail "weir $* ended with $code, not 2"
    grep -qF -- "$text" "$work/refuse.err" || fail "weir $*: no word of '$text'"
    [ "$(wc -l <"$work/refuse.err")" -eq 1 ] || fail "weir $*: not one line"
}

check_usage() {
    local number
    for number in 0 62 x -1 '' 1.5 automatic; do
        refuse 'from 1 to 61' perf -l rudp://127.0.0.1:0 --workers "$number"
    done
    refuse 'goes with -l' perf rudp://127.0.0.1:1 --workers 2
    refuse 'goes with -l' perf --workers auto
    refuse '--control goes with --workers' perf -l rudp://127.0.0.1:0 --control none
    refuse '--metrics goes with --workers' recv rudp://127.0.0.1:0 --metrics 127.0.0.1:0
    refuse '--control goes with --workers' recv rudp://127.0.0.1:0 --control "$work/socket"
    refuse 'is for one thread' recv rudp://127.0.0.1:0 --workers 2 --driver raw:127.0.0.1
    refuse 'is for one thread' perf -l rudp://127.0.0.1:0 --workers 2 --driver raw:127.0.0.1
    start first recv rudp://127.0.0.1:0 -o "$work" --workers 2
    local code=0
    (ulimit -n 24 && exec timeout 10 "$weir" perf -l rudp://127.0.0.1:0 --workers 2) 2>"$work/few.err" || code=$?
    [ "$code" -eq 1 ] || fail "without descriptors: $code"
    grep -q 'ulimit -n' "$work/few.err" || fail "no word of descriptors"
    code=0
    timeout 10 "$weir" recv "$url" -o "$work" --workers 2 2>"$work/second.err" || code=$?
    [ "$code" -eq 1 ] || fail "a port that is taken: $code"
    stop TERM 0
    echo "  wrong use is refused"
}

# --- perf -----------------------------------------------------------------------------------------

# client MODE ARGUMENT...: to $work/MODE.json.
client() {
    local mode=$1
    shift
    timeout 60 "$weir" perf "$url" --mode "$mode" --json "$@" >"$work/$mode.json" 2>"$work/$mode.err" ||
        fail "perf $mode failed"
}

same() {
    [ "$(field "$1" "$2")" = "$(field "$1" "$3")" ] || fail "$2 is not $3: $(cat "$1")"
}

# check_modes ARGUMENT...: of the clients.
check_modes() {
    keep_resizing
    client message --seconds 2 --connections 40 "$@"
    same "$work/message.json" messages_sent messages_received
    client bulk --seconds 2 --connections 8 "$@"
    same "$work/bulk.json" messages_sent messages_received
    client latency --seconds 2 --connections 40 "$@"
    same "$work/latency.json" messages_sent messages_received
    [ "$(field "$work/latency.json" lost_round_trips)" = 0 ] || fail "lost: $(cat "$work/latency.json")"
    client idle --seconds 1 --connections 500 "$@"
    [ "$(field "$work/idle.json" echoes)" = 500 ] || fail "idle: $(cat "$work/idle.json")"
    [ "$(field "$work/idle.json" broken)" = 0 ] || fail "idle: $(cat "$work/idle.json")"
    rest
}

# What the server says of a test is what the client was told.
check_lines() {
    [ "$(wc -l <"$work/server.out")" -eq 4 ] || fail "not a line for each test: $(cat "$work/server.out")"
    [ "$(sed -n 1p "$work/server.out" | field /dev/stdin messages)" = \
        "$(field "$work/message.json" messages_received)" ] || fail "two figures for one test"
}

is_served() {
    timeout 30 "$weir" perf "$url" --mode latency --seconds 1 --json >"$work/next.json" 2>"$work/next.err"
}

# One test at a time, whichever shard it begins on. One whose client is gone is over when that is
# noticed.
check_others() {
    timeout 60 "$weir" perf "$url" --mode message --seconds 30 --connections 10 --json >"$work/long.json" 2>&1 &
    local first=$!
    pids+=("$first")
    sleep 1
    for _ in 1 2 3; do
        is_served && fail "two tests at once"
        grep -q 'another test is running' "$work/next.err" || fail "no word of another test"
    done
    kill -KILL "$(pgrep -P "$first")"
    wait "$first" 2>/dev/null || true
    for _ in $(seq 40); do
        is_served && return
        sleep 1
    done
    fail "a client that was killed keeps the others out"
}

check_perf() {
    start server perf -l "$1://127.0.0.1:0" --workers 4 --json
    local before
    check_modes
    check_lines
    # Signals of one kind that come faster than they are taken are one.
    "$weir" ctl -s "$work/server.sock" resize 4 >"$work/resize" || fail "no way back to four workers"
    sleep 0.2 # a thread that has ended is there for another moment
    before=$(threads)
    kill -USR1 "$server"
    until_true is_thread_count $((before + 1))
    for left in 0 -1 -2 -3; do
        kill -USR2 "$server"
        until_true is_thread_count $((before + left))
    done
    check_others
    client message --seconds 1
    same "$work/message.json" messages_sent messages_received
    timeout 60 "$weir" perf "$url" --mode bulk --seconds 20 >"$work/cut.out" 2>&1 &
    pids+=($!)
    sleep 1
    stop INT 0
    for how in 1 auto; do
        start once perf -l "$1://127.0.0.1:0" --workers $how --once --json
        client bulk --seconds 1 --connections 4
        wait "$server" || fail "--once ended with $?"
        [ "$(field "$work/once.out" messages)" = "$(field "$work/bulk.json" messages_sent)" ] ||
            fail "--once: $(cat "$work/once.out")"
    done
    echo "  perf $1: message $(field "$work/message.json" messages_per_second) /s"
}

check_tcp() {
    local here=tun:weir0,10.7.0.2/24 there=tun:weir1,10.8.0.2/24
    ip link set lo up
    sysctl -q -w net.ipv4.ip_forward=1
    start server perf -l tcp://10.7.0.2:5201 --driver "$here" --workers 4 --json
    check_modes --driver "$there"
    check_lines
    stop TERM 0
    start recv recv tcp://10.7.0.2:4433 --driver "$here" --workers 3 -o "$work/in"
    head -c 5000000 /dev/urandom >"$work/a"
    keep_resizing
    timeout 60 "$weir" send "$work/a" "$url" --driver "$there" 2>"$work/send.err" || fail "send failed"
    rest
    cmp "$work/a" "$work/in/a" || fail "another file arrived"
    stop TERM 0
    # The device is gone: it says so and ends.
    start gone perf -l tcp://10.7.0.2:5201 --driver "$here" --workers 2
    ip link del weir0
    local code=0
    for _ in $(seq 200); do
        kill -0 "$server" 2>/dev/null || break
        sleep 0.05
    done
    kill "$server" 2>/dev/null && fail "it goes on without its device"
    wait "$server" || code=$?
    [ "$code" -eq 1 ] || fail "without its device it ended with $code"
    grep -q 'the driver failed' "$work/gone.err" || fail "no word of a device that is gone"
    echo "  tcp over tun: message $(field "$work/message.json" messages_per_second) /s"
}

# --- recv -----------------------------------------------------------------------------------------

# send NAME ARGUMENT...: in the background; its pid is sent.
send() {
    local name=$1
    shift
    timeout 60 "$weir" send "$work/out/$name" "$url" --quiet "$@" 2>"$work/send-$name.err" &
    sent=$!
    pids+=("$sent")
}

check_sends() {
    local all=() pid i
    keep_resizing
    for i in 1 2 3 4 5 6 7 8; do
        send "$i"
        all+=("$sent")
    done
    for pid in "${all[@]}"; do
        wait "$pid" || fail "a send failed"
    done
    rest
    for i in 1 2 3 4 5 6 7 8; do
        cmp "$work/out/$i" "$work/in/$i" || fail "another file arrived"
    done
    [ "$(grep -cE '^received 1 file from 127.0.0.1:[0-9]+: .* in .*$' "$work/recv.err")" -eq 8 ] ||
        fail "not a line for each: $(cat "$work/recv.err")"
}

is_begun() {
    [ -s "$work/in/$1.part" ]
}

# Senders so slow that sixteen of them are there at once: the next is refused. One that is killed and
# started again is not kept out by its own ghost, on whatever shard that is.
check_limit() {
    local slow=() i pid
    for i in $(seq 16); do
        cp "$work/out/8" "$work/out/slow$i"
        send "slow$i" --driver udp,loss=25%
        slow+=("$sent")
    done
    for i in $(seq 16); do
        until_true is_begun "slow$i"
    done
    send 1
    wait "$sent" && fail "a seventeenth transfer"
    grep -q 'busy' "$work/send-1.err" || fail "no word of it"
    for pid in "${slow[@]:0:2}"; do
        kill -KILL "$(pgrep -P "$pid")"
        wait "$pid" 2>/dev/null || true
    done
    for pid in "${slow[@]:2}"; do
        kill "$pid"
        wait "$pid" || true
    done
    until_true grep -q 'broke off\|gave up\|interrupted' "$work/recv.err"
    for i in 1 2; do
        sleep 1
        send "slow$i"
        wait "$sent" || fail "it is kept out by its own ghost"
        cmp "$work/out/slow$i" "$work/in/slow$i" || fail "another file arrived"
    done
}

# A signal ends transfers on every shard, with a word to each sender.
check_stop() {
    local all=() pid i
    for i in 1 2 3 4; do
        send "slow$i" --driver udp,loss=25%
        all+=("$sent")
        until_true is_begun "slow$i"
    done
    stop TERM 0
    for i in 1 2 3 4; do
        pid=0
        wait "${all[i - 1]}" || pid=$?
        [ "$pid" -eq 1 ] || fail "a send to a receiver that was stopped ended with $pid"
    done
    [ "$(cat "$work"/send-slow[1-4].err | grep -c 'stopped by its user')" -ge 1 ] ||
        fail "no sender was told"
}

check_recv() {
    local i
    mkdir "$work/out" "$work/in"
    for i in 1 2 3 4 5 6 7 8; do
        head -c $((i * 1000000)) /dev/urandom >"$work/out/$i"
    done
    for scheme in rudp kcp; do
        start recv recv $scheme://127.0.0.1:0 --workers 3 -o "$work/in"
        check_sends
        if [ $scheme = rudp ]; then
            check_limit
            rm "$work/in/slow"[12]
            check_stop
        else
            stop TERM 0
        fi
        rm -rf "$work/in"
        start once recv $scheme://127.0.0.1:0 --workers 3 -o "$work/in" --once
        send 2
        wait "$sent" || fail "send to --once failed"
        wait "$server" || fail "--once ended with $?"
        cmp "$work/out/2" "$work/in/2" || fail "another file arrived"
        rm -rf "$work/in"
        start once recv $scheme://127.0.0.1:0 --workers 3 -o "$work/in" --once
        send 8 --driver udp,loss=25%
        until_true is_begun 8
        kill "$sent"
        wait "$sent" || true
        i=0
        wait "$server" || i=$?
        [ "$i" -eq 1 ] || fail "--once of a transfer that broke off ended with $i"
        rm -rf "$work/in"
    done
    echo "  recv: several at once, sixteen at most"
}

# --- futex ----------------------------------------------------------------------------------------

check_futex() {
    command -v strace >/dev/null || skip 'needs strace'
    strace -o "$work/trace" -e trace=none true 2>/dev/null || skip 'may not trace'
    : >"$work/server.err"
    strace -f -qq -e trace=futex,write -s 40 -o "$work/trace" \
        "$weir" perf -l rudp://127.0.0.1:0 --workers 4 --control none >"$work/server.out" 2>"$work/server.err" &
    local tracer=$!
    pids+=("$tracer")
    until_true grep -q '^listening' "$work/server.err"
    url=$(sed -nE 's/^listening on ([^,]*).*/\1/p' "$work/server.err")
    server=$(pgrep -P "$tracer")
    (
        for signal in USR1 USR2 USR2; do
            sleep 0.5
            kill "-$signal" "$server"
        done
    ) &
    client message --seconds 2 --connections 40
    wait $!
    same "$work/message.json" messages_sent messages_received
    kill "$server"
    wait "$tracer" || fail "the server ended with $?"
    grep -q 'write(2, "listening' "$work/trace" || fail "nothing was traced"
    sed '0,/write(2, "listening/d' "$work/trace" >"$work/after"
    grep -q 'write(1, "message' "$work/after" || fail "the end was not traced"
    if grep futex "$work/after" >"$work/calls"; then
        fail "futex calls after the start: $(cat "$work/calls")"
    fi
    echo "  no futex call in $(wc -l <"$work/after") lines of strace, with three resizes"
}

case $part in
usage) check_usage ;;
rudp | kcp) check_perf "$part" ;;
recv) check_recv ;;
futex) check_futex ;;
tcp) check_tcp ;;
*) fail "no such part: $part" ;;
esac
echo "test_workers: $part passed"
