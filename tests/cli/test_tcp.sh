#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# test_tcp.sh - tcp:// in send, recv, pipe, perf and tunnel, and --driver in all of them.
#
#     tests/cli/test_tcp.sh WEIR TUNNEL_PROBE [CONNECTIONS]
#
# Wrong use and tcp://sim everywhere; the rest over tun devices in a network namespace of its own,
# where the kernel routes between two of them. That needs root; ends with 77 where it cannot run.
# CONNECTIONS: of tcp://sim, 1,000,000 unless given.
set -euo pipefail
export LC_ALL=C
weir=${1:?the program}
probe=${2:?tunnel_probe}
connections=${3:-1000000}
here=tun:weir0,10.7.0.2/24,fd07::2/64
there=tun:weir1,10.8.0.2/24,fd08::2/64

skip() {
    echo "test_tcp: skipped, $*"
    exit 77
}

fail() {
    echo "test_tcp: $*" >&2
    cat "$work"/*.err >&2 2>/dev/null || true
    exit 1
}

# refuse TEXT ARGUMENT...: wrong use, exit 2, one line that says TEXT.
refuse() {
    local text=$1 code=0
    shift
    timeout 10 "$weir" "$@" </dev/null >"$work/out" 2>"$work/refuse.err" || code=$?
    [ "$code" -eq 2 ] || fail "weir $* ended with $code, not 2"
    grep -qF -- "$text" "$work/refuse.err" || fail "weir $*: no word of '$text'"
    [ "$(wc -l <"$work/refuse.err")" -eq 1 ] || fail "weir $*: not one line"
}

# field FILE NAME: a number out of one JSON object.
field() {
    sed -nE "s/.*\"$2\":[[:space:]]*([0-9.]+).*/\1/p" "$1" | head -n 1
}

check_usage() {
    local driver=--driver
    refuse 'needs a driver' send "$weir" tcp://10.7.0.1:1
    refuse 'needs a driver' recv 'tcp://*:1'
    refuse 'needs a driver' pipe tcp://10.7.0.1:1 $driver udp
    refuse 'needs a driver' perf -l 'tcp://*:1'
    refuse 'udp, tun, tap, packet and raw' pipe tcp://10.7.0.1:1 $driver carrier-pigeon
    refuse 'takes no name' pipe tcp://10.7.0.1:1 $driver udp:x
    refuse "lacks a name" pipe tcp://10.7.0.1:1 $driver tun
    refuse "interface's name" pipe tcp://10.7.0.1:1 $driver tun:,10.7.0.2/24
    refuse "interface's name" pipe tcp://10.7.0.1:1 $driver tap:a-name-much-too-long,10.7.0.2/24
    refuse 'lacks an address' pipe tcp://10.7.0.1:1 $driver tun:weir0
    refuse 'with its bits' pipe tcp://10.7.0.1:1 $driver tun:weir0,10.7.0.2
    refuse 'with its bits' pipe tcp://10.7.0.1:1 $driver tun:weir0,10.7.0.2/33
    refuse 'with its bits' pipe tcp://10.7.0.1:1 $driver tun:weir0,224.0.0.1/4
    refuse 'MTU from 576' pipe tcp://10.7.0.1:1 $driver tun:weir0,10.7.0.2/24,mtu=100
    refuse 'IPv6 needs' pipe tcp://10.7.0.1:1 $driver tun:weir0,fd00::2/64,mtu=1000
    refuse 'is not known' pipe tcp://10.7.0.1:1 $driver tun:weir0,10.7.0.2/24,speed=3
    refuse 'share like' pipe tcp://10.7.0.1:1 $driver udp,loss=200%
    refuse 'IPv4 address' pipe tcp://10.7.0.1:1 $driver raw:fe80::1
    refuse 'tun and tap' pipe tcp://10.7.0.1:1 $driver packet:eth0,10.7.0.2/24,host=10.7.0.1/24
    refuse 'write mtu=1400' pipe tcp://10.7.0.1:1 $driver tun:weir0,10.7.0.2/24 --mtu 1400
    refuse 'kcp:// alone' pipe tcp://10.7.0.1:1 $driver tun:weir0,10.7.0.2/24 --fec 10,3
    refuse 'kcp:// and tcp:// alone' pipe --raw rudp://10.7.0.1:1
    refuse 'tcp://sim' perf tcp://self
    refuse 'mode idle' perf tcp://sim
    refuse 'simulated link' perf tcp://sim --mode idle $driver tun:weir0,10.7.0.2/24
    refuse 'delivery only' perf tcp://10.7.0.1:1 --guarantee none $driver tun:weir0,10.7.0.2/24
    refuse 'one of -l and -r' tunnel -l tcp://127.0.0.1:1 -r tcp://127.0.0.1:2
    refuse 'one session' tunnel -l tcp://127.0.0.1:1 -r tcp://10.7.0.1:2 --conn 2 \
        $driver tun:weir0,10.7.0.2/24
    echo "  wrong use is refused"
}

