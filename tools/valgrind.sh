#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# valgrind.sh - the unit tests of a build tree under memcheck: leaks and errors fail it.
#
#     tools/valgrind.sh BUILD [NAME...]      NAME as in unit_NAME; default: all
#
# Tests of two threads spinning on a ring are TSan's: valgrind runs one thread at a time and needs
# --fair-sched for them to make progress at all.
set -euo pipefail

build=${1:?build tree}
shift
programs=()
if [ $# -gt 0 ]; then
    for name in "$@"; do
        programs+=("$build/tests/test_$name")
    done
else
    for source in "$(dirname "$0")"/../tests/unit/test_*.c; do
        programs+=("$build/tests/$(basename "$source" .c)")
    done
fi

run_one() {
    local log
    log=$(mktemp)
    if valgrind --quiet --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite \
        --fair-sched=yes "$1" >"$log" 2>&1; then
        echo "clean   $(basename "$1")"
        rm -f "$log"
    else
        cat "$log"
        echo "FAILED  $(basename "$1")"
        rm -f "$log"
        return 1
    fi
}
export -f run_one
# shellcheck disable=SC2016 # expanded by the inner shell
printf '%s\n' "${programs[@]}" | xargs -P "$(nproc)" -n 1 bash -c 'run_one "$0"' ||
    { echo "valgrind: some tests failed" >&2; exit 1; }
echo "valgrind: ${#programs[@]} programs, all clean"
