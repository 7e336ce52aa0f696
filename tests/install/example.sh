#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# example.sh - the echo server and client of examples/ talk to each other over loopback.
#
#     tests/install/example.sh ECHO_RUDP
set -euo pipefail

echo_rudp=${1:?the program}
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true' EXIT

# A port may be taken by somebody else: then the server ends at once, and another one is tried.
for _ in {1..20}; do
    address=127.0.0.1:$((20000 + RANDOM % 12000))
    "$echo_rudp" server "$address" &
    server=$!
    sleep 0.2
    kill -0 "$server" 2>/dev/null && break
    server=
done
[ -n "$server" ] || { echo "example: no port for the server" >&2; exit 1; }

text='a message that comes back'
answer=$(timeout 30 "$echo_rudp" client "$address" "$text")
grep -qF "$text" <<<"$answer" || { echo "example: the answer is '$answer'" >&2; exit 1; }
echo "example: $answer"