# A connection that does nothing costs the server 20 bytes, and none is lost.
check_sim() {
    "$weir" perf tcp://sim --mode idle --connections "$connections" --json >"$work/sim" 2>"$work/sim.err" ||
        fail "perf tcp://sim failed"
    [ "$(field "$work/sim" acknowledged)" = "$connections" ] || fail "not all acknowledged: $(cat "$work/sim")"
    [ "$(field "$work/sim" echoed)" = "$connections" ] || fail "not all echoed: $(cat "$work/sim")"
    [ "$(field "$work/sim" lost)" = 0 ] || fail "some lost: $(cat "$work/sim")"
    awk -v idle="$(field "$work/sim" bytes_per_connection)" -v after="$(field "$work/sim" bytes_per_connection_after_echo)" \
        -v count="$connections" 'BEGIN {
            limit = count >= 1000000 ? 20 : 20 + 400000 / count
            exit !(idle > 16 && idle <= limit && after <= limit) }' ||
        fail "too much memory, or too little to be true: $(cat "$work/sim")"
    echo "  tcp://sim: $connections connections, $(field "$work/sim" bytes_per_connection) bytes each"
}

work=$(mktemp -d)
pids=()
declare -A pid_of
finish() {
    local pid
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

if [ "${4-}" != inside ]; then
    check_usage
    check_sim
    [ "$(id -u)" = 0 ] || skip 'the rest needs root'
    [ -e /dev/net/tun ] || skip 'there is no /dev/net/tun'
    command -v ip >/dev/null || skip 'needs iproute2'
    unshare -n true 2>/dev/null || skip 'may not make a network namespace'
    rm -rf "$work"
    exec unshare -n "$0" "$weir" "$probe" "$connections" inside
fi

ip link set lo up
sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 2>/dev/null || true

# start NAME ARGUMENT...: weir in the background until it listens; its standard input is NAME.in.
start() {
    local name=$1
    shift
    [ -e "$work/$name.in" ] || : >"$work/$name.in"
    : >"$work/$name.err"
    "$weir" "$@" <"$work/$name.in" >"$work/$name.out" 2>"$work/$name.err" &
    pids+=($!)
    pid_of[$name]=$!
    for _ in $(seq 400); do
        grep -q '^listening' "$work/$name.err" && return
        sleep 0.05
    done
    fail "$name does not listen"
}

# ended NAME CODE
ended() {
    local code=0
    wait "${pid_of[$1]}" || code=$?
    [ "$code" -eq "$2" ] || fail "$1 ended with $code, not $2"
}

run() {
    timeout 60 "$weir" "$@" 2>"$work/run.err"
}

same() {
    cmp -s "$1" "$2" || fail "$3: not the same bytes"
}

head -c 5000001 /dev/urandom >"$work/five"
head -c 1000001 /dev/urandom >"$work/one"
mkdir -p "$work/tree/sub"
cp "$work/one" "$work/tree/sub/one"
: >"$work/tree/empty"

# Between two hosts of weir, over every transport; IPv4 and IPv6.
for url in tcp://10.7.0.2 "tcp://[fd07::2]" rudp://10.7.0.2 "kcp://[fd07::2]"; do
    start recv recv "${url%%:*}://*:4433" -o "$work/in" --once --driver "$here"
    run send "$work/five" "$work/tree" "$url:4433" --driver "$there" -q ||
        fail "send to $url failed"
    ended recv 0
    same "$work/five" "$work/in/five" "send to $url"
    diff -r "$work/tree" "$work/in/tree" || fail "send to $url: another tree"
    rm -rf "$work/in"

    cp "$work/five" "$work/listen.in"
    start listen pipe -l "${url%%:*}://*:4434" --driver "$here"
    run pipe "$url:4434" --driver "$there" <"$work/one" >"$work/got" || fail "pipe to $url failed"
    ended listen 0
    same "$work/got" "$work/five" "pipe from $url"
    same "$work/listen.out" "$work/one" "pipe to $url"
    echo "  $url: send, recv, pipe"
done

# Packets lost below IP, and a trace.
start recv recv 'tcp://*:4433' -o "$work/in" --once -t 60s --driver "$here,loss=5%"
run send "$work/one" tcp://10.7.0.2:4433 -t 60s --driver "$there" --trace "$work/trace" -q ||
    fail "send over a bad path failed"
ended recv 0
same "$work/one" "$work/in/one" "send over a bad path"
[ "$(stat -c %s "$work/trace")" -gt 1000000 ] || fail "the trace is too short"
rm -rf "$work/in"
echo "  5 % loss"

# A receiver that dies half-way is noticed, and the next one goes on where it was.
head -c 200000000 /dev/urandom >"$work/large"
mkdir -p "$work/in"
start recv recv 'tcp://*:4433' -o "$work/in" --once --driver "$here,plain"
"$weir" send "$work/large" tcp://10.7.0.2:4433 -t 2s --driver "$there,plain" -q 2>"$work/send.err" &
sender=$!
pids+=("$sender")
for _ in $(seq 1000); do
    [ "$(stat -c %s "$work/in/large.part" 2>/dev/null || echo 0)" -gt 20000000 ] && break
    sleep 0.005
done
kill -KILL "${pid_of[recv]}"
ended recv 137
code=0
wait "$sender" || code=$?
[ "$code" -eq 1 ] || fail "send to a dead receiver ended with $code, not 1"
start recv recv 'tcp://*:4433' -o "$work/in" --once --driver "$here"
run send "$work/large" tcp://10.7.0.2:4433 --driver "$there" -q --json "$work/json" ||
    fail "the second send failed"
ended recv 0
same "$work/large" "$work/in/large" "resumed"
resumed=$(field "$work/json" resumed_bytes)
[ "${resumed%.*}" -gt 10000000 ] || fail "only $resumed bytes were resumed"
rm -rf "$work/in" "$work/large"
echo "  resumed after a kill, $resumed bytes not sent again"

# A sender that dies is noticed too.
rm "$work/listen.in"
mkfifo "$work/listen.in"
exec 9<>"$work/listen.in"
start listen pipe -l tcp://10.7.0.2:4434 -t 1s --driver "$here"
echo 'a word' >&9
mkfifo "$work/fifo"
"$weir" pipe tcp://10.7.0.2:4434 --driver "$there" <"$work/fifo" >"$work/got" 2>&1 &
sender=$!
exec 8>"$work/fifo"
for _ in $(seq 200); do
    [ -s "$work/got" ] && break
    sleep 0.05
done
kill -KILL "$sender"
wait "$sender" 2>/dev/null || true
exec 8>&-
ended listen 1
grep -q 'does not answer' "$work/listen.err" || fail "a peer that died: $(cat "$work/listen.err")"

exec 9>&-
rm "$work/listen.in"

# Nobody listens; nobody is there; no such family; the address of somebody else.
start held pipe --raw -l 'tcp://*:1' --driver "$here"
complain() {
    local text=$1 code=0
    shift
    timeout 20 "$weir" "$@" </dev/null >/dev/null 2>"$work/run.err" || code=$?
    [ "$code" -eq 1 ] || fail "weir $* ended with $code, not 1"
    grep -qF -- "$text" "$work/run.err" || fail "weir $*: no word of '$text'"
    [ "$(wc -l <"$work/run.err")" -eq 1 ] || fail "weir $*: not one line"
}
complain 'nobody listens' pipe --raw tcp://10.7.0.2:9 --driver "$there"
complain 'does not answer' pipe --raw tcp://10.8.0.9:9 -t 500ms --driver "$there"
complain 'no IPv6 address' pipe "tcp://[fd07::2]":9 --driver tun:weir1,10.8.0.2/24
complain 'not an address of --driver' recv tcp://10.9.0.2:9 --driver "$there"
complain 'such an interface' pipe tcp://10.7.0.2:9 --driver packet:nosuch0,10.9.0.2/24
complain 'address of this machine' pipe tcp://10.7.0.2:9 --driver raw:10.99.0.1
complain 'another program has it open' pipe tcp://10.7.0.2:9 --driver tun:weir0,10.9.0.2/24
echo "  failures are one line"

# A program of the kernel's TCP at the other end: bare bytes, each direction ends by itself.
kill -INT "${pid_of[held]}"
ended held 1
cp "$work/five" "$work/listen.in"
start listen pipe --raw -l 'tcp://*:7' --driver "$here"
exec 7<>/dev/tcp/10.7.0.2/7
cat <&7 >"$work/got"
cat "$work/one" >&7
exec 7>&-
ended listen 0
same "$work/got" "$work/five" "raw to the kernel"
same "$work/listen.out" "$work/one" "raw from the kernel"
: >"$work/listen.in"
echo "  raw, with the kernel's TCP"

# Whoever speaks no weir is told off, and does not get through.
start listen pipe -l 'tcp://*:7' -t 2s --driver "$here"
exec 7<>/dev/tcp/10.7.0.2/7
printf 'GET / HTTP/1.0\r\n\r\n' >&7
ended listen 1
grep -q 'no weir at the other end' "$work/listen.err" || fail "a stranger: $(cat "$work/listen.err")"
exec 7>&-

# perf, all modes; more connections than control blocks.
start perf perf -l 'tcp://*:5201' --driver "$here"
for mode in 'bulk --seconds 1' 'message --seconds 1' 'latency --seconds 1' \
    'idle --connections 5000 --seconds 1' 'bulk --connections 600 --seconds 1'; do
    # shellcheck disable=SC2086 # words
    run perf tcp://10.7.0.2:5201 --mode $mode --driver "$there" --json >"$work/json" ||
        fail "perf $mode failed"
    grep -q '"transport":"tcp"' "$work/json" || fail "perf $mode: $(cat "$work/json")"
done
kill "${pid_of[perf]}"
ended perf 0
echo "  perf"

# The tunnel: the kernel's TCP at both sides, weir's in between; the server is told by its address.
"$probe" serve echo >"$work/port" 2>"$work/echo.err" &
pids+=($!)
for _ in $(seq 200); do
    [ -s "$work/port" ] && break
    sleep 0.05
done
for scheme in tcp rudp kcp; do
    start server tunnel -l "$scheme://10.7.0.2:4000" -r "tcp://127.0.0.1:$(cat "$work/port")" --driver "$here"
    start client tunnel -l 'tcp://*:8389' -r "$scheme://10.7.0.2:4000" --driver "$there"
    timeout 60 "$probe" talk 8389 20 300000 2>"$work/probe.err" || fail "tunnel over $scheme"
    if [ "$scheme" = tcp ]; then
        # The client's listener is a program of the kernel's TCP, for a connection of weir's.
        run pipe --raw tcp://10.9.0.1:8389 --driver tun:weir2,10.9.0.2/24 <"$work/five" >"$work/got" ||
            fail "raw to the kernel's listener"
        same "$work/got" "$work/five" "raw to the kernel's listener and back"
    fi
    kill "${pid_of[client]}" "${pid_of[server]}"
    ended client 0
    ended server 0
    echo "  tunnel over $scheme://"
done
echo "test_tcp: all right"
