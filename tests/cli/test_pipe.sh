#!/bin/sh
# SPDX-License-Identifier: MIT
# test_pipe.sh - weir pipe both ways over loopback: bytes, ends, slow readers, exit codes.
#
#     tests/cli/test_pipe.sh WEIR
set -u
export LC_ALL=C

weir=${1:?the program}
dir=$(mktemp -d)
failures=0
listen_pid=

stop_all() {
    [ -z "$listen_pid" ] || kill "$listen_pid" 2>/dev/null
    rm -rf "$dir"
}
trap stop_all EXIT

complain() {
    echo "test_pipe: $*" >&2
    failures=$((failures + 1))
}

# The listener says its address once it listens; at most 20 s.
wait_url() {
    tries=0
    until grep -q '^listening' "$dir/listen.err"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 400 ]; then
            complain "no listener after 20 s"
            exit 1
        fi
        sleep 0.05
    done
    url=$(sed -n 's/^listening on //p' "$dir/listen.err")
}

# start_listen INPUT OUTPUT
start_listen() {
    : >"$dir/listen.err"
    "$weir" pipe -l rudp://127.0.0.1:0 <"$1" >"$2" 2>"$dir/listen.err" &
    listen_pid=$!
    wait_url
}

# end_listen CODE
end_listen() {
    wait "$listen_pid"
    code=$?
    listen_pid=
    [ "$code" -eq "$1" ] || complain "the listener ended with $code, not $1: $(cat "$dir/listen.err")"
}

head -c 3000001 /dev/urandom >"$dir/there"
head -c 1000001 /dev/urandom >"$dir/back"
: >"$dir/empty"

# Both directions at once, and each with nothing.
for pair in there:back empty:back there:empty empty:empty; do
    start_listen "$dir/${pair#*:}" "$dir/got_there"
    "$weir" pipe "$url" <"$dir/${pair%:*}" >"$dir/got_back" 2>"$dir/err" ||
        complain "$pair: exit $?: $(cat "$dir/err")"
    end_listen 0
    cmp "$dir/${pair%:*}" "$dir/got_there" || complain "$pair: what went there differs"
    cmp "$dir/${pair#*:}" "$dir/got_back" || complain "$pair: what came back differs"
    [ ! -s "$dir/err" ] || complain "$pair: $(cat "$dir/err")"
done

# A half-closed pipe: the answer is written after the question has ended.
mkfifo "$dir/answer" "$dir/question"
: >"$dir/listen.err"
"$weir" pipe -l rudp://127.0.0.1:0 <"$dir/answer" >"$dir/question" 2>"$dir/listen.err" &
listen_pid=$!
sha256sum >"$dir/answer" <"$dir/question" &
wait_url
"$weir" pipe "$url" <"$dir/there" >"$dir/got" || complain "question and answer: exit $?"
end_listen 0
[ "$(cat "$dir/got")" = "$(sha256sum <"$dir/there")" ] || complain "the answer differs"

# A reader that is slower than any buffer in between: nothing is lost, the writer waits.
for _ in 1 2 3 4 5 6 7 8; do cat "$dir/there"; done >"$dir/long"
: >"$dir/listen.err"
"$weir" pipe -l rudp://127.0.0.1:0 <"$dir/empty" >"$dir/question" 2>"$dir/listen.err" &
listen_pid=$!
(sleep 1; cat) <"$dir/question" >"$dir/got" &
reader=$!
wait_url
"$weir" pipe "$url" <"$dir/long" >"$dir/got_back" || complain "slow reader: exit $?"
end_listen 0
wait "$reader"
cmp "$dir/long" "$dir/got" || complain "after a slow reader the bytes differ"

# A listener that is killed, one that is of another kind, and none.
mkfifo "$dir/open"
start_listen "$dir/empty" "$dir/got_there"
"$weir" pipe "$url" --timeout 1s <>"$dir/open" >"$dir/got_back" 2>"$dir/err" &
client=$!
echo x >"$dir/open" # opened both ways by the client: does not block
tries=0
until [ -s "$dir/got_there" ] || [ "$tries" -gt 400 ]; do
    tries=$((tries + 1))
    sleep 0.05
done
kill -9 "$listen_pid"
wait "$listen_pid" 2>/dev/null
listen_pid=
wait "$client"
[ $? -eq 1 ] || complain "the peer was killed, and the exit code is not 1"
[ "$(wc -l <"$dir/err")" -eq 1 ] || complain "not one line: $(cat "$dir/err")"

: >"$dir/listen.err"
"$weir" recv rudp://127.0.0.1:0 -o "$dir" --once 2>"$dir/listen.err" &
listen_pid=$!
wait_url
"$weir" pipe "${url%,*}" <"$dir/there" >"$dir/got" 2>"$dir/err"
[ $? -eq 1 ] || complain "pipe to recv does not end with 1"
[ "$(wc -l <"$dir/err")" -eq 1 ] || complain "pipe to recv, not one line: $(cat "$dir/err")"
end_listen 1
[ ! -s "$dir/got" ] || complain "pipe to recv wrote something"

"$weir" pipe rudp://127.0.0.1:9 --timeout 300ms <"$dir/there" >"$dir/got" 2>"$dir/err"
[ $? -eq 1 ] || complain "nobody there, and the exit code is not 1"
[ "$(wc -l <"$dir/err")" -eq 1 ] || complain "nobody there: $(cat "$dir/err")"

# Output that cannot be written.
if [ -c /dev/full ]; then
    start_listen "$dir/empty" /dev/full
    "$weir" pipe "$url" <"$dir/there" >"$dir/got_back" 2>"$dir/err"
    [ $? -eq 1 ] || complain "the peer's output was full, and the exit code is not 1"
    end_listen 1
    grep -q 'No space left' "$dir/listen.err" || complain "full: $(cat "$dir/listen.err")"
fi

[ "$failures" -eq 0 ] || exit 1
echo "test_pipe: all passed"
