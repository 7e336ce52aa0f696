#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# crew_futex.sh - a crew waits for no lock: no futex call from its start to its stop, three resizes
# in between, threads that end and threads that begin.
#
#     crew_futex.sh CREW_RESIZE hash|steer
#
# Ends with 77 where processes cannot be traced, or the kernel lets us not steer.
set -euo pipefail
program=$1
way=$2

if ! strace -f -o /dev/null true 2>/dev/null; then
    echo 'crew_futex.sh: skipped, needs strace and the right to trace'
    exit 77
fi
log=$(mktemp)
out=$(mktemp)
trap 'rm -f "$log" "$out"' EXIT

strace -f -e trace=futex,write,clone,clone3 -o "$log" "$program" 200 400 300 "$way" marks 4 7 2 5 |
    tee "$out"
if [ "$way" = steer ] && ! grep -q 'steered by the kernel' "$out"; then
    echo 'crew_futex.sh: skipped, steering needs root'
    exit 77
fi

# Marks are calls of the server; others' lines in between are of the same process, or of the clients'.
between=$(awk '/crew: started/ { on = 1 } on; /crew: stopping/ { on = 0 }' "$log")
threads=$(grep -c -E 'clone3?\(' <<<"$between" || true)
futexes=$(grep -c 'futex(' <<<"$between" || true)
echo "threads begun meanwhile: $threads, futex calls: $futexes"
grep 'futex(' <<<"$between" | head -5 || true
if ! grep -q 'crew: stopping' <<<"$between"; then
    echo 'crew_futex.sh: the marks are missing'
    exit 1
fi
[ "$threads" -ge 6 ] && [ "$futexes" = 0 ]
