#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# lint.sh - every check of the source that is not a test. Runs them all, then says which failed.
#
#     tools/lint.sh BUILD BUILD_CLANG
#
# BUILD is the finished gcc build, whose objects tools/tidy.sh looks at; BUILD_CLANG is configured
# and compiled here: it is the build with the second compiler, and clang-tidy's list of commands.
set -euo pipefail
cd "$(dirname "$0")/.."

build=${1:-build}
clang=${2:-build-clang}
jobs=$(nproc)
failed=()

mapfile -t c_files < <(find src include tests bench examples -name '*.[ch]' | sort)
mapfile -t scripts < <(find tools tests completions -name '*.sh' | sort)

# Runs a check, prints how long it took and, when it failed, what it said.
check() {
    local name=$1 log start=$SECONDS
    shift
    log=$(mktemp)
    if "$@" >"$log" 2>&1; then
        printf 'lint: %-14s ok (%d s)\n' "$name" $((SECONDS - start))
    else
        cat "$log"
        printf 'lint: %-14s FAILED (%d s)\n' "$name" $((SECONDS - start))
        failed+=("$name")
    fi
    rm -f "$log"
}

clang_build() {
    CC=clang CXX=clang++ cmake -G Ninja -S . -B "$clang" --log-level=NOTICE &&
        cmake --build "$clang" -j "$jobs"
}

# One file a process: clang-tidy 14 takes every va_list after its first file for uninitialized.
run_tidy() {
    sed -n 's/^ *"file": "\(.*\.c\)",*$/\1/p' "$clang/compile_commands.json" | sort -u |
        xargs -P "$jobs" -n 1 clang-tidy --quiet -p "$clang"
}

run_cppcheck() {
    cppcheck --quiet --std=c11 --language=c --enable=warning,performance,portability \
        --inline-suppr --suppressions-list=tools/cppcheck.txt --error-exitcode=1 -j "$jobs" \
        -D__x86_64__ -D__GNUC__=12 -I include -I src src
}

check clang-format clang-format --dry-run -Werror "${c_files[@]}"
check rfc-musts tools/rfc-musts.sh
check shellcheck shellcheck --severity=warning run .ci/run "${scripts[@]}"
check clang-build clang_build
check tidy.sh tools/tidy.sh "$build"
check cppcheck run_cppcheck
check clang-tidy run_tidy

if [ ${#failed[@]} -gt 0 ]; then
    echo "lint: failed: ${failed[*]}" >&2
    exit 1
fi
echo "lint: all clean"
