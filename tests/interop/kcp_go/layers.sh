#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# layers.sh - crypto header and forward error correction, byte for byte with kcp-go: it opens and
# recovers what is written here, and the other way round. Ends with 77 where Go is not installed.
#
#     tests/interop/kcp_go/layers.sh KCP_LAYERS DIRECTORY
set -euo pipefail

layers=${1:?kcp_layers}
peers=${2:?directory for kcppeer}
"$(dirname "$0")/build.sh" "$peers"
peer=$peers/kcppeer
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

fail() {
    echo "layers: $*" >&2
    exit 1
}

# Both ways for one cipher and one group size, of which the readers are told nothing with "tune".
check() {
    local cipher=$1 data=$2 parity=$3 told=(-data "$2" -parity "$3" -timeout 20s)
    [ $# -lt 4 ] || told=(-data 0 -parity 0 -timeout 20s)
    # One object of kcp-go's SM4 encrypts and decrypts, on two threads and through the same scratch
    # bytes: now and then it drops a good datagram or sends a bad one, which has to come again.
    [ "$cipher" != sm4 ] || told+=(-passes 50)
    "$peer" write -file "$stage/go" -messages 400 -crypt "$cipher" -data "$data" -parity "$parity" ||
        fail "$*: kcp-go does not write"
    "$layers" read "$stage/go" "$cipher" "$data" "$parity" 400 "${@:4}" ||
        fail "$*: not read here"
    "$layers" write "$stage/weir" "$cipher" "$data" "$parity" 400 ||
        fail "$*: not written here"
    "$peer" read -file "$stage/weir" -messages 400 -crypt "$cipher" "${told[@]}" ||
        fail "$*: not read by kcp-go"
}

for cipher in nil none aes aes-128 aes-192 salsa20 sm4 twofish blowfish cast5 3des xor; do
    check "$cipher" 0 0
done
for size in "10 3" "1 1" "3 5" "20 7"; do
    # shellcheck disable=SC2086 # two words
    check aes $size
done
check salsa20 10 3
check nil 10 3
check nil 10 3 tune
check none 5 2 tune
