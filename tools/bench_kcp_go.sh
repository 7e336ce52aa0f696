#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# bench_kcp_go.sh - goodput and CPU time of an echo over loopback, weir at both ends and then kcp-go
# at both ends, same settings, in turn; then an echo of either, with 5,000 slow sessions of kcp-go.
# Rows are put in BUILD/bench.json. Left out, in one line, where Go or kcp-go is not installed.
#
#     tools/bench_kcp_go.sh BUILD [WINDOWS]       WINDOWS: runs of each, default 3; medians count
set -euo pipefail

build=${1:?build tree}
windows=${2:-3}
ours=$build/tests/kcp_peer
theirs=$build/kcp_go/kcppeer
weir_bytes=1000000000
peer_bytes=100000000
if [ ! -x "$ours" ]; then
    echo "bench_kcp_go: left out, $ours was not built" >&2
    exit 0
fi
"${0%/*}/../tests/interop/kcp_go/build.sh" "$build/kcp_go" || {
    [ $? = 77 ] || exit 1
    exit 0
}
stage=$(mktemp -d)
pid=
sessions=5000
seconds=4
trap '[ -z "$pid" ] || kill "$pid"; rm -rf "$stage"' EXIT

ticks=$(getconf CLK_TCK)

# start PROGRAM OPTIONS...: an echo; sets pid and port.
start() {
    local program=$1
    shift
    rm -f "$stage/echo"
    "$program" echo -timeout 120s "$@" >"$stage/echo" &
    pid=$!
    for _ in $(seq 200); do
        [ ! -s "$stage/echo" ] || break
        sleep 0.025
    done
    port=$(sed -n 's/^listening on [^ ]*:\([0-9]*\).*$/\1/p' "$stage/echo")
}

stop() {
    kill "$pid"
    wait "$pid" 2>/dev/null || true
    pid=
}

# measure PROGRAM BYTES OPTIONS...: prints MB/s and CPU seconds per GB of both ends together.
measure() {
    local program=$1 bytes=$2 cpu result
    shift 2
    start "$program" "$@"
    result=$("$program" client -addr "127.0.0.1:$port" -timeout 100s -bytes "$bytes" "$@")
    # utime and stime; the name in front of them has no blanks.
    cpu=$(cut -d' ' -f14,15 "/proc/$pid/stat")
    stop
    echo "$result $cpu" | awk -v ticks="$ticks" '{
        split($2, bytes, "="); split($4, seconds, "="); split($5, cpu, "=")
        printf "%.2f %.3f\n", bytes[2] / seconds[2] / 1e6,
            (cpu[2] + ($(NF - 1) + $NF) / ticks) / bytes[2] * 1e9
    }'
}

# measure_sessions PROGRAM OPTIONS...: prints the echo's percent of a core. Its peer, kcp-go, says
# when half of the time is over and when all is.
measure_sessions() {
    local program=$1 ticks_used=0 rate=0 word rest
    shift
    start "$program" "$@"
    while read -r word rest; do
        ticks_used=$(awk -v before="$ticks_used" '{ print $14 + $15 - before }' "/proc/$pid/stat")
        [ "$word" != ok ] || rate=${rest##*=}
    done < <("$theirs" many -addr "127.0.0.1:$port" -timeout $((2 * seconds))s \
        -sessions "$sessions")
    stop
    # Fewer echoes than messages: the machine was too slow for kcp-go, and the figure says nothing.
    [ "$rate" -ge $((2 * sessions * 9 / 10)) ] || return 0
    awk -v used="$ticks_used" -v ticks="$ticks" -v seconds="$seconds" \
        'BEGIN { printf "%.2f\n", used / ticks / seconds * 100 }'
}

# median COLUMN FILE
median() {
    cut -d' ' -f"$1" "$2" | sort -g | sed -n "$(((windows + 1) / 2))p"
}

# row CASE METRIC UNIT WEIR PEER RATIO
row() {
    printf '%s\t{"bench":"kcp_go","case":"%s","metric":"%s","unit":"%s","weir":%s,"peer":%s,' \
        "$comma" "$1" "$2" "$3" "$4" "$5" >>"$stage/rows"
    printf '"peer_name":"kcp-go","ratio":%s}' "$6" >>"$stage/rows"
    printf '%-36s %-9s %9s %9s %-6s x%s\n' "$1" "$2" "$4" "$5" "$3" "$6"
    comma=$',\n'
}

# run CASE OPTIONS...
run() {
    local name=$1 ours_rate theirs_rate ours_cpu theirs_cpu
    shift
    : >"$stage/ours"
    : >"$stage/theirs"
    for _ in $(seq "$windows"); do
        measure "$ours" "$weir_bytes" "$@" >>"$stage/ours"
        measure "$theirs" "$peer_bytes" "$@" >>"$stage/theirs"
    done
    ours_rate=$(median 1 "$stage/ours")
    theirs_rate=$(median 1 "$stage/theirs")
    ours_cpu=$(median 2 "$stage/ours")
    theirs_cpu=$(median 2 "$stage/theirs")
    row "$name" goodput MB/s "$ours_rate" "$theirs_rate" \
        "$(awk -v a="$ours_rate" -v b="$theirs_rate" 'BEGIN { printf "%.2f", a / b }')"
    row "$name" cpu s/GB "$ours_cpu" "$theirs_cpu" \
        "$(awk -v a="$ours_cpu" -v b="$theirs_cpu" 'BEGIN { printf "%.2f", b / a }')"
}

# run_sessions CASE
run_sessions() {
    : >"$stage/ours"
    : >"$stage/theirs"
    for _ in $(seq "$windows"); do
        measure_sessions "$ours" -sessions "$sessions" >>"$stage/ours"
        measure_sessions "$theirs" >>"$stage/theirs"
    done
    if [ "$(cat "$stage/ours" "$stage/theirs" | wc -l)" -lt $((2 * windows)) ]; then
        echo "bench_kcp_go: $1 is left out, its clients did not keep up" >&2
        return
    fi
    row "$1" cpu % "$(median 1 "$stage/ours")" "$(median 1 "$stage/theirs")" \
        "$(awk -v a="$(median 1 "$stage/ours")" -v b="$(median 1 "$stage/theirs")" \
            'BEGIN { printf "%.2f", b / a }')"
}

comma=
printf '%-36s %-9s %9s %9s\n' "echo of a stream" "" weir kcp-go
run "acks at once, window 1024" -stream -acknodelay
run "acks every 10 ms, window 4096" -stream -window 4096
run "aes, acks at once" -stream -acknodelay -crypt aes
run "aes, FEC 10,3, acks at once" -stream -acknodelay -crypt aes -data 10 -parity 3
# One window per interval is all that this allows, whatever the CPU could do.
run "acks every 10 ms, window 1024" -stream
run_sessions "5000 sessions, 2 echoes/s each"

# The rows of other benchmarks stay: objects without objects in them, so that "}" ends each.
others=
if [ -s "$build/bench.json" ]; then
    others=$(awk 'BEGIN { RS = "}" } /"bench":/ && !/"bench":[ \t]*"kcp_go"/ {
        sub(/^[^{]*/, ""); printf "%s%s}", comma, $0; comma = ", " }' "$build/bench.json")
fi
{
    printf '[%s' "$others"
    [ -z "$others" ] || printf ',\n'
    cat "$stage/rows"
    printf ']\n'
} >"$stage/bench.json"
cp "$stage/bench.json" "$build/bench.json"
