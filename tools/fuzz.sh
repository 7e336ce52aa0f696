#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# fuzz.sh - runs every fuzz target of a build tree for its share of the time.
#
#     tools/fuzz.sh BUILD SECONDS
#
# Starts from tests/fuzz/corpus/NAME; what it finds on the way is kept in BUILD/corpus/NAME. An input
# that breaks something is left in BUILD/findings/ and ends the run with 1.
set -euo pipefail

build=${1:?build tree}
seconds=${2:?seconds in all}
cd "$(dirname "$0")/.."

targets=()
for source in tests/fuzz/fuzz_*.c; do
    [ -e "$source" ] || { echo "fuzz: there are no targets in tests/fuzz" >&2; exit 1; }
    name=$(basename "$source" .c)
    if [ ! -x "$build/tests/fuzz/$name" ]; then
        echo "fuzz: $build/tests/fuzz/$name is not built" >&2
        exit 1
    fi
    targets+=("${name#fuzz_}")
done
share=$((seconds / ${#targets[@]}))
[ "$share" -ge 1 ] || share=1

mkdir -p "$build/findings"
failed=()
for name in "${targets[@]}"; do
    mkdir -p "$build/corpus/$name"
    seeds=()
    [ ! -d "tests/fuzz/corpus/$name" ] || seeds=("tests/fuzz/corpus/$name")
    echo "== fuzz_$name, $share s"
    if ! "$build/tests/fuzz/fuzz_$name" -max_total_time="$share" -timeout=25 -rss_limit_mb=4096 \
        -print_final_stats=1 -verbosity=0 -artifact_prefix="$build/findings/$name-" \
        "$build/corpus/$name" "${seeds[@]}"; then
        failed+=("$name")
    fi
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "fuzz: findings in: ${failed[*]}; replay: $build/tests/fuzz/fuzz_NAME $build/findings/FILE" >&2
    exit 1
fi
echo "fuzz: ${#targets[@]} targets, $share s each, no finding"
