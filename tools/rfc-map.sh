#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# rfc-map.sh - which rule of which specification is followed where, from the citations in comments.
#
#     tools/rfc-map.sh > docs/rfc-map.md
#
# A citation is "RFC nnnn x.y: rule" (or "RFC nnnn section x.y", "BBR draft x.y") in a comment of
# src/ or include/. A test belongs to it when it names the same RFC and section: a unit test in any
# comment, a packet script in its first one. Lines in docs/rfc-missing.txt,
# "RFC nnnn x.y | rule | why not", are the MUSTs that are not done. tools/rfc-musts.sh adds the
# MUSTs of RFC 9293.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C

cat <<'HEAD'
# Rules of the specifications, and where they are

Written by `make docs` from the citations in the comments; do not edit. A test is named when it cites
the same RFC and section.

| rule | where | in our words | test |
| --- | --- | --- | --- |
HEAD

# One line per citation: RFC number, section, file:line, text up to the end of the comment.
citations() {
    awk '
        function clean(s) {
            gsub(/^[ \t]*(\/?\*+\/?|\/\/)?[ \t]*/, "", s)
            gsub(/[ \t]*\*\/.*$/, "", s)
            return s
        }
        # Prints the citations that share the text after the last of them. A citation without a colon
        # is a mention: its place is kept, its sentence is not a rule.
        function flush_rule(    i) {
            if (count == 0) return
            gsub(/\|/, "/", text)
            if (text ~ /^[ )]*:/) sub(/^[ ):]+/, "", text)
            else text = ""
            gsub(/[ \t]+/, " ", text)
            sub(/[ (;,]*RFC [0-9]+ .*$/, "", text)
            sub(/ +$/, "", text)
            if (length(text) > 240) text = substr(text, 1, 237) "..."
            for (i = 1; i <= count; i++) printf "%s|%s|%s\n", cited[i], where, text
            count = 0
        }
        function take(line,    rest, m, part, number) {
            rest = line
            while (match(rest, /RFC [0-9]+,? (section )?[0-9A-Z]+(\.[0-9]+)*/)) {
                m = substr(rest, RSTART, RLENGTH)
                if (count > 0) text = text substr(rest, 1, RSTART - 1)
                rest = substr(rest, RSTART + RLENGTH)
                if (count > 0 && text !~ /^[ ,;\/]*(and|or)?[ ,;]*$/) flush_rule()
                split(m, part, " ")
                number = part[2]
                sub(/,/, "", number)
                section = part[3] == "section" ? part[4] : part[3]
                text = ""
                if (section !~ /^([0-9]|[A-Z](\.|$))/) continue
                cited[++count] = number "|" section
                where = FILENAME ":" FNR
            }
            if (count > 0) text = text rest
        }
        FNR == 1 { flush_rule(); open = 0 }
        {
            # The draft of BBR stands first in the map, as RFC 0 until it is printed.
            gsub(/BBR draft|draft-ietf-ccwg-bbr/, "RFC 0")
            gsub(/ sections /, " section ")
            if (count > 0 && !index($0, "RFC ")) text = text " " clean($0)
            if (index($0, "RFC ")) { if (count > 0) text = text " "; take(clean($0)) }
            if (index($0, "/*")) open = 1
            if (index($0, "*/")) open = 0
            if (!open) flush_rule()
        }
        END { flush_rule() }' "$@"
}

mapfile -t sources < <(find src include -name '*.[ch]' | sort)
mapfile -t tests < <(find tests -name '*.[ch]' | sort)
mapfile -t scripts < <(find tests -name '*.script' | sort)
{
    [ ${#sources[@]} -eq 0 ] || citations "${sources[@]}" | sed 's/^/s|/'
    [ ${#tests[@]} -eq 0 ] || citations "${tests[@]}" | sed 's/^/t|/'
    [ ${#scripts[@]} -eq 0 ] || citations "${scripts[@]}" | sed 's/^/t|/'
} | sort -t'|' -k2,2n -k3,3V -k4,4V | awk -F'|' '
    $1 == "t" { key = $2 " " $3; split($4, at, ":"); name = at[1]; sub(/.*\//, "", name)
        if (!seen[key, name]++) tests[key] = tests[key] (tests[key] == "" ? "" : ", ") name; next }
    { line[++n] = $0 }
    END {
        for (i = 1; i <= n; i++) {
            split(line[i], f, "|")
            key = f[2] " " f[3]
            name = f[2] == 0 ? "draft-ietf-ccwg-bbr" : "RFC " f[2]
            printf "| %s %s | %s | %s | %s |\n", name, f[3], f[4], f[5], tests[key]
        }
    }'

echo
echo '## The MUSTs of RFC 9293'
echo
echo 'A test that begins with script_tcp_ is a packet script (docs/tcp-scripts.md).'
echo
tools/rfc-musts.sh

echo
echo '## MUSTs that are not done'
echo
if [ -s docs/rfc-missing.txt ]; then
    echo '| rule | what it asks | why not |'
    echo '| --- | --- | --- |'
    sed 's/^/| /; s/$/ |/' docs/rfc-missing.txt
else
    echo 'None is recorded in docs/rfc-missing.txt.'
fi
