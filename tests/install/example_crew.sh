#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# example_crew.sh - clients of examples/echo_rudp.c are answered by echo_crew, with every number of
# workers.
#
#     tests/install/example_crew.sh ECHO_CREW ECHO_RUDP
set -euo pipefail

echo_crew=${1:?the server}
echo_rudp=${2:?its clients}
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT

fail() {
    echo "example_crew: $*" >&2
    cat "$work/out" "$work/err" >&2
    exit 1
}

# A port may be taken by somebody else: then the server ends at once, and another one is tried.
mkfifo "$work/in"
for _ in {1..20}; do
    address=127.0.0.1:$((20000 + RANDOM % 12000))
    "$echo_crew" "$address" <"$work/in" >"$work/out" 2>"$work/err" &
    server=$!
    exec {input}>"$work/in"
    sleep 0.2
    kill -0 "$server" 2>/dev/null && break
    exec {input}>&-
    server=
done
[ -n "$server" ] || fail 'no port for the server'

# Beyond the bounds: said, and the server goes on.
for workers in 1 3 8 9 2 1; do
    echo "$workers" >&"$input"
    for text in "one of $workers" "another of $workers"; do
        answer=$(timeout 30 "$echo_rudp" client "$address" "$text" 2>/dev/null) || fail "no answer to '$text'"
        [ "$answer" = "$text" ] || fail "the answer to '$text' is '$answer'"
    done
done
exec {input}>&-
wait "$server" || fail 'the server failed'
server=
[ "$(grep -c ' workers$' "$work/out")" = 5 ] || fail 'not five changes'
grep -q '1 to 8 workers' "$work/err" || fail 'nothing was said of 9 workers'
[ "$(awk '/^worker/ { sum += $3 } END { print sum }' "$work/out")" -ge 36 ] || fail 'too few packets were counted'
echo "example_crew: $(grep '^worker' "$work/out" | tr '\n' ';')"
