#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# demo.sh - sends a real file through a bad network on loopback and prints what it cost.
#
#     tools/demo.sh build/weir
#
#     weir send --> weir relay (5 % loss each way, 40 ms RTT, reordering, duplicates) --> weir recv
#
# Ends with 0 only when the file arrived with the same SHA-256. Whatever it started ends with it.
set -Eeuo pipefail

weir=${1:-build/weir}
mib=${DEMO_MIB:-64}                      # least size of the file
connections=${DEMO_CONNECTIONS:-10000}   # idle connections to weigh
work=
pids=()

fail() {
    echo "demo: $*" >&2
    exit 1
}

clean_up() {
    local pid
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in "${pids[@]}"; do
        wait "$pid" 2>/dev/null || true
    done
    [ -z "$work" ] || rm -rf "$work"
}
trap clean_up EXIT
trap 'echo "demo: line $LINENO failed: $BASH_COMMAND" >&2' ERR
trap 'exit 130' INT
trap 'exit 143' TERM

# The kernel's list of bound UDP ports: no other tool is needed to ask it.
is_bound() {
    local hex
    hex=$(printf ':%04X' "$1")
    awk -v port="$hex" 'FNR > 1 && substr($2, length($2) - 4) == port { found = 1 }
        END { exit !found }' /proc/net/udp /proc/net/udp6 2>/dev/null
}

# Sets the variable named $1 to a port that nobody has bound and that was not handed out before.
taken=' '
free_port() {
    local port
    for _ in {1..200}; do
        port=$((20000 + RANDOM % 12000))
        if [[ $taken != *" $port "* ]] && ! is_bound "$port"; then
            taken+="$port "
            printf -v "$1" %s "$port"
            return
        fi
    done
    fail "no free UDP port between 20000 and 32000"
}

# start NAME PORT COMMAND...: runs it in the background, waits until PORT is bound.
start() {
    local name=$1 port=$2 log=$work/$1.log
    shift 2
    "$@" >"$log" 2>&1 &
    pids+=($!)
    for _ in {1..100}; do
        is_bound "$port" && return
        if ! kill -0 "${pids[-1]}" 2>/dev/null; then
            break
        fi
        sleep 0.05
    done
    sed "s/^/demo: $name: /" "$log" >&2
    fail "$name did not bind port $port"
}

# json_number FILE KEY: the number of the first "KEY": in it.
json_number() {
    grep -o "\"$2\"[[:space:]]*:[[:space:]]*[-+.0-9eE]*" "$1" | head -n 1 | sed 's/.*:[[:space:]]*//'
}

# A tar of whole files of this machine (the sources first), at least $mib MiB.
make_file() {
    {
        find "$PWD" -path '*/build*' -prune -o -path '*/.git' -prune -o -type f -size -4096k \
            -readable -printf '%s %p\n' || true
        find /usr/lib /usr/bin /usr/share -xdev -type f -size +8k -size -8192k -readable \
            -printf '%s %p\n' 2>/dev/null || true # folders that only root may read
    } | awk -v need=$((mib * 1048576)) '
        sum < need { sum += $1; sub(/^[0-9]+ /, ""); print }' >"$work/list"
    # 1: a file changed while it was read; what is in the archive is as good as any other.
    tar --create --absolute-names --files-from "$work/list" --file "$1" 2>"$work/tar.log" ||
        [ $? -eq 1 ] || fail "tar: $(tail -n 1 "$work/tar.log")"
}

[ -x "$weir" ] || fail "$weir is not there: run make first"
work=$(mktemp -d "${TMPDIR:-/tmp}/weir-demo.XXXXXX")
room=$(df --output=avail -k "$work" | tail -n 1)
[ "$room" -gt $((mib * 1024 * 3)) ] || fail "$work needs $((mib * 3)) MiB of room"

file=$work/files.tar
make_file "$file"
bytes=$(stat -c %s "$file")
[ "$bytes" -ge $((mib * 1048576)) ] || fail "found only $bytes bytes of files to send"

recv_port='' relay_port=''
free_port recv_port
free_port relay_port
mkdir "$work/received"
start recv "$recv_port" "$weir" recv "rudp://127.0.0.1:$recv_port" -o "$work/received" --once
recv_pid=${pids[-1]}
start relay "$relay_port" "$weir" relay -l "127.0.0.1:$relay_port" -r "127.0.0.1:$recv_port" \
    --loss 5% --delay 20ms --reorder 2% --duplicate 1% --seed 1

echo "sending $((bytes / 1048576)) MiB with BBR: 5 % loss each way, 40 ms RTT, 2 % reordered, 1 % duplicated"
# BBR, as the losses here say nothing about congestion; CUBIC would slow down at each of them.
"$weir" send "$file" "rudp://127.0.0.1:$relay_port" --cc bbr --json "$work/send.json" ||
    fail "weir send ended with $?; the receiver said: $(tail -n 1 "$work/recv.log")"
wait "$recv_pid" || fail "weir recv ended with $?: $(tail -n 1 "$work/recv.log")"

sent=$(sha256sum <"$file")
received=$(sha256sum <"$work/received/files.tar") || fail "the file did not arrive"
[ "$sent" = "$received" ] || fail "the hashes differ: sent ${sent%% *}, received ${received%% *}"
echo "SHA-256 equal at both ends: ${sent%% *}"

# Without an address it brings a server of its own, whose pools suit so many connections.
"$weir" perf --mode idle --connections "$connections" --seconds 1 --json >"$work/idle.json" ||
    fail "weir perf --mode idle ended with $?"

goodput=$(json_number "$work/send.json" goodput_mbit)
seconds=$(json_number "$work/send.json" seconds)
resent=$(json_number "$work/send.json" retransmit_ratio)
idle=$(json_number "$work/idle.json" bytes_per_connection)
for figure in "$goodput" "$seconds" "$resent" "$idle"; do
    [ -n "$figure" ] || fail "a figure is missing in the JSON of weir send or weir perf"
done
awk -v mib=$((bytes / 1048576)) -v goodput="$goodput" -v seconds="$seconds" -v resent="$resent" \
    -v idle="$idle" -v connections="$connections" 'BEGIN {
    print ""
    print "| file      | goodput       | time     | retransmitted | bytes per idle connection |"
    print "| --------- | ------------- | -------- | ------------- | ------------------------- |"
    printf "| %5d MiB | %6.1f Mbit/s | %6.1f s | %11.2f %% | %8.0f (of %d)%*s |\n", mib, goodput,
        seconds, resent * 100, idle, connections, 10 - length(connections ""), ""
}'
