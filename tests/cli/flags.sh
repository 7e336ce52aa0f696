#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# flags.sh - every option that a command's --help lists is in its manual page and in the three
# completions, and no page or completion lists one that is not there.
#
#     tests/cli/flags.sh WEIR
set -euo pipefail
export LC_ALL=C

weir=${1:?the program}
cd "$(dirname "$0")/../.."
failures=0

complain() {
    echo "flags: $*" >&2
    failures=$((failures + 1))
}

# The heads of argp's list, up to --help: what is below it is argp's own, or examples.
flags_of_help() {
    "$weir" "$1" --help |
        sed -nE '/^  -\?, --help/ { s/.*/--help/p; q }
            s/^  (-., |    )(--[a-z][a-z0-9-]*).*/\2/p' | sort -u
}

# weir relay takes each option of its link for one direction too: listed once in help and page.
without_directions() {
    sed -E 's/^--(up|down)-/--/' | sort -u
}

# One completion's options of a command: the lines that belong to it.
flags_of_bash() {
    # shellcheck source=/dev/null
    # shellcheck disable=SC2317 # called by the sourced file
    (complete() { :; }; . completions/weir.bash; _weir_options "$1") | grep -oE -- '--[a-z][a-z0-9-]*' | sort -u
}

flags_of_zsh() {
    awk -v start="^_weir_$1\\\\(\\\\)" '$0 ~ start { on = 1 } on { print } on && /^}/ { exit }' completions/_weir |
        grep -oE -- '--[a-z][a-z0-9-]*' | sort -u
}

flags_of_fish() {
    grep -E -- "__fish_seen_subcommand_from $1[\"']" completions/weir.fish | grep -oE -- ' -l [a-z][a-z0-9-]*' |
        sed 's/^ -l /--/' | sort -u
}

# A page lists an option as the head of a paragraph: .TP, then .B or .BR with the option.
flags_of_page() {
    awk '/^\.TP/ { head = 1; next } head { print } { head = 0 }' "man/weir-$1.1" | sed 's/\\-/-/g' |
        grep -oE -- '--[a-z][a-z0-9-]*' | sort -u
}

for command in send recv pipe tunnel serve relay perf top ctl sim flood; do
    want=$(flags_of_help "$command")
    [ -n "$want" ] || complain "weir $command --help lists no options"
    for place in bash zsh fish page; do
        have=$("flags_of_$place" "$command" | without_directions || true)
        missing=$(comm -23 <(echo "$want") <(echo "$have") | tr '\n' ' ')
        extra=$(comm -13 <(echo "$want") <(echo "$have") | tr '\n' ' ')
        [ -z "${missing// /}" ] || complain "$command: $place lacks $missing"
        [ -z "${extra// /}" ] || complain "$command: $place has, but --help does not: $extra"
    done
done
[ "$failures" -eq 0 ] || exit 1
echo "flags: help, pages and completions agree"
