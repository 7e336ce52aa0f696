#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sim_kcp.sh WEIR [SEEDS] - "weir sim kcp": for every preset nothing is lost, repeated or out of
# order over a bad path, for SEEDS seeds (default 5); what it costs; that it repeats; wrong use.
weir=$1
seeds=${2:-5}
engine=kcp
# shellcheck source=tests/cli/sim_lib.sh
. "$(dirname "$0")/sim_lib.sh"
unset WEIR_KEY

presets="normal fast turbo gaming realtime file-transfer kcptun-normal kcptun-fast kcptun-fast2 \
kcptun-fast3"
bad="--every 2ms --rtt 30ms --loss 10% --reorder 5% --duplicate 5% --jitter 3ms"

seed=1
while [ "$seed" -le "$seeds" ]; do
    for preset in $presets; do
        # Small ones, and of several segments.
        [ $((seed % 2)) = 0 ] && traffic="--messages 1000 --size 100" ||
            traffic="--messages 300 --size 4000"
        command="--preset $preset $traffic $bad --seed $seed"
        # shellcheck disable=SC2086 # words
        run "$dir/json" $command
        # shellcheck disable=SC2086 # words
        whole "$dir/json" "$(echo $traffic | cut -d' ' -f2)" "$command"
    done
    seed=$((seed + 1))
done

# What a game pays for 10 % loss each way: two lost ones in a row are late, three are rare.
for seed in 1 2 3; do
    command="--preset gaming --messages 30000 --size 100 --every 20ms --rtt 30ms --loss 10% \
--seed $seed"
    # shellcheck disable=SC2086 # words
    run "$dir/json" $command
    whole "$dir/json" 30000 "$command"
    at_most "$dir/json" p99 90 "$command"
    at_most "$dir/json" retransmit_ratio 0.22 "$command"
done

keys=$(grep -o '"[a-z0-9_]*":' "$dir/json" | tr -d '":' | tr '\n' ' ')
[ "$keys" = "transport seed sent delivered lost duplicated order_violations corrupted goodput_mbit \
latency_ms mean p50 p90 p99 p999 max wire_bytes payload_bytes retransmit_ratio virtual_seconds \
peak_held_bytes secondary_bytes resent_fast resent_timeout fec_recovered " ] || fail "keys: $keys"

# The same seed twice is the same run, layers included; another seed is another one.
again="--messages 3000 --loss 5% --preset turbo --crypt aes --key secret --fec 10,3"
# shellcheck disable=SC2086 # words
{
    run "$dir/a" $again --seed 11
    run "$dir/b" $again --seed 11
    run "$dir/c" $again --seed 12
}
cmp -s "$dir/a" "$dir/b" || fail "the same seed gave two results"
cmp -s "$dir/a" "$dir/c" && fail "two seeds gave one result"
whole "$dir/a" 3000 "$again"
at_most "$dir/a" fec_recovered 3000 "$again"

# A sender faster than its window waits for WRITABLE.
run "$dir/json" --bulk 20MB --window 256 --rtt 20ms --loss 1% --preset turbo
whole "$dir/json" 1221 "--bulk"
[ "$(key "$dir/json" payload_bytes)" = 20000000 ] || fail "--bulk: not all of it"
run "$dir/json" --bulk 20MB --window 2048 --rtt 20ms --rate 100mbit --cc bbr --mtu 1472
whole "$dir/json" 1221 "--cc bbr"

"$weir" sim kcp --messages 1000 --loss 5% --plot "$dir/plot.svg" --trace "$dir/trace" \
    >"$dir/text" || fail "no picture"
grep -q 'after later ACKs' "$dir/text" || fail "no table: $(cat "$dir/text")"
grep -q '</svg>' "$dir/plot.svg" || fail "no plot"
[ -s "$dir/trace" ] || fail "no trace"

refuse kcp --preset nonsense
refuse kcp --crypt rot13
refuse kcp --crypt aes
refuse kcp --fec 10
refuse kcp --fec 200,100
refuse kcp --mtu 40
refuse kcp --mtu 9000
refuse kcp --window 40000
refuse kcp --guarantee none
refuse kcp --channels 2
got=0
"$weir" sim rudp --preset gaming 2>"$dir/err" || got=$?
[ "$got" = 2 ] || fail "weir sim rudp --preset: exit $got"
# A message that the peer's window never holds is refused, not sent in vain.
got=0
"$weir" sim kcp --window 32 --mtu 1400 --size 50000 --messages 10 >"$dir/out" 2>"$dir/err" || got=$?
[ "$got" = 1 ] || fail "a message larger than the window: exit $got"
grep -q 'large' "$dir/err" || fail "a message larger than the window: $(cat "$dir/err")"

exit $failed
