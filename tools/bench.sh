#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# bench.sh - runs the benchmarks of a build tree; their rows are gathered in BUILD/bench.json.
#
#     tools/bench.sh BUILD [ONLY]          ONLY: ring, rudp, kcp, kcp_idle, kcp_go, frames, tcp,
#                                          crew; default: all
#
# frames and most of tcp need root: they make network namespaces of their own, and say so where they
# cannot. kcp has the reference implementation beside it if tools/fetch_ikcp.sh BUILD was run before
# BUILD was configured, as make bench does.
set -euo pipefail

build=${1:?build tree}
only=${2:-}

programs=()
for program in "$build"/bench/bench_*; do
    [[ -f $program && -x $program ]] || continue
    name=${program##*/bench_}
    [[ -n $only && $only != "$name" ]] || programs+=("$program")
done
if [ ${#programs[@]} -eq 0 ] && [ "$only" != kcp_go ]; then
    echo "bench: there is no benchmark ${only:+called $only }in $build/bench" >&2
    exit 2
fi

# A run of all starts the file anew; a run of one replaces its rows.
[ -n "$only" ] || rm -f "$build/bench.json"
for program in "${programs[@]}"; do
    echo "== ${program##*/}"
    "$program" --json "$build/bench.json"
done
if [ -z "$only" ] || [ "$only" = kcp_go ]; then
    echo "== kcp-go"
    "${0%/*}/bench_kcp_go.sh" "$build"
fi
echo "figures: $build/bench.json"
