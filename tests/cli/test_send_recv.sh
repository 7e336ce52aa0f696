#!/bin/sh
# SPDX-License-Identifier: MIT
# test_send_recv.sh - weir send and weir recv over loopback: what arrives is what was sent, what
# breaks off is resumed, what is wrong is said in one line with the right exit code.
#
#     tests/cli/test_send_recv.sh WEIR TRANSFER_PROBE
set -u
export LC_ALL=C

weir=${1:?the program}
probe=${2:?the transfer_probe program}
dir=$(mktemp -d)
failures=0
recv_pid=
relay_pid=
send_pid=

stop_all() {
    for pid in $recv_pid $relay_pid $send_pid; do
        kill "$pid" 2>/dev/null
    done
    chmod -R u+rwx "$dir"
    rm -rf "$dir"
}
trap stop_all EXIT

complain() {
    echo "test_send_recv: $*" >&2
    failures=$((failures + 1))
}

# wait_until COMMAND...: at most 20 s.
wait_until() {
    tries=0
    until "$@" 2>/dev/null; do
        tries=$((tries + 1))
        if [ "$tries" -gt 400 ]; then
            complain "waited 20 s for: $*"
            return 1
        fi
        sleep 0.05
    done
}

# start_recv [OPTION...]: sets recv_pid, url, port. Writes to $dir/in.
start_recv() {
    : >"$dir/recv.err"
    "$weir" recv "rudp://127.0.0.1:${recv_port:-0}" -o "$dir/in" "$@" 2>"$dir/recv.err" &
    recv_pid=$!
    wait_until grep -q '^listening' "$dir/recv.err" || exit 1
    url=$(sed -n 's/^listening on \(.*\), writing.*/\1/p' "$dir/recv.err")
    port=${url##*:}
}

stop_recv() {
    kill "$recv_pid"
    wait "$recv_pid" || complain "recv ended with $? after SIGTERM"
    recv_pid=
}

# expect CODE PATTERN COMMAND...: exit code, and one line of stderr with PATTERN.
expect() {
    want=$1
    pattern=$2
    shift 2
    "$@" >"$dir/out" 2>"$dir/err"
    code=$?
    [ "$code" -eq "$want" ] || complain "$*: exit $code, not $want: $(cat "$dir/err")"
    [ "$(wc -l <"$dir/err")" -eq 1 ] || complain "$*: not one line: $(cat "$dir/err")"
    grep -q -- "$pattern" "$dir/err" || complain "$*: '$(cat "$dir/err")' lacks '$pattern'"
}

send() {
    "$weir" send --quiet "$@" 2>"$dir/send.err" || complain "send $*: $? $(cat "$dir/send.err")"
}

json() {
    sed -n "s/^.*\"$1\":[[:space:]]*\"\{0,1\}\([^\",]*\).*/\1/p" "$dir/result.json"
}

# attributes DIRECTORY: mode, time and size of everything in it.
attributes() {
    (cd "$1" && find . -mindepth 1 \( -type f -printf '%P %m %T@ %s\n' \) -o \
        \( -type d -printf '%P %m %T@\n' \) | sort)
}

size_is_over() {
    [ "$(stat -c %s "$1")" -gt "$2" ]
}

test_single_file() {
    head -c 5000000 /dev/urandom >"$dir/file"
    chmod 640 "$dir/file"
    touch -d '2001-02-03 04:05:06.789' "$dir/file"
    start_recv --once
    send "$dir/file" "$url" --json "$dir/result.json"
    wait "$recv_pid" || complain "recv --once: $?"
    recv_pid=
    cmp "$dir/file" "$dir/in/file" || complain "the file differs"
    [ "$(stat -c '%a %.Y' "$dir/file")" = "$(stat -c '%a %.Y' "$dir/in/file")" ] ||
        complain "mode or time of the file differ"
    [ "$(json sha256)" = "$(sha256sum <"$dir/file" | cut -d' ' -f1)" ] || complain "sha256 in JSON"
    [ "$(json bytes) $(json files) $(json resumed_bytes)" = "5000000 1 0" ] ||
        complain "JSON: $(cat "$dir/result.json")"
    rm -rf "$dir/in"
}

make_tree() {
    mkdir -p "$dir/tree/sub/deep" "$dir/tree/empty" "$dir/tree/closed"
    : >"$dir/tree/nothing"
    echo one >"$dir/tree/sub/one"
    echo two >"$dir/tree/sub/deep/name with blanks"
    head -c 70000 /dev/urandom >"$dir/tree/sub/odd"
    for i in $(seq 200); do
        echo "$i" >"$dir/tree/sub/small.$i"
    done
    echo closed >"$dir/tree/closed/file"
    ln -s /etc/passwd "$dir/tree/link"
    mkfifo "$dir/tree/fifo"
    chmod 444 "$dir/tree/sub/one"
    chmod 700 "$dir/tree/empty"
    touch -d '1999-12-31' "$dir/tree/sub/one" "$dir/tree/sub/deep" "$dir/tree/empty"
    chmod 555 "$dir/tree/closed"
}

test_tree() {
    start_recv
    send "$dir/tree/" "$dir/file" "$url" --json "$dir/result.json"
    [ "$(grep -c 'left out' "$dir/send.err")" -eq 2 ] || complain "no warnings: $(cat "$dir/send.err")"
    [ "$(attributes "$dir/tree" | grep -v -e '^link ' -e '^fifo ')" = "$(attributes "$dir/in/tree")" ] ||
        complain "the tree's names, modes, times or sizes differ"
    [ ! -e "$dir/in/tree/link" ] || complain "a link arrived"
    [ ! -e "$dir/in/tree/fifo" ] || complain "a fifo arrived"
    rm "$dir/tree/link" "$dir/tree/fifo"
    diff -r "$dir/tree" "$dir/in/tree" || complain "the tree differs"
    [ "$(json files)" = 206 ] || complain "not 206 files but $(json files)"
    # Once more: all is there, nothing travels; then with --no-resume everything does.
    send "$dir/tree" "$dir/file" "$url" --json "$dir/result.json"
    [ "$(json resumed_bytes)" = "$(json bytes)" ] || complain "again: $(cat "$dir/result.json")"
    send "$dir/file" "$url" --no-resume --json "$dir/result.json"
    [ "$(json resumed_bytes)" = 0 ] || complain "--no-resume: $(cat "$dir/result.json")"
    # A .part of another file costs nothing but the comparison.
    rm "$dir/in/file"
    head -c 1000000 /dev/urandom >"$dir/in/file.part"
    send "$dir/file" "$url" --json "$dir/result.json"
    [ "$(json resumed_bytes)" = 0 ] || complain "a wrong .part was resumed"
    cmp "$dir/file" "$dir/in/file" || complain "the file over a wrong .part differs"
    # A changed file replaces the one that is there.
    echo changed >"$dir/file"
    send "$dir/file" "$url"
    cmp "$dir/file" "$dir/in/file" || complain "the changed file differs"
    # A trace that finds no room is a warning.
    send "$dir/file" "$url" --trace /dev/full
    grep -q 'trace is cut short: No space' "$dir/send.err" || complain "trace: $(cat "$dir/send.err")"
    # Several at once.
    send "$dir/tree/sub/odd" "$url" &
    first=$!
    send "$dir/tree/sub/one" "$url"
    wait "$first"
    cmp "$dir/tree/sub/odd" "$dir/in/odd" || complain "of two at once, the first differs"
    cmp "$dir/tree/sub/one" "$dir/in/one" || complain "of two at once, the second differs"
    find "$dir/in" -name '*.part' | grep . && complain "left .part files"
    stop_recv
    chmod -R u+w "$dir/in"
    rm -rf "$dir/in"
}

# start_relay: a bottleneck in front of recv, so that there is a middle to break off in.
start_relay() {
    : >"$dir/relay.out"
    "$weir" relay -l 127.0.0.1:0 -r "127.0.0.1:$port" --rate 100mbit --delay 2ms \
        >"$dir/relay.out" 2>"$dir/relay.err" &
    relay_pid=$!
    wait_until grep -q '^listening' "$dir/relay.out" || exit 1
    relay_port=$(sed -n 's/^listening on .*:\([0-9]*\), .*/\1/p' "$dir/relay.out")
    relayed=rudp://127.0.0.1:$relay_port
}

test_resume() {
    head -c 12000000 /dev/urandom >"$dir/large"
    start_recv
    start_relay
    "$weir" send "$dir/large" "$relayed" --timeout 2s --quiet 2>"$dir/send.err" &
    send_pid=$!
    wait_until size_is_over "$dir/in/large.part" 2000000
    kill -9 "$recv_pid"
    wait "$recv_pid" 2>/dev/null
    recv_pid=
    wait "$send_pid"
    code=$?
    send_pid=
    [ "$code" -eq 1 ] || complain "send to a killed receiver: exit $code"
    [ "$(wc -l <"$dir/send.err")" -eq 1 ] || complain "not one line: $(cat "$dir/send.err")"
    [ -s "$dir/in/large.part" ] || complain "no .part is left"
    [ ! -e "$dir/in/large" ] || complain "half a file is in place"
    had=$(stat -c %s "$dir/in/large.part")
    recv_port=$port
    start_recv
    recv_port=0
    send "$dir/large" "$relayed" --json "$dir/result.json"
    [ "$(json resumed_bytes)" = "$had" ] || complain "of $had bytes $(json resumed_bytes) were resumed"
    cmp "$dir/large" "$dir/in/large" || complain "the resumed file differs"
    [ ! -e "$dir/in/large.part" ] || complain "the .part is still there"

    # A sender that is killed and started again must not wait for its own ghost.
    rm "$dir/in/large"
    "$weir" send "$dir/large" "$relayed" --quiet 2>"$dir/send.err" &
    send_pid=$!
    wait_until size_is_over "$dir/in/large.part" 2000000
    kill -9 "$send_pid"
    wait "$send_pid" 2>/dev/null
    send_pid=
    send "$dir/large" "$relayed" --json "$dir/result.json"
    [ "$(json resumed_bytes)" -gt 0 ] || complain "nothing was resumed after the sender's death"
    cmp "$dir/large" "$dir/in/large" || complain "the file after the sender's death differs"

    # A file that grows meanwhile arrives as it was, with a warning. Reading is 10 MiB ahead.
    head -c 30000000 /dev/zero >"$dir/growing"
    cp "$dir/growing" "$dir/before"
    "$weir" send "$dir/growing" "$relayed" --quiet 2>"$dir/send.err" &
    send_pid=$!
    wait_until size_is_over "$dir/in/growing.part" 1000000
    echo more >>"$dir/growing"
    wait "$send_pid" || complain "a file that grew: $? $(cat "$dir/send.err")"
    send_pid=
    cmp "$dir/before" "$dir/in/growing" || complain "a file that grew arrives otherwise"
    grep -q 'changed while it was sent' "$dir/send.err" || complain "grew: $(cat "$dir/send.err")"

    # Interrupted by its user: one line, exit 1, .part kept.
    rm "$dir/in/large"
    "$weir" send "$dir/large" "$relayed" --quiet 2>"$dir/send.err" &
    send_pid=$!
    wait_until size_is_over "$dir/in/large.part" 1000000
    kill -TERM "$send_pid"
    wait "$send_pid"
    [ $? -eq 1 ] || complain "an interrupted send does not end with 1"
    send_pid=
    grep -q 'resume later' "$dir/send.err" || complain "interrupted: $(cat "$dir/send.err")"
    [ -e "$dir/in/large.part" ] || complain "an interrupted send leaves no .part"
    kill "$relay_pid"
    wait "$relay_pid"
    relay_pid=
    stop_recv
    rm -rf "$dir/in"
}

# One waits for a file that really is being received, another for its own ghost, which gives way all
# the same.
test_two_waiting() {
    truncate -s 400M "$dir/busy"
    head -c 12000000 /dev/urandom >"$dir/haunted"
    start_recv
    start_relay
    "$weir" send "$dir/busy" "$relayed" --quiet 2>/dev/null &
    busy_pid=$!
    "$weir" send "$dir/haunted" "$relayed" --quiet 2>/dev/null &
    send_pid=$!
    wait_until size_is_over "$dir/in/busy.part" 0
    wait_until size_is_over "$dir/in/haunted.part" 0
    kill -9 "$send_pid"
    wait "$send_pid" 2>/dev/null
    "$weir" send "$dir/haunted" "$url" --quiet 2>"$dir/send.err" &
    send_pid=$!
    sleep 0.3
    expect 1 'another transfer' "$weir" send "$dir/busy" "$url" --quiet
    wait "$send_pid" || complain "kept out by its own ghost: $(cat "$dir/send.err")"
    send_pid=
    cmp "$dir/haunted" "$dir/in/haunted" || complain "the haunted file differs"
    stop_recv
    wait "$busy_pid"
    kill "$relay_pid"
    wait "$relay_pid"
    relay_pid=
    rm -rf "$dir/in" "$dir/busy"
}

test_full_disk() {
    : >"$dir/recv.err"
    (
        ulimit -f 2048
        exec "$weir" recv rudp://127.0.0.1:0 -o "$dir/in" --once 2>"$dir/recv.err"
    ) &
    recv_pid=$!
    wait_until grep -q '^listening' "$dir/recv.err" || exit 1
    url=$(sed -n 's/^listening on \(.*\), writing.*/\1/p' "$dir/recv.err")
    expect 1 "cannot write 'large.part': File too large" "$weir" send "$dir/large" "$url" --quiet
    wait "$recv_pid"
    [ $? -eq 1 ] || complain "recv --once with a full disk does not end with 1"
    recv_pid=
    size_is_over "$dir/in/large.part" 1000 || complain "what fitted is not kept"
    [ ! -e "$dir/in/large" ] || complain "a cut file was put in place"
    rm -rf "$dir/in"
}

# The receiver's directory holds what must not be written through or over.
test_hostile_places() {
    mkdir -p "$dir/in" "$dir/outside"
    ln -s ../outside "$dir/in/tree"
    mkdir "$dir/in/file"
    ln -s "$dir/outside/target" "$dir/in/large.part"
    start_recv
    # None of these passes by itself: no word of trying again.
    expect 1 "cannot make the directory 'tree': [^;]*$" "$weir" send "$dir/tree" "$url" --quiet
    expect 1 "'file'[^;]*$" "$weir" send "$dir/file" "$url" --quiet
    expect 1 "'large.part'[^;]*$" "$weir" send "$dir/large" "$url" --quiet
    [ -z "$(ls -A "$dir/outside")" ] || complain "written outside: $(ls "$dir/outside")"
    rm -rf "$dir/in/tree" "$dir/in/file" "$dir/in/large.part" "$dir/in/file.part"
    for way in later:1 escape:3 absolute:3 twice:3 setuid:3 junk:2 turn:2 beyond:2; do
        timeout 30 "$probe" "$port" "${way%:*}" >"$dir/out" || complain "probe ${way%:*}: $?"
        grep -q "^${way#*:} " "$dir/out" || complain "probe ${way%:*}: told '$(cat "$dir/out")'"
    done
    timeout 30 "$probe" "$port" later | grep -q 'speaks version 1 of the file transfer' ||
        complain "a later version is not told so"
    rm -f "$dir/in/short.part"
    [ -z "$(ls -A "$dir/in")" ] || complain "a hostile sender wrote"
    [ ! -e "$dir/escaped" ] || complain "a hostile sender wrote outside"
    # After all that it still works.
    send "$dir/file" "$url"
    cmp "$dir/file" "$dir/in/file" || complain "the file after hostile senders differs"
    expect 1 'Address already in use' "$weir" recv "$url" -o "$dir/in"
    stop_recv
    rm -rf "$dir/in"
}

test_refusals() {
    nowhere=rudp://127.0.0.1:9
    expect 1 'No such file' "$weir" send "$dir/missing" "$nowhere"
    ln -s "$dir/missing" "$dir/dangling"
    expect 1 "cannot read '.*dangling': No such file" "$weir" send "$dir/dangling" "$nowhere"
    expect 1 'No such file' "$weir" send "$dir/file" "$dir/dangling" "$nowhere"
    expect 1 'no answer within' "$weir" send "$dir/file" "$nowhere" --timeout 300ms
    expect 2 'not a URL' "$weir" send "$dir/file" "$dir/large"
    expect 2 'is not known' "$weir" send "$dir/file" http://127.0.0.1:9
    expect 2 'port 0' "$weir" send "$dir/file" rudp://127.0.0.1:0
    expect 2 'missing' "$weir" send "$nowhere"
    expect 2 '--timeout' "$weir" send "$dir/file" "$nowhere" --timeout soon
    expect 2 '--mtu' "$weir" send "$dir/file" "$nowhere" --mtu 100
    expect 2 '--cc' "$weir" send "$dir/file" "$nowhere" --cc reno
    expect 1 'twice' "$weir" send "$dir/file" "$dir/file" "$nowhere"
    expect 1 'neither a file nor' "$weir" send /dev/null "$nowhere"
    expect 1 'Not a directory' "$weir" recv rudp://127.0.0.1:0 -o "$dir/file"
    expect 1 'cannot make the directory' "$weir" recv rudp://127.0.0.1:0 -o "$dir/missing/in"
    expect 1 'trace' "$weir" recv rudp://127.0.0.1:0 -o "$dir/in" --trace "$dir/missing/trace"
    if [ "$(id -u)" -ne 0 ]; then # nothing is closed to root
        mkdir "$dir/locked"
        chmod 000 "$dir/locked"
        expect 1 'Permission denied' "$weir" send "$dir/locked" "$nowhere"
        expect 1 'Permission denied' "$weir" recv rudp://127.0.0.1:0 -o "$dir/locked"
        chmod 700 "$dir/locked"
        echo secret >"$dir/locked/file"
        chmod 000 "$dir/locked/file"
        expect 1 'Permission denied' "$weir" send "$dir/locked" "$nowhere"
    fi
}

recv_port=0
test_single_file
make_tree
test_tree
test_resume
test_two_waiting
test_full_disk
test_hostile_places
test_refusals
[ "$failures" -eq 0 ] || exit 1
echo "test_send_recv: all passed"
