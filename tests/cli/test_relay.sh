#!/bin/sh
# SPDX-License-Identifier: MIT
# test_relay.sh - weir relay between a UDP client and an echo server on loopback: what arrives is
# near the settings, the table adds up, wrong use is refused. Lower bounds on time only.
#
#     tests/cli/test_relay.sh WEIR UDP_PROBE
set -u
export LC_ALL=C

weir=${1:?the program}
probe=${2:?the udp_probe program}
dir=$(mktemp -d)
failures=0
relay_pid=
server_pid=

stop_all() {
    [ -z "$relay_pid" ] || kill "$relay_pid" 2>/dev/null
    [ -z "$server_pid" ] || kill "$server_pid" 2>/dev/null
    rm -rf "$dir"
}
trap stop_all EXIT

complain() {
    echo "test_relay: $*" >&2
    failures=$((failures + 1))
}

# wait_for FILE: until it has a first line, at most 10 s.
wait_for() {
    tries=0
    until [ -s "$1" ]; do
        tries=$((tries + 1))
        if [ "$tries" -gt 200 ]; then
            complain "nothing in $1 after 10 s"
            exit 1
        fi
        sleep 0.05
    done
}

start_relay() {
    : >"$dir/table"
    "$weir" relay -l 127.0.0.1:0 -r "127.0.0.1:$server_port" "$@" >"$dir/table" 2>"$dir/errors" &
    relay_pid=$!
    wait_for "$dir/table"
    relay_port=$(sed -n 's/^listening on .*:\([0-9]*\), .*/\1/p' "$dir/table")
}

# Ends it with a signal; its exit code must be 0.
stop_relay() {
    kill -s "${1:-TERM}" "$relay_pid"
    wait "$relay_pid" || complain "the relay ended with $? after a signal"
    relay_pid=
}

# exchange COUNT BYTES PER_MS CLIENTS
exchange() {
    "$probe" client "$relay_port" "$@" >"$dir/client" || complain "the client failed"
}

# seen NAME: a figure of the client. cell NAME up|down: one of the relay's table.
seen() {
    sed -n "s/.*\b$1 \([0-9]*\).*/\1/p" "$dir/client"
}

cell() {
    awk -v name="$1" -v column="$([ "$2" = up ] && echo 2 || echo 3)" \
        '$1 == name { print $column }' "$dir/table"
}

