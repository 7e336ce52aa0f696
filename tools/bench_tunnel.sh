#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# bench_tunnel.sh - weir tunnel beside kcptun on loopback: iperf3 through a pair of each, with the same
# flags. Prints goodput, and the processor time of both ends for a gigabyte.
#
#     tools/bench_tunnel.sh BUILD [SECONDS]
set -euo pipefail
export LC_ALL=C

weir=${1:?the build directory}/weir
seconds=${2:-5}
for tool in iperf3 kcptun-client kcptun-server; do
    command -v "$tool" >/dev/null || { echo "bench_tunnel: $tool is not installed"; exit 0; }
done
dir=$(mktemp -d)
pids=()

stop_pair() {
    for pid in "${pids[@]}"; do
        kill -9 "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    pids=()
}
trap 'stop_pair; rm -rf "$dir"' EXIT

# A port that nobody has now, of each kind.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        ss -Htuln "sport = :$port" | grep -q . || { echo "$port"; return; }
    done
}

# Ticks of the processor that the processes have used.
ticks_of() {
    local sum=0 pid rest fields
    for pid in "$@"; do
        rest=$(cat "/proc/$pid/stat")
        read -r -a fields <<<"${rest##*) }"
        sum=$((sum + fields[11] + fields[12]))
    done
    echo "$sum"
}

# measure NAME PORT DIRECTION: iperf3 through PORT while the pair in pids runs.
measure() {
    local name=$1 port=$2 direction=$3 before after
    local reverse=()
    [ "$direction" = up ] || reverse=(-R)
    iperf3 -s -1 -B 127.0.0.1 -p "$target" >"$dir/server.out" 2>&1 &
    local server=$!
    sleep 0.5
    before=$(ticks_of "${pids[@]}")
    iperf3 -c 127.0.0.1 -p "$port" -t "$seconds" -J "${reverse[@]}" >"$dir/iperf.json" 2>&1 || true
    after=$(ticks_of "${pids[@]}")
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    awk -v name="$name" -v direction="$direction" -v ticks=$((after - before)) \
        -v hertz="$(getconf CLK_TCK)" '
        /"sum_received"/ { on = 1 }
        on && /"bytes"/ { sub(/.*:/, ""); bytes = $0 + 0 }
        on && /"bits_per_second"/ { sub(/.*:/, ""); rate = $0 + 0; on = 0 }
        END {
            if (bytes == 0) { printf "%-44s %-5s failed\n", name, direction; exit }
            printf "%-44s %-5s %10.1f Mbit/s %8.2f CPU s/GB\n", name, direction, rate / 1e6,
                ticks / hertz / (bytes / 1e9)
        }' "$dir/iperf.json"
}

# pair NAME SERVER... -- CLIENT...: UDP, TCP and TARGET in the words are the ports.
pair() {
    local name=$1 words=() server=() word udp tcp
    shift
    target=$(free_port) udp=$(free_port) tcp=$(free_port)
    for word in "$@"; do
        word=${word//UDP/$udp} word=${word//TCP/$tcp} word=${word//TARGET/$target}
        if [ "$word" = -- ]; then
            server=("${words[@]}")
            words=()
        else
            words+=("$word")
        fi
    done
    "${server[@]}" >"$dir/far.out" 2>&1 &
    pids=($!)
    "${words[@]}" >"$dir/near.out" 2>&1 &
    pids+=($!)
    sleep 0.7
    measure "$name" "$tcp" up
    measure "$name" "$tcp" down
    stop_pair
}

# both NAME FLAGS-OF-WEIR FLAGS-OF-KCPTUN
both() {
    # shellcheck disable=SC2086 # words
    pair "weir, $1" "$weir" tunnel -q -l kcp://127.0.0.1:UDP -r tcp://127.0.0.1:TARGET --kcptun $2 \
        -- "$weir" tunnel -q -l tcp://127.0.0.1:TCP -r kcp://127.0.0.1:UDP --kcptun $2
    # shellcheck disable=SC2086
    pair "kcptun, $1" kcptun-server -l 127.0.0.1:UDP -t 127.0.0.1:TARGET $3 \
        -- kcptun-client -l 127.0.0.1:TCP -r 127.0.0.1:UDP $3
}

native() {
    pair "weir, $1://" "$weir" tunnel -q -l "$1://127.0.0.1:UDP" -r tcp://127.0.0.1:TARGET \
        "${@:2}" -- "$weir" tunnel -q -l tcp://127.0.0.1:TCP -r "$1://127.0.0.1:UDP" "${@:2}"
}

both 'aes, FEC, snappy (defaults)' '' ''
both 'aes' '--nofec --nocomp --smuxver 2 --window 2048' \
    '--datashard 0 --parityshard 0 --nocomp --smuxver 2 --sndwnd 2048 --rcvwnd 2048'
both 'aes, FEC' '--nocomp --smuxver 2 --window 2048' \
    '--nocomp --smuxver 2 --sndwnd 2048 --rcvwnd 2048'
native kcp --key secret
native rudp
