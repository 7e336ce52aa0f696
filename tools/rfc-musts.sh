#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# rfc-musts.sh - the MUSTs of RFC 9293 and the test of each, as a table; fails when one has none.
#
#     tools/rfc-musts.sh
#
# tools/rfc9293-musts.txt lists them. A packet script covers those that its first comment names
# (MUST-n), any other test those that a comment names beside "RFC 9293".
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C

# One line per pair: NUMBER NAME-OF-TEST.
named() {
    find tests -name '*.script' | sort | while read -r script; do
        awk -v name="script_tcp_$(basename "$script" .script)" '
            !/^#/ { exit }
            { while (match($0, /MUST-[0-9]+/)) {
                  print substr($0, RSTART + 5, RLENGTH - 5), name
                  $0 = substr($0, RSTART + RLENGTH) } }' "$script"
    done
    find tests \( -name '*.[ch]' -o -name '*.sh' \) | sort | while read -r file; do
        awk -v name="$(basename "$file")" '
            !/RFC 9293/ { next }
            { while (match($0, /MUST-[0-9]+/)) {
                  print substr($0, RSTART + 5, RLENGTH - 5), name
                  $0 = substr($0, RSTART + RLENGTH) } }' "$file"
    done
}

named | awk '
    NR == FNR { if (!seen[$1, $2]++) tests[$1] = tests[$1] (tests[$1] == "" ? "" : ", ") $2; next }
    /^#/ || NF == 0 { next }
    FNR > 0 && !begun++ { print "| rule | in our words | test |"; print "| --- | --- | --- |" }
    {
        split($0, field, " *[|] *")
        number = field[1] + 0
        known[number] = 1
        note = field[3]
        is_excused = sub(/^- */, "", note)
        if (tests[number] == "" && !is_excused) { missing = missing " MUST-" number }
        text = tests[number]
        if (note != "") text = text (text == "" ? "" : "; ") note
        printf "| MUST-%d | %s | %s |\n", number, field[2], text
    }
    END {
        for (number in tests) if (!(number in known)) missing = missing " MUST-" number " (unknown)"
        if (missing != "") { print "rfc-musts: without a test:" missing > "/dev/stderr"; exit 1 }
    }' - tools/rfc9293-musts.txt
