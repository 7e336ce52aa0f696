#!/bin/sh
# SPDX-License-Identifier: MIT
# test_kcp.sh - send, recv and pipe over kcp://: presets, ciphers, error correction, loss, resume,
# bare streams, peers that do not fit, wrong use.
#
#     tests/cli/test_kcp.sh WEIR [- PART...]
set -u
export LC_ALL=C
unset WEIR_KEY

weir=${1:?the program}
dir=$(mktemp -d)
failures=0
pids=

stop_all() {
    for pid in $pids; do
        kill "$pid" 2>/dev/null
    done
    rm -rf "$dir"
}
trap stop_all EXIT

complain() {
    echo "test_kcp: $*" >&2
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

# listen LOG COMMAND...: starts it in the background; sets pid and url.
listen() {
    log=$1
    shift
    : >"$log"
    # A command in the background has no standard input but an explicit one.
    exec 3<&0
    "$weir" "$@" <&3 2>"$log" &
    pid=$!
    exec 3<&-
    pids="$pids $pid"
    wait_until grep -q '^listening' "$log" || exit 1
    url=$(sed -n 's/^listening on \([^,]*\).*/\1/p' "$log")
}

# finish PID CODE WHAT: waits for it.
finish() {
    wait "$1"
    code=$?
    [ "$code" -eq "$2" ] || complain "$3 ended with $code, not $2: $(cat "$dir/listen.err")"
}

recv() {
    listen "$dir/listen.err" recv kcp://127.0.0.1:0 -o "$dir/in" "$@"
}

# expect CODE PATTERN COMMAND...: exit code, and one line of stderr with PATTERN.
expect() {
    want=$1
    pattern=$2
    shift 2
    timeout 60 "$weir" "$@" >"$dir/out" 2>"$dir/err" </dev/null
    code=$?
    [ "$code" -eq "$want" ] || complain "$*: exit $code, not $want: $(cat "$dir/err")"
    [ "$(wc -l <"$dir/err")" -eq 1 ] || complain "$*: not one line: $(cat "$dir/err")"
    grep -q -- "$pattern" "$dir/err" || complain "$*: '$(cat "$dir/err")' lacks '$pattern'"
}

send() {
    timeout 60 "$weir" send --quiet "$@" 2>"$dir/send.err" || {
        complain "send $*: $? $(cat "$dir/send.err")"
        exit 1 # the receiver would wait for ever
    }
}

json() {
    sed -n "s/^.*\"$1\":[[:space:]]*\"\{0,1\}\([^\",]*\).*/\1/p" "$dir/result.json"
}

size_is_over() {
    [ "$(stat -c %s "$1")" -gt "$2" ]
}

# carry FILE OPTION...: one transfer with the same options at both ends.
carry() {
    file=$1
    shift
    recv --once "$@"
    send "$file" "$url" "$@"
    finish "$pid" 0 "recv $*"
    cmp "$file" "$dir/in/$(basename "$file")" || complain "$*: the file differs"
    rm -rf "$dir/in"
}

# relay OPTION...: in front of url; sets relayed.
relay() {
    : >"$dir/relay.out"
    "$weir" relay -l 127.0.0.1:0 -r "${url#*://}" "$@" >"$dir/relay.out" 2>"$dir/relay.err" &
    relay_pid=$!
    pids="$pids $relay_pid"
    wait_until grep -q '^listening' "$dir/relay.out" || exit 1
    relayed=kcp://127.0.0.1:$(sed -n 's/^listening on .*:\([0-9]*\), .*/\1/p' "$dir/relay.out")
}

names_of() {
    "$weir" pipe kcp://127.0.0.1:1 "$1" nonsense 2>&1 | sed 's/.*there are //; s/,//g'
}

head -c 300000 /dev/urandom >"$dir/file"
head -c 20000 /dev/urandom >"$dir/small"
echo 'correct horse' >"$dir/key"

test_presets() {
    presets=$(names_of --preset)
    [ "$(echo "$presets" | wc -w)" -ge 10 ] || complain "presets: $presets"
    for preset in $presets; do
        carry "$dir/file" --preset "$preset"
    done
}

test_ciphers() {
    ciphers=$(names_of --crypt)
    [ "$(echo "$ciphers" | wc -w)" -ge 13 ] || complain "ciphers: $ciphers"
    for cipher in $ciphers aes null; do
        carry "$dir/small" --crypt "$cipher" --key "@$dir/key"
    done
    carry "$dir/small" --key example --mtu 576 --window 64,32
    # A key by file, by command line and by the environment is the same key.
    recv --once --key "@$dir/key"
    (WEIR_KEY='correct horse' && export WEIR_KEY && send "$dir/small" "$url" --crypt aes-256)
    finish "$pid" 0 'recv with a key file'
    cmp "$dir/small" "$dir/in/small" || complain "key in the environment: the file differs"
    rm -rf "$dir/in"
}

test_windows() {
    # Different MTU, window and preset at the ends; a window that holds little.
    recv --window 4 --mtu 300
    send "$dir/file" "$url" --preset turbo --mtu 1300
    cmp "$dir/file" "$dir/in/file" || complain "small window: the file differs"
    kill "$pid"
    finish "$pid" 0 'recv with a small window'
    rm -rf "$dir/in"
}

test_loss() {
    mkdir -p "$dir/tree/sub/empty"
    cp "$dir/file" "$dir/tree/sub/file"
    : >"$dir/tree/nothing"
    for i in 1 2 3 4 5 6 7 8 9; do
        head -c "${i}000" /dev/urandom >"$dir/tree/sub/$i"
    done
    for options in '' '--fec 10,3' "--crypt aes --key @$dir/key --fec 10,3" '--cc bbr'; do
        # shellcheck disable=SC2086 # several words
        recv --once --preset turbo $options
        relay --loss 10% --delay 5ms --reorder 3% --duplicate 2% --seed 7
        # shellcheck disable=SC2086
        send "$dir/tree" "$relayed" --preset turbo $options
        finish "$pid" 0 "recv with loss $options"
        diff -r "$dir/tree" "$dir/in/tree" || complain "loss $options: the tree differs"
        kill "$relay_pid"
        rm -rf "$dir/in"
    done
}

test_resume() {
    head -c 12000000 /dev/urandom >"$dir/large"
    recv --preset turbo --key example
    relay --rate 100mbit --delay 2ms --loss 1%
    port=${url##*:}
    "$weir" send "$dir/large" "$relayed" --preset turbo --window 1024 --key example --timeout 2s \
        --quiet 2>"$dir/send.err" &
    sender=$!
    wait_until size_is_over "$dir/in/large.part" 2000000
    kill -9 "$pid"
    wait "$pid" 2>/dev/null
    wait "$sender"
    [ $? -eq 1 ] || complain "send to a killed receiver does not end with 1"
    [ "$(wc -l <"$dir/send.err")" -eq 1 ] || complain "not one line: $(cat "$dir/send.err")"
    grep -q 'resume' "$dir/send.err" || complain "no word of resuming: $(cat "$dir/send.err")"
    had=$(stat -c %s "$dir/in/large.part")
    listen "$dir/listen.err" recv "kcp://127.0.0.1:$port" -o "$dir/in" --preset turbo --key example
    send "$dir/large" "$relayed" --preset turbo --window 1024 --key example --json "$dir/result.json"
    [ "$(json resumed_bytes)" = "$had" ] || complain "of $had bytes $(json resumed_bytes) were resumed"
    cmp "$dir/large" "$dir/in/large" || complain "the resumed file differs"

    # Interrupted by its user: the receiver learns it, and says so at once.
    rm "$dir/in/large"
    "$weir" send "$dir/large" "$relayed" --preset turbo --window 1024 --key example --quiet \
        2>"$dir/send.err" &
    sender=$!
    wait_until size_is_over "$dir/in/large.part" 2000000
    kill "$sender"
    wait "$sender"
    [ $? -eq 1 ] || complain "an interrupted send does not end with 1"
    wait_until grep -q 'broke off: .*stopped' "$dir/listen.err" ||
        complain "the receiver was not told: $(cat "$dir/listen.err")"
    kill "$relay_pid" "$pid"
    finish "$pid" 0 'recv after a resume'
    rm -rf "$dir/in"
}

test_strangers() {
    # Other keys and ciphers: silence, and a line that says what may be wrong.
    recv --key right
    expect 1 'the same --crypt and --key' send "$dir/small" "$url" --timeout 1s --key wrong
    expect 1 'the same --crypt and --key' send "$dir/small" "$url" --timeout 1s
    expect 1 'the same --crypt and --key' pipe "$url" --timeout 1s --crypt salsa20 --key right
    grep -q 'warning: .*--key' "$dir/listen.err" || complain "no warning: $(cat "$dir/listen.err")"
    send "$dir/small" "$url" --key right
    kill "$pid"
    finish "$pid" 0 'recv among strangers'

    # A peer that is another command, one that is no weir, one that never answers, one that is busy.
    recv
    expect 1 'weir recv\|closed\|not weir' pipe "$url"
    expect 1 '.' pipe --raw "$url" --timeout 2s
    kill "$pid"
    finish "$pid" 0 'recv among commands'
    listen "$dir/listen.err" pipe --raw -l kcp://127.0.0.1:0 --timeout 3s </dev/null >"$dir/out.raw"
    expect 1 'no answer within' send "$dir/small" "$url" --timeout 1s
    finish "$pid" 0 'a bare listener'
    mkfifo "$dir/open"
    listen "$dir/listen.err" pipe -l kcp://127.0.0.1:0 <>"$dir/open" >"$dir/out.pipe"
    "$weir" pipe "$url" <>"$dir/open" >"$dir/out.first" 2>"$dir/err.first" &
    first=$!
    sleep 0.5
    expect 1 'refused.*its one peer' pipe "$url"
    kill "$first"
    wait "$first"
    finish "$pid" 1 'pipe with one peer'
    grep -q 'stopped by its user' "$dir/listen.err" || complain "$(cat "$dir/listen.err")"
    expect 1 'no answer within 300 ms' send "$dir/small" kcp://127.0.0.1:9 --timeout 300ms
    rm -rf "$dir/in"
}

test_pipe() {
    head -c 1000001 /dev/urandom >"$dir/there"
    head -c 300001 /dev/urandom >"$dir/back"
    : >"$dir/empty"
    for pair in there:back empty:back there:empty empty:empty; do
        listen "$dir/listen.err" pipe -l kcp://127.0.0.1:0 --key k --fec 4,2 \
            <"$dir/${pair#*:}" >"$dir/got_there"
        timeout 60 "$weir" pipe "$url" --key k --fec 4,2 <"$dir/${pair%:*}" >"$dir/got_back" \
            2>"$dir/err" || complain "pipe $pair: exit $?: $(cat "$dir/err")"
        finish "$pid" 0 "pipe -l $pair"
        cmp "$dir/${pair%:*}" "$dir/got_there" || complain "pipe $pair: what went there differs"
        cmp "$dir/${pair#*:}" "$dir/got_back" || complain "pipe $pair: what came back differs"
    done
    # A reader that is slower than any buffer in between.
    for _ in 1 2 3 4 5 6 7 8; do cat "$dir/there"; done >"$dir/long"
    mkfifo "$dir/question"
    : >"$dir/listen.err"
    listen "$dir/listen.err" pipe -l kcp://127.0.0.1:0 --preset turbo --window 4096 \
        <"$dir/empty" >"$dir/question" &
    (sleep 1; cat) <"$dir/question" >"$dir/got" &
    reader=$!
    wait_until grep -q '^listening' "$dir/listen.err"
    url=$(sed -n 's/^listening on //p' "$dir/listen.err")
    timeout 60 "$weir" pipe "$url" --preset turbo --window 4096 <"$dir/long" >"$dir/got_back" ||
        complain "slow reader: exit $?"
    wait "$reader"
    cmp "$dir/long" "$dir/got" || complain "after a slow reader the bytes differ"
}

test_raw() {
    # The sender ends by itself, the listener by the sender's silence; both ways, with loss.
    for options in '--preset kcptun-fast3' '--crypt salsa20 --key k --fec 10,3'; do
        # shellcheck disable=SC2086
        listen "$dir/listen.err" pipe --raw -l kcp://127.0.0.1:0 --timeout 2s $options \
            <"$dir/back" >"$dir/got_there"
        relay --loss 5% --delay 2ms --reorder 2%
        # shellcheck disable=SC2086
        timeout 60 "$weir" pipe --raw "$relayed" --timeout 5s $options <"$dir/there" \
            >"$dir/got_back" 2>"$dir/err" || complain "raw $options: exit $?: $(cat "$dir/err")"
        finish "$pid" 0 "raw $options"
        kill "$relay_pid"
        cmp "$dir/there" "$dir/got_there" || complain "raw $options: what went there differs"
        cmp "$dir/back" "$dir/got_back" || complain "raw $options: what came back differs"
    done
    expect 1 'does not answer' pipe --raw kcp://127.0.0.1:9 --timeout 300ms
}

test_usage() {
    to=kcp://127.0.0.1:9
    for command in "send $dir/small" recv pipe perf; do
        # shellcheck disable=SC2086
        while read -r pattern options; do
            expect 2 "$pattern" $command "$to" $options
        done <<EOT
aes-128.*salsa20.*sm4 --crypt tea --key k
aes-128.*salsa20.*sm4 --crypt xtea --key k
aes-128 --crypt AES --key k
gaming.*kcptun-fast3 --preset quick
needs.a.key --crypt aes
cannot.read --key @$dir/missing
empty --key @$dir/empty
window --window 0
window --window 32769
window --window 1,2,3
mtu --mtu 49
mtu --mtu 1501
mtu --mtu x
fec --fec 10
fec --fec 0,3
fec --fec 200,100
EOT
    done
    expect 2 '--fec is for kcp' send "$dir/small" rudp://127.0.0.1:9 --fec 10,3
    expect 2 '--preset is for kcp' pipe rudp://127.0.0.1:9 --preset turbo
    expect 2 '--raw is for kcp' pipe rudp://127.0.0.1:9 --raw
    expect 2 'rudp:// takes' recv rudp://127.0.0.1:0 --mtu 1000
    expect 2 'delivery only' perf "$to" --guarantee none
    expect 2 'one connection' perf "$to" --fec 10,3 --connections 2
}

: >"$dir/empty"
for part in ${3:-presets ciphers windows loss resume strangers pipe raw usage}; do
    "test_$part"
done
[ "$failures" -eq 0 ] || exit 1
echo "test_kcp: all passed"
