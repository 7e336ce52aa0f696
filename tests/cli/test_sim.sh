#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_sim.sh WEIR - "weir sim": its keys, its guarantees for several seeds, that it repeats, its
# plot, and what it says to wrong use.
set -eu
weir=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0

fail() {
    echo "FAILED: $*" >&2
    failed=1
}

# key FILE NAME: the number under NAME.
key() {
    sed -n "s/.*\"$2\":\\([-0-9.]*\\).*/\\1/p" "$1"
}

# expect FILE COMMAND NAME=VALUE...
expect() {
    file=$1
    command=$2
    shift 2
    for pair in "$@"; do
        [ "$(key "$file" "${pair%%=*}")" = "${pair#*=}" ] ||
            fail "$command: ${pair%%=*} is '$(key "$file" "${pair%%=*}")', not ${pair#*=}"
    done
}

# run FILE ARGUMENTS: output to FILE, exit 0 expected.
run() {
    file=$1
    shift
    "$weir" sim "$@" >"$file" 2>"$dir/err" || fail "weir sim $*: exit $?, $(cat "$dir/err")"
}

# refuse CODE ARGUMENTS: exit CODE and one line expected.
refuse() {
    code=$1
    shift
    got=0
    "$weir" sim "$@" >"$dir/out" 2>"$dir/err" || got=$?
    [ "$got" = "$code" ] || fail "weir sim $*: exit $got, not $code"
    [ "$(wc -l <"$dir/err")" = 1 ] || fail "weir sim $*: not one line: $(cat "$dir/err")"
}

bad="--size 300 --every 1ms --rtt 60ms --loss 20% --reorder 10% --duplicate 5% --corrupt 1%"

# The guarantees on a bad path.
seed=1
while [ $seed -le 20 ]; do
    for guarantee in delivery order none; do
        [ $guarantee = delivery ] || [ $((seed % 5)) = 0 ] || continue
        command="rudp --guarantee $guarantee --messages 20000 $bad --seed $seed --json"
        run "$dir/json" $command
        expect "$dir/json" "weir sim $command" seed=$seed sent=20000 corrupted=0
        [ $guarantee = none ] ||
            expect "$dir/json" "weir sim $command" duplicated=0 order_violations=0
        [ $guarantee != delivery ] || expect "$dir/json" "weir sim $command" lost=0 delivered=20000
        delivered=$(key "$dir/json" delivered)
        [ "$delivered" -gt 10000 ] || fail "weir sim $command: only $delivered delivered"
    done
    seed=$((seed + 1))
done

# Every key is there, in this order.
keys=$(grep -o '"[a-z0-9_]*":' "$dir/json" | tr -d '":' | tr '\n' ' ')
[ "$keys" = "transport seed sent delivered lost duplicated order_violations corrupted goodput_mbit \
latency_ms mean p50 p90 p99 p999 max wire_bytes payload_bytes retransmit_ratio virtual_seconds \
peak_held_bytes secondary_bytes " ] || fail "keys: $keys"

# The same seed twice is the same run; another seed is another one.
again="rudp --messages 3000 $bad --channels 7 --jitter 5ms --cc bbr --json"
run "$dir/a" $again --seed 11
run "$dir/b" $again --seed 11
run "$dir/c" $again --seed 12
cmp -s "$dir/a" "$dir/b" || fail "the same seed gave two results"
cmp -s "$dir/a" "$dir/c" && fail "two seeds gave one result"
expect "$dir/a" "channels" lost=0 order_violations=0

# Large messages, a narrow path, a small queue.
for cc in cubic bbr newreno; do
    command="rudp --bulk 20MB --rtt 40ms --rate 100mbit --queue 250KB --cc $cc --json"
    run "$dir/json" $command
    expect "$dir/json" "weir sim $command" lost=0 corrupted=0 payload_bytes=20000000
    awk -v mbit="$(key "$dir/json" goodput_mbit)" 'BEGIN { exit !(mbit > 60 && mbit < 100) }' ||
        fail "weir sim $command: $(key "$dir/json" goodput_mbit) Mbit/s"
done
run "$dir/json" rudp --messages 5 --size 3MiB --every 10ms --loss 3% --json
expect "$dir/json" "3 MiB messages" lost=0 corrupted=0
run "$dir/json" rudp --messages 500 --mtu 1200 --size 2000 --json
expect "$dir/json" "narrow mtu" lost=0 corrupted=0

# Pictures and words.
run "$dir/text" rudp --messages 1000 --loss 5% --plot "$dir/plot.svg" --trace "$dir/trace"
grep -q 'delivered 1000' "$dir/text" || fail "no table: $(cat "$dir/text")"
grep -q '</svg>' "$dir/plot.svg" || fail "no plot"
for word in cwnd 'in flight' 'ms' 'Mbit/s' 'virtual time'; do
    grep -q "$word" "$dir/plot.svg" || fail "the plot says nothing of $word"
done
[ -s "$dir/trace" ] || fail "no trace"

# Wrong use.
refuse 2
refuse 2 quic
refuse 2 nonsense
refuse 2 rudp extra
refuse 2 rudp --guarantee maybe
refuse 2 rudp --loss 120%
refuse 2 rudp --size 4
refuse 2 rudp --size 17MiB
refuse 2 rudp --bulk 1MB --messages 5
refuse 2 rudp --channels 257
refuse 2 rudp --mtu 700
refuse 2 rudp --rtt fast
refuse 2 rudp --nonsense
refuse 1 rudp --messages 10 --plot "$dir/none/plot.svg"
refuse 1 rudp --messages 10 --trace "$dir/none/trace"
refuse 1 rudp --messages 10 --loss 100%

exit $failed
