#!/bin/sh
# SPDX-License-Identifier: MIT
# completions.sh - the completions of zsh and fish load without a word and complete an option, a
# value and a command. Exits with 77, for ctest "skipped", where the shell is not installed.
#
#     tests/cli/completions.sh zsh|fish|bash
set -u
export LC_ALL=C

shell=${1:?zsh, fish or bash}
cd "$(dirname "$0")/../../completions" || exit 1
command -v "$shell" >/dev/null || exit 77
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export HOME="$dir" XDG_CONFIG_HOME="$dir" XDG_DATA_HOME="$dir" XDG_CACHE_HOME="$dir"

# The candidates for one command line, one a line or in one.
complete_fish() {
    fish --no-config -c 'source weir.fish; complete -C $argv[1]' -- "$1" 2>&1
}

complete_bash() {
    # shellcheck disable=SC2016 # bash is to expand it
    bash --norc -c '. ./weir.bash; COMP_WORDS=($1); [[ $1 != *" " ]] || COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _weir; printf "%s\n" "${COMPREPLY[@]}"' bash "$1" 2>&1
}

# zsh completes only where it edits a line: an interactive one in a terminal of its own is typed to.
complete_zsh() {
    TERM=vt100 zsh -f -c '
        zmodload zsh/zpty || exit 1
        zpty shell zsh -f -i
        zpty -w shell "PS1=; PROMPT_EOL_MARK=; fpath=($PWD \$fpath); autoload -Uz compinit; compinit -u -D; setopt listambiguous; LISTMAX=1000; print REA\"\"DY"
        zpty -r -m shell heard "*READY*" || exit 1
        zpty -n -w shell "$1"$'"'\\t\\t'"'
        for i in {1..20}; do
            sleep 0.05
            while zpty -r -t shell heard; do print -r -- "$heard"; done
        done
        zpty -d shell' zsh "$1" 2>&1
}

failures=0
# completes LINE WORD...: the words are among the candidates.
completes() {
    line=$1
    shift
    "complete_$shell" "$line" >"$dir/out"
    for word in "$@"; do
        grep -q -e "$word" "$dir/out" || {
            echo "completions: $shell: '$line' does not offer '$word': $(cat "$dir/out")" >&2
            failures=$((failures + 1))
        }
    done
    ! grep -i -E 'error|not found|unknown|invalid' "$dir/out" || failures=$((failures + 1))
}

completes 'weir sen' send
completes 'weir send --no-res' --no-resume
completes 'weir pipe --pre' --preset
completes 'weir recv --preset kcptun-' kcptun-fast3
[ "$failures" -eq 0 ] || exit 1
echo "completions: $shell: all passed"