# within WHAT VALUE LOW HIGH
within() {
    if [ -z "$2" ] || [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
        complain "$1 is '$2', not in $3 to $4"
        cat "$dir/client" "$dir/table" >&2
    fi
}

# fails_with CODE TEXT ARGUMENT...: exit code, and one line on stderr with TEXT in it.
fails_with() {
    code=$1
    text=$2
    shift 2
    "$weir" relay "$@" >"$dir/out" 2>"$dir/errors"
    got=$?
    [ "$got" -eq "$code" ] || complain "weir relay $*: exit $got, not $code"
    [ "$(wc -l <"$dir/errors")" -eq 1 ] || complain "weir relay $*: not one line on stderr"
    grep -qF -- "$text" "$dir/errors" || complain "weir relay $*: no '$text' in $(cat "$dir/errors")"
}

mkfifo "$dir/stop"
"$probe" server <"$dir/stop" >"$dir/server" &
server_pid=$!
exec 9>"$dir/stop"
wait_for "$dir/server"
server_port=$(cat "$dir/server")

# A perfect link changes nothing, for several clients at once.
start_relay
exchange 2000 300 4 5
stop_relay
within "received without loss" "$(seen received)" 2000 2000
within "mixed up" "$(seen mixed)" 0 0
within "damaged" "$(seen damaged)" 0 0
within "overtaken" "$(seen overtaken)" 0 0
within "forwarded up" "$(cell forwarded up)" 2000 2000
within "forwarded down" "$(cell forwarded down)" 2000 2000
grep -q '^clients 5, replaced 0' "$dir/table" || complain "five clients are not counted as five"

# 5 % each way and 20 ms: 3,610 of 4,000 come back, standard deviation 19.
start_relay --loss 5% --delay 20ms --seed 3
exchange 4000 200 4 2
stop_relay INT
within "received with loss" "$(seen received)" 3500 3720
within "round trip in us" "$(seen rtt_min_us)" 40000 100000000
within "received up" "$(cell received up)" 4000 4000
within "lost up" "$(cell lost up)" 120 280
within "up, lost and forwarded" "$(($(cell lost up) + $(cell forwarded up)))" 4000 4000
within "received down" "$(cell received down)" "$(cell forwarded up)" "$(cell forwarded up)"
within "forwarded down" "$(cell forwarded down)" "$(seen received)" "$(seen received)"
lost_before=$(cell lost up)

# The same seed loses the same; the direction set apart wins, wherever it stands.
start_relay --down-loss 0 --seed 3 --loss 5% --up-delay 30ms
exchange 4000 200 4 1
stop_relay
within "lost up with the same seed" "$(cell lost up)" "$lost_before" "$lost_before"
within "lost down with --down-loss 0" "$(cell lost down)" 0 0
within "round trip in us" "$(seen rtt_min_us)" 30000 100000000

# The rest of the rules, each at work in its own column.
start_relay --duplicate 20% --reorder 20% --corrupt 20% --jitter 5ms --stats-every 100ms
exchange 2000 200 4 1
stop_relay
within "duplicated up" "$(cell duplicated up)" 300 500
within "reordered up" "$(cell reordered up)" 300 500
within "corrupted up" "$(cell corrupted up)" 380 580
within "repeated" "$(seen repeated)" 200 1000
within "damaged" "$(seen damaged)" 200 1200
within "overtaken" "$(seen overtaken)" 50 1500
[ "$(grep -c 'up .* in, .* out' "$dir/table")" -ge 2 ] || complain "--stats-every prints no lines"

start_relay --rate 1mbit --queue 5000 --down-mtu 100
exchange 1000 200 4 1
stop_relay
within "dropped by the queue" "$(cell queue-full up)" 500 999
within "too large down" "$(cell too-large down)" "$(cell forwarded up)" "$(cell forwarded up)"
within "received through a small MTU" "$(seen received)" 0 0

start_relay --burst 2%
exchange 4000 50 8 1
stop_relay
within "lost in bursts" "$(cell lost up)" 120 520

# One client at a time: a second one is refused, until the first has been silent for --idle.
start_relay --clients 1
exchange 200 50 4 2
stop_relay
within "received by one of two clients" "$(seen received)" 100 100
grep -q 'refused 100,' "$dir/table" || complain "the second client's datagrams are not refused"
start_relay --clients 1 --idle 1ms
exchange 100 50 4 1
exchange 100 50 4 1
stop_relay
within "received by the second client" "$(seen received)" 100 100
grep -q '^clients 1, replaced 1' "$dir/table" || complain "the idle client is not replaced"

# It ends by itself, and takes URLs.
start_relay --seconds 0.2
wait "$relay_pid" || complain "--seconds ends with $?"
relay_pid=
within "received by nobody" "$(cell received up)" 0 0
"$weir" relay -l udp://127.0.0.1:0 -r "rudp://127.0.0.1:$server_port" --seconds 0.1 >"$dir/out" ||
    complain "URLs are refused"
"$weir" relay -l "[::1]:0" -r ":$server_port" --seconds 0.1 >"$dir/out" ||
    complain "addresses without a host are refused"

fails_with 1 "127.0.0.1:$server_port" -l "127.0.0.1:$server_port" -r 127.0.0.1:9
fails_with 2 "--bogus" --bogus
fails_with 2 "--loss" -l :0 -r 127.0.0.1:9 --loss much
fails_with 2 "--loss" -l :0 -r 127.0.0.1:9 --loss 101%
fails_with 2 "--up-delay" -l :0 -r 127.0.0.1:9 --up-delay 5apples
fails_with 2 "--clients" -l :0 -r 127.0.0.1:9 --clients 0
fails_with 2 "-l" -r 127.0.0.1:9
fails_with 2 "-r" -l :0
fails_with 2 "-r" -l :0 -r 0.0.0.0:9
fails_with 2 "tcp://" -l :0 -r tcp://127.0.0.1:9
fails_with 2 "nonsense" -l nonsense -r 127.0.0.1:9
fails_with 2 "extra" -l :0 -r 127.0.0.1:9 extra
"$weir" relay --help >"$dir/out" 2>&1 || complain "--help ends with $?"
grep -q 'Examples:' "$dir/out" || complain "--help has no examples"

exec 9>&-
wait "$server_pid"
server_pid=
[ "$failures" -eq 0 ] || exit 1
echo "test_relay: all as set"
