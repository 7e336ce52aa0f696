#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# network.sh - the library and kcp-go over loopback, each as client of the other's echo, every byte
# compared: plain, with FEC, with ciphers, through a relay that loses and reorders. Ends with 77
# where Go is not installed.
#
#     tests/interop/kcp_go/network.sh KCP_PEER DIRECTORY WEIR [BYTES]     of a stream, default 100 MB
set -euo pipefail

ours=${1:?kcp_peer}
peers=${2:?directory for kcppeer}
weir=${3:?weir}
bytes=${4:-100000000}
"$(dirname "$0")/build.sh" "$peers"
theirs=$peers/kcppeer
stage=$(mktemp -d)
pids=()

stop() {
    [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    pids=()
}
trap 'stop; rm -rf "$stage"' EXIT

fail() {
    echo "network: $*" >&2
    cat "$stage"/*.err >&2 || true
    exit 1
}

# start NAME COMMAND...: runs it until stop; sets port when it says where it listens.
start() {
    local name=$1
    shift
    rm -f "$stage/$name"
    "$@" >"$stage/$name" 2>"$stage/$name.err" &
    pids+=($!)
    for _ in $(seq 400); do
        [ ! -s "$stage/$name" ] || break
        sleep 0.025
    done
    port=$(sed -n 's/^listening on [^ ]*:\([0-9]*\).*$/\1/p' "$stage/$name")
    [ -n "$port" ] || fail "$name does not listen: $*"
}

# exchange ECHO CLIENT "OPTIONS OF BOTH" "OPTIONS OF THE CLIENT" [RELAY OPTIONS]
exchange() {
    local options client=()
    read -ra options <<<"$3"
    read -ra client <<<"$4"
    start echo "$1" echo -timeout 90s "${options[@]}"
    [ $# -lt 5 ] || start relay "$weir" relay -l 127.0.0.1:0 -r "127.0.0.1:$port" --seed 1 "${@:5}"
    echo "${1##*/} <- ${2##*/} $3 $4 ${*:5}"
    "$2" client -addr "127.0.0.1:$port" -timeout 60s "${options[@]}" "${client[@]}" \
        2>"$stage/client.err" | tee "$stage/result" ||
        fail "client fails: ${2##*/} ${*:3}"
    grep -q '^ok ' "$stage/result" || fail "no result: ${2##*/} ${*:3}"
    stop
}

# both "OPTIONS OF BOTH" "OPTIONS OF THE CLIENT" [RELAY OPTIONS]
both() {
    exchange "$ours" "$theirs" "$@"
    exchange "$theirs" "$ours" "$@"
}

sizes=1,2,23,24,100,1299,1300,1351,1352,1353,1376,1377,2752,5000,9000,40000
for layers in "-crypt nil" "-crypt nil -data 10 -parity 3" "-crypt aes" "-crypt salsa20" \
    "-crypt none"; do
    both "$layers" "-sizes $sizes -messages 800"
    both "$layers -stream" "-bytes $bytes"
done
both "-crypt aes -data 10 -parity 3" "-sizes $sizes -messages 800"
both "-crypt salsa20 -data 5 -parity 2 -mtu 576 -nodelay 0,30,2,0 -acknodelay" \
    "-sizes $sizes -messages 200"

# Bounds: kcp-go keeps them up to one segment, and knows no empty messages.
exchange "$theirs" "$ours" "-crypt nil" "-sizes 1,2,100,1376 -messages 800 -bounds"
exchange "$ours" "$ours" "-crypt nil" "-sizes 0,1,0,40000,1377,0 -messages 1200 -bounds"
exchange "$ours" "$ours" "-crypt aes -data 10 -parity 3" "-sizes 0,1,0,40000 -messages 800 -bounds"

# A message of more fragments than kcp-go's window would hang for ever.
exchange "$theirs" "$ours" "-window 32" "-sizes 100,40000 -messages 50 -refuse 45000"

lossy=(--loss 10% --reorder 10% --delay 2ms)
for layers in "-crypt nil" "-crypt aes -data 10 -parity 3" "-crypt salsa20"; do
    both "$layers" "-sizes 1,100,1377,40000 -messages 200" "${lossy[@]}"
    both "$layers -stream" "-bytes 10000000" "${lossy[@]}"
done
# What was lost comes back by parity too, at both ends.
recovered() {
    [ "$(sed -n 's/.*fec_recovered=\([0-9]*\).*/\1/p' "$stage/result")" -gt 0 ] ||
        fail "$1: nothing was recovered by FEC"
}
exchange "$theirs" "$ours" "-data 10 -parity 3" "-sizes 1000 -messages 1500" "${lossy[@]}"
recovered "sent by kcp-go"
exchange "$ours" "$theirs" "-data 10 -parity 3" "-sizes 1000 -messages 1500" "${lossy[@]}"
recovered "sent by weir"
