#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sim_tcp.sh WEIR [SEEDS] - "weir sim tcp": nothing is lost, repeated, out of order or corrupted
# over bad paths, goodput and fairness on a bottleneck, for SEEDS seeds (default 3), two at a time;
# that it repeats; wrong use.
# shellcheck disable=SC2030,SC2031 # each half of the seeds has a directory of its own
weir=$1
seeds=${2:-3}
engine=tcp
# shellcheck source=tests/cli/sim_lib.sh
. "$(dirname "$0")/sim_lib.sh"

# Messages and bulks, one flow and several, over what a network does short of flipping bits: a
# checksum of 16 bits lets one changed segment of some ten thousand through.
bad_paths() {
    seed=$1
    while read -r count command; do
        # shellcheck disable=SC2086 # words
        run "$dir/json" $command --seed "$seed"
        whole "$dir/json" "$count" "$command --seed $seed"
    done <<'END'
1000 --messages 1000 --size 100 --every 2ms --rtt 30ms --loss 10% --reorder 5% --duplicate 5% --jitter 3ms
300 --messages 300 --size 4000 --every 2ms --rtt 60ms --loss 10% --reorder 10% --cc newreno
123 --bulk 2MB --rate 20mbit --rtt 40ms --loss 5% --reorder 10% --duplicate 2% --cc bbr
123 --bulk 2MB --rate 20mbit --rtt 20ms --queue 20KB --loss 1% --flows 3 --mtu 576
123 --bulk 2MB --rtt 10ms --loss 3% --jitter 5ms --reorder 20% --mtu 9000
END
}

# What a bottleneck of 100 Mbit/s gives, of which headers take 2.7. BBR loses half a percent by a
# queue of half the path in Startup, or by a ProbeRTT where reordering makes it overrate the path.
bottleneck() {
    seed=$1
    while read -r bound command; do
        command="--bulk 100MB --rate 100mbit --rtt 40ms $command --seed $seed"
        # shellcheck disable=SC2086 # words
        run "$dir/json" $command
        whole "$dir/json" 6104 "$command"
        at_least "$dir/json" goodput_mbit "$bound" "$command"
    done <<'END'
93 --cc cubic
93 --cc bbr
93 --cc cubic --queue 250KB
93 --cc cubic --reorder 1%
93 --cc cubic --reorder 5%
92 --cc bbr --queue 250KB
93 --cc bbr --reorder 1%
92 --cc bbr --reorder 5%
85 --cc bbr --loss 1%
85 --cc bbr --loss 1% --reorder 5%
60 --cc bbr --loss 5%
60 --cc bbr --loss 5% --reorder 5%
END
    for queue in 250KB 1MiB; do
        command="--bulk 100MB --rate 100mbit --rtt 40ms --queue $queue --flows 2 --seed $seed"
        # shellcheck disable=SC2086 # words
        run "$dir/json" $command
        whole "$dir/json" 6104 "$command"
        at_least "$dir/json" fairness 0.9 "$command"
    done
}

# every_second FIRST: the seeds from it on, in a directory of their own.
every_second() (
    mkdir "$dir/$1"
    dir=$dir/$1
    next=$1
    while [ "$next" -le "$seeds" ]; do
        bad_paths "$next"
        bottleneck "$next"
        next=$((next + 2))
    done
    exit "$failed"
)

every_second 1 &
odd=$!
every_second 2 || failed=1
wait "$odd" || failed=1

run "$dir/json" --messages 100
keys=$(grep -o '"[a-z0-9_]*":' "$dir/json" | tr -d '":' | tr '\n' ' ')
[ "$keys" = "transport seed sent delivered lost duplicated order_violations corrupted goodput_mbit \
latency_ms mean p50 p90 p99 p999 max wire_bytes payload_bytes retransmit_ratio virtual_seconds \
peak_held_bytes secondary_bytes flows fairness timeouts " ] || fail "keys: $keys"

# The same seed twice is the same run; another seed is another one.
again="--messages 3000 --loss 5% --flows 2"
# shellcheck disable=SC2086 # words
{
    run "$dir/a" $again --seed 11
    run "$dir/b" $again --seed 11
    run "$dir/c" $again --seed 12
}
cmp -s "$dir/a" "$dir/b" || fail "the same seed gave two results"
cmp -s "$dir/a" "$dir/c" && fail "two seeds gave one result"

"$weir" sim tcp --messages 1000 --loss 5% --plot "$dir/plot.svg" --trace "$dir/trace" \
    >"$dir/text" || fail "no picture"
grep -q 'fairness' "$dir/text" || fail "no table: $(cat "$dir/text")"
grep -q '</svg>' "$dir/plot.svg" || fail "no plot"
# Raw IP with protocol 6: the first packet is the SYN from port 40000 (9c40) to 4433 (1151).
od -An -v -tx1 "$dir/trace" | tr -d ' \n' | grep -q '4006....0a0000010a0000029c401151' ||
    fail "the trace has no TCP"

refuse tcp --mtu 100
refuse tcp --mtu 70000
refuse tcp --preset gaming
refuse tcp --guarantee none
refuse tcp --channels 2
refuse tcp --flows 0
refuse tcp --flows 65
refuse kcp --flows 2
refuse rudp --flows 2

exit $failed
