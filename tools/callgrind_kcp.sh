#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# callgrind_kcp.sh - instructions per KCP segment, both ends together, of weir and of the reference:
# the difference of two runs of bench_kcp under callgrind, so that opening and warming up do not
# count. The figures repeat exactly on the same binary, whatever else the machine does.
#
#     tools/callgrind_kcp.sh BUILD [WINDOWS]      WINDOWS: default "128 1024"; 32768 takes minutes
#
# The reference is there if tools/fetch_ikcp.sh BUILD was run before BUILD was configured.
set -euo pipefail

build=${1:?build tree}
windows=${2:-128 1024}
bench=$build/bench/bench_kcp
more=20000
# The C library copies long blocks with rep movsb, which callgrind counts once a byte; here all
# copies are vector moves, as short ones always are.
export GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=0x7fffffff
if ! command -v valgrind >/dev/null || [ ! -x "$bench" ]; then
    echo "callgrind_kcp: left out, valgrind is not installed or $bench was not built" >&2
    exit 0
fi
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

# instructions SIZE WINDOW SEGMENTS CONTENDER: of the whole run; 1 if there is no such contender.
instructions() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$bench" "$@" 2>"$stage/log" ||
        return 1
    sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$stage/log"
}

# marginal SIZE WINDOW CONTENDER
marginal() {
    local size=$1 window=$2 contender=$3 few many
    # Whole messages: 48 segments are one of 64 KB.
    local warm=$((6 * window + 1056 - 6 * window % 48))
    few=$(instructions "$size" "$window" "$warm" "$contender") || return 0
    many=$(instructions "$size" "$window" $((warm + more - more % 48)) "$contender")
    echo $(((many - few) / (more - more % 48)))
}

contenders='weir parcels compat ikcp.c'
# shellcheck disable=SC2086
printf '%-9s %-7s %8s %8s %8s %8s %8s\n' size window $contenders weir/ikcp.c
for size in 64 1024 65536; do
    for window in $windows; do
        figures=()
        for contender in $contenders; do
            figures+=("$(marginal "$size" "$window" "$contender")")
        done
        printf '%-9s %-7s %8s %8s %8s %8s %8s\n' "$size B" "$window" "${figures[@]:0:3}" \
            "${figures[3]:--}" "$(awk -v a="${figures[0]}" -v b="${figures[3]:-0}" \
                'BEGIN { if (b > 0) printf "%.2f", a / b; else print "-" }')"
    done
done
