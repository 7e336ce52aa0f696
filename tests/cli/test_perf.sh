#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_perf.sh WEIR - "weir perf": every mode once over loopback, and what it says to wrong use.
set -eu
weir=$1
dir=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill "$server" 2>/dev/null; fi; rm -rf "$dir"' EXIT
failed=0

fail() {
    echo "FAILED: $*" >&2
    failed=1
}

key() {
    sed -n "s/.*\"$2\":\\([-0-9.]*\\).*/\\1/p" "$1"
}

# positive FILE COMMAND NAME...
positive() {
    file=$1
    command=$2
    shift 2
    for name in "$@"; do
        awk -v x="$(key "$file" "$name")" 'BEGIN { exit !(x > 0) }' ||
            fail "$command: $name is '$(key "$file" "$name")'"
    done
}

# run FILE ARGUMENTS: exit 0 and one JSON object expected.
run() {
    file=$1
    shift
    "$weir" perf "$@" --json >"$file" 2>"$dir/err" || fail "weir perf $*: exit $?, $(cat "$dir/err")"
    [ "$(wc -l <"$file")" = 1 ] || fail "weir perf $*: not one line"
    if command -v jq >"$dir/jq"; then
        jq -e 'type == "object"' "$file" >"$dir/jq" || fail "weir perf $*: no JSON: $(cat "$file")"
    fi
}

refuse() {
    code=$1
    shift
    got=0
    "$weir" perf "$@" >"$dir/out" 2>"$dir/err" || got=$?
    [ "$got" = "$code" ] || fail "weir perf $*: exit $got, not $code"
    [ "$(wc -l <"$dir/err")" = 1 ] || fail "weir perf $*: not one line: $(cat "$dir/err")"
}

cost="cpu_seconds_client cpu_seconds_server cpu_seconds_per_gb cpu_seconds_per_million_messages"

# A server of its own.
run "$dir/json" --seconds 1
positive "$dir/json" bulk goodput_mbit messages_received packets_sent rtt_us $cost
for guarantee in none order delivery; do
    run "$dir/json" rudp://self --mode message --size 100 --seconds 1 --guarantee $guarantee
    positive "$dir/json" "message $guarantee" messages_per_second messages_received $cost
    [ $guarantee != delivery ] ||
        [ "$(key "$dir/json" messages_sent)" = "$(key "$dir/json" messages_received)" ] ||
        fail "message: $(cat "$dir/json")"
done
run "$dir/json" --mode latency --seconds 1
positive "$dir/json" latency round_trips p50 p99 max
run "$dir/json" --mode bulk --connections 4 --seconds 1 --cc bbr --mtu 9000
positive "$dir/json" "four connections" goodput_mbit
run "$dir/json" --mode idle --connections 1000 --seconds 1
for pair in opened=1000 failed=0 open_client=1000 open_server=1000 broken=0 echoes=1000 lost=0; do
    [ "$(key "$dir/json" "${pair%%=*}")" = "${pair#*=}" ] || fail "idle: $pair: $(cat "$dir/json")"
done
positive "$dir/json" idle bytes_per_connection bytes_per_connection_client \
    bytes_per_connection_server handshakes_per_second

# Over KCP; with error correction too, which gives the control connection a socket of its own.
for mode in bulk message; do
    run "$dir/json" kcp://self --mode $mode --seconds 1 --preset turbo
    positive "$dir/json" "kcp $mode" goodput_mbit messages_received packets_sent rtt_us $cost
    [ "$(key "$dir/json" messages_sent)" = "$(key "$dir/json" messages_received)" ] ||
        fail "kcp $mode: $(cat "$dir/json")"
done
run "$dir/json" kcp://self --mode latency --seconds 1 --fec 10,3 --crypt aes --key example
positive "$dir/json" 'kcp latency' round_trips p50 p99 max
run "$dir/json" kcp://self --mode idle --connections 1000 --seconds 1
for pair in opened=1000 failed=0 open_client=1000 open_server=1000 broken=0 echoes=1000 lost=0; do
    [ "$(key "$dir/json" "${pair%%=*}")" = "${pair#*=}" ] || fail "kcp idle: $pair: $(cat "$dir/json")"
done
grep -q '"transport":"kcp"' "$dir/json" || fail "kcp: another transport: $(cat "$dir/json")"

# A server that was started, for one client after the other, and in words.
port=$((20000 + $$ % 20000))
"$weir" perf -l "rudp://127.0.0.1:$port" >"$dir/server" 2>"$dir/server.err" &
server=$!
tries=0
until grep -q listening "$dir/server.err" || [ $tries = 50 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
"$weir" perf "rudp://127.0.0.1:$port" --mode message --seconds 1 >"$dir/text" 2>"$dir/err" ||
    fail "against a server: $(cat "$dir/err")"
grep -q 'messages/s' "$dir/text" || fail "no table: $(cat "$dir/text")"
run "$dir/json" "rudp://127.0.0.1:$port" --mode latency --seconds 1
refuse 1 -l "rudp://127.0.0.1:$port"
kill "$server"
code=0
wait "$server" || code=$?
server=
[ $code = 0 ] || fail "the server ended with $code: $(cat "$dir/server.err")"
[ "$(wc -l <"$dir/server")" = 2 ] || fail "the server's lines: $(cat "$dir/server")"

# Wrong use.
refuse 2 --mode fast
refuse 2 -l
refuse 2 -l rudp://*:0 --mode idle
refuse 2 --once
refuse 2 --seconds 0
refuse 2 --connections 0
refuse 2 --size 17MiB
refuse 2 quic://127.0.0.1:1
refuse 2 kcp://self --guarantee none
refuse 2 kcp://self --crypt tea
refuse 2 kcp://self --fec 10,3 --connections 2
refuse 2 -l kcp://self
refuse 2 rudp://127.0.0.1
refuse 2 rudp://127.0.0.1:1 rudp://127.0.0.1:2

exit $failed
