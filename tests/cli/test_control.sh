#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# test_control.sh - a running weir watched and steered: weir ctl, weir top, signals, metrics.
#
#     test_control.sh WEIR TERMINAL_PROBE
#
# All over loopback; weir top on a terminal that the probe makes.
set -euo pipefail
weir=$1
probe=$2
dir=$(mktemp -d)
export XDG_RUNTIME_DIR=$dir/run
export LC_ALL=C
mkdir -m 700 "$XDG_RUNTIME_DIR"
pids=()
failed=0

finish() {
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    rm -rf "$dir"
}
trap finish EXIT

fail() {
    echo "FAILED: $*" >&2
    failed=1
}

# start NAME OPTION...: a server on a port of its own, its process in $pid.
start() {
    local name=$1 tries=0
    shift
    "$weir" perf -l rudp://127.0.0.1:0 --workers 2 "$@" >"$dir/$name.out" 2>"$dir/$name.err" &
    pid=$!
    pids+=("$pid")
    until grep -q listening "$dir/$name.err" && "$weir" ctl json --socket "${socket:-$XDG_RUNTIME_DIR/weir/$pid.sock}" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 400 ] || { fail "$name did not start: $(cat "$dir/$name.err")"; exit 1; }
        sleep 0.05
    done
}

# stop PID: it ends as asked.
stop() {
    local code=0
    kill "$1"
    wait "$1" || code=$?
    [ $code = 0 ] || fail "$1 ended with $code"
}

# refuse CODE WORDS COMMAND...: this exit code, one line or more, these words in it.
refuse() {
    local code=$1 words=$2 got=0
    shift 2
    "$weir" "$@" >"$dir/refused.out" 2>"$dir/refused" </dev/null || got=$?
    [ $got = "$code" ] || fail "weir $*: exit $got, not $code: $(cat "$dir/refused")"
    grep -qF -- "$words" "$dir/refused" || fail "weir $*: no '$words': $(cat "$dir/refused")"
    [ ! -s "$dir/refused.out" ] || fail "weir $*: on standard output: $(cat "$dir/refused.out")"
}

# number FILE NAME: the first of this name.
number() {
    awk -v name="\"$2\":" 'match($0, name "[-0-9.e+]+") {
        print substr($0, RSTART + length(name), RLENGTH - length(name))
        exit
    }' "$1"
}

# await WORKERS: until so many run and nothing changes.
await() {
    local tries=0
    until "$weir" ctl json >"$dir/json" && [ "$(number "$dir/json" wanted)" = "$1" ] &&
        grep -q '"settled":true' "$dir/json" && [ "$(number "$dir/json" workers)" = "$1" ]; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || { fail "never $1 workers: $(head -c 400 "$dir/json")"; return; }
        sleep 0.05
    done
}

# --- nobody there, wrong use ----------------------------------------------------------------------

# Other tests, at the same time, may run weirs that are at another usual place.
others() {
    { find /run/weir "/tmp/weir-$(id -u)" -name '*.sock' 2>/dev/null || true; } | wc -l
}
for command in 'ctl status' 'top --once'; do
    before=$(others)
    # shellcheck disable=SC2086 # two words
    "$weir" $command >"$dir/out" 2>"$dir/nobody" </dev/null || true
    [ "$before$(others)" != 00 ] || grep -q 'no weir of this user' "$dir/nobody" ||
        fail "weir $command: $(cat "$dir/nobody")"
done
refuse 1 'no such socket' ctl status --socket "$dir/none"
refuse 1 'no such socket' top "$dir/none"
refuse 2 'resize' ctl
refuse 2 'resize needs' ctl resize
refuse 2 'not a number' ctl resize -- -1
refuse 2 'not a number' ctl resize many
refuse 2 'too many' ctl resize 1 2
refuse 2 'too many' ctl status 2
refuse 2 'shrink' ctl shrink
refuse 2 '--timeout' ctl status --timeout 3s
refuse 2 '--interval' top --interval 1ms
refuse 2 'one socket' top a b
refuse 2 '--workers' perf -l rudp://127.0.0.1:0 --control "$dir/x"
touch "$dir/file"
refuse 1 'no socket' perf -l rudp://127.0.0.1:0 --workers 2 --control "$dir/file"
refuse 1 '--metrics' perf -l rudp://127.0.0.1:0 --workers 2 --control none --metrics 192.0.2.1:1

# Whoever answers may say anything, but not to the terminal.
if perl -MIO::Socket::UNIX -e 1 2>/dev/null; then
    # shellcheck disable=SC2016 # Perl's
    perl -MIO::Socket::UNIX -e '
        my $door = IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 1) or die;
        my $guest = $door->accept;
        <$guest>;
        print $guest "{\"error\":\"\\u001b[2Jno\"}\n"' "$dir/liar" &
    pids+=($!)
    tries=0
    until [ -S "$dir/liar" ] || [ $tries = 200 ]; do
        tries=$((tries + 1))
        sleep 0.05
    done
    refuse 1 '?[2Jno' ctl status --socket "$dir/liar"
fi

# --- one server -----------------------------------------------------------------------------------

start one --metrics 127.0.0.1:0
first=$pid
[ "$(stat -c %a "$XDG_RUNTIME_DIR/weir/$first.sock")" = 600 ] || fail 'the mode of the socket'
[ "$(stat -c %a "$XDG_RUNTIME_DIR/weir")" = 700 ] || fail 'the mode of its directory'
"$weir" ctl status >"$dir/status" || fail 'ctl status'
grep -q '^workers  *2 of ' "$dir/status" || fail "status: $(cat "$dir/status")"
"$weir" ctl json >"$dir/json" || fail 'ctl json'
[ "$(number "$dir/json" pid)" = "$first" ] || fail "pid: $(head -c 300 "$dir/json")"
if command -v jq >/dev/null; then
    jq -e '(.worker | length) == 2 and (.shard | length) == 61 and .settled and
        (.drops | type) == "object"' "$dir/json" >/dev/null || fail 'json'
fi
max=$(number "$dir/json" max)
metrics=$(sed 's/.*"metrics":"\([^"]*\)".*/\1/' "$dir/json")
local=$(sed 's/.*"local":"\([^"]*\)".*/\1/' "$dir/json")

# With traffic all the time.
"$weir" perf "rudp://$local" --mode message --connections 20 --seconds 8 --json >"$dir/client" 2>"$dir/client.err" &
client=$!
pids+=("$client")

for workers in 3 1 2; do
    "$weir" ctl resize $workers >"$dir/out" || fail "resize $workers"
    grep -qx "$workers workers\?" "$dir/out" || fail "resize $workers says $(cat "$dir/out")"
    await $workers
done
refuse 1 "1 to $max" ctl resize 0
refuse 1 "1 to $max" ctl resize $((max + 1))
refuse 1 "1 to $max" ctl resize 4000000000
kill -USR1 "$first"
await 3
kill -USR2 "$first"
await 2
# It is asked by two at once.
"$weir" ctl resize 3 >"$dir/a" 2>&1 &
one=$!
"$weir" ctl resize 3 >"$dir/b" 2>&1 || fail "two at once: $(cat "$dir/b")"
wait $one || fail "two at once: $(cat "$dir/a")"
await 3

# --- metrics --------------------------------------------------------------------------------------

# check_metrics FILE: Prometheus' text format 0.0.4, strictly.
check_metrics() {
    awk '
        function bad(why) { print FILENAME ":" FNR ": " why ": " $0; wrong = 1 }
        function is_name(name) { return name ~ /^[a-zA-Z_:][a-zA-Z0-9_:]*$/ }
        $1 == "#" && $2 == "HELP" {
            if (!is_name($3) || NF < 4 || $3 in help) bad("help")
            help[$3] = 1
            next
        }
        $1 == "#" && $2 == "TYPE" {
            if (!is_name($3) || NF != 4 || $4 !~ /^(counter|gauge|histogram)$/) bad("type")
            if ($3 in type) bad("a type twice")
            if (!($3 in help)) bad("no help before")
            if (($4 == "counter") != ($3 ~ /_total$/)) bad("counters end in _total")
            if ($3 ~ /_(ns|ms|us|milliseconds|permille|percent)(_|$)/) bad("no base unit")
            type[$3] = $4
            family = $3
            next
        }
        /^#/ || /^$/ || /^ / || / $/ { bad("line"); next }
        {
            series = $0
            sub(/ [^ ]*$/, "", series)
            value = substr($0, length(series) + 2)
            name = series
            sub(/\{.*/, "", name)
            labels = substr(series, length(name) + 1)
            if (!is_name(name)) bad("name")
            base = name
            if (type[family] == "histogram") sub(/_(bucket|sum|count)$/, "", base)
            if (base != family) bad("not below its type")
            if (labels != "" && labels !~ /^\{[a-zA-Z_][a-zA-Z0-9_]*="([^"\\]|\\["\\n])*"(,[a-zA-Z_][a-zA-Z0-9_]*="([^"\\]|\\["\\n])*")*\}$/)
                bad("labels")
            if (value !~ /^[0-9]+(\.[0-9]+)?$/) bad("value")
            if (series in seen) bad("twice")
            seen[series] = 1
            samples++
            if (name ~ /_bucket$/) {
                if (labels !~ /le="/ || value + 0 < last + 0) bad("bucket")
                last = value
                has_inf = labels ~ /le="\+Inf"/
            }
            if (name ~ /_count$/ && (!has_inf || value != last)) bad("count is not that of +Inf")
        }
        END { if (samples < 100) { print "only " samples " samples"; wrong = 1 } exit wrong }' "$1"
}

# The checker sees what is wrong.
for text in 'weir_x 1' '# HELP weir_x a
# TYPE weir_x counter
weir_x 1' '# HELP weir_x a
# TYPE weir_x gauge
weir_x -a'; do
    echo "$text" >"$dir/bad"
    check_metrics "$dir/bad" >"$dir/why" || true
    grep -q ':[0-9]*: ' "$dir/why" || fail "the checker takes: $text"
done

if command -v curl >/dev/null; then
    curl -s -D "$dir/head" "http://$metrics/metrics" >"$dir/metrics" || fail 'curl'
    grep -q '^HTTP/1.1 200' "$dir/head" || fail "metrics: $(cat "$dir/head")"
    grep -qi '^Content-Type: text/plain; version=0.0.4' "$dir/head" || fail "type: $(cat "$dir/head")"
    check_metrics "$dir/metrics" || fail 'the text format'
    for line in 'weir_workers 3' 'weir_worker_shards{worker="0"} [1-9]' 'weir_settled [01]' \
        'weir_shard_received_packets_total{shard="60"} ' 'weir_worker_busy_seconds_total{worker="0"} ' \
        'weir_dropped_packets_total{reason="checksum"} 0' 'weir_handover_pause_seconds_count [1-9]'; do
        grep -q "^$line" "$dir/metrics" || fail "metrics: no $line"
    done
    [ "$(curl -s -o "$dir/out" -w '%{http_code}' "http://$metrics/")" = 404 ] || fail 'not 404'
    [ "$(curl -s -o "$dir/out" -w '%{http_code}' -d x "http://$metrics/metrics")" = 405 ] || fail 'not 405'
    code=0
    curl -s -I "http://$metrics/metrics" >"$dir/head" || code=$?
    [ $code = 0 ] && grep -q '^HTTP/1.1 200' "$dir/head" || fail 'HEAD'
fi
host=${metrics%:*}
port=${metrics##*:}
# A head without an end, and one that is too long.
exec 3<>"/dev/tcp/$host/$port"
printf 'GET /metrics HT' >&3
exec 4<>"/dev/tcp/$host/$port"
{ printf 'GET /metrics HTTP/1.1\r\nX: '; head -c 9000 /dev/zero | tr '\0' a; } >&4 2>/dev/null || true
timeout 20 cat <&4 >"$dir/long" 2>/dev/null || true
grep -q '^HTTP/1.1 431' "$dir/long" || fail "too long: $(head -c 200 "$dir/long")"
exec 4<&- 4>&-
# The silent one is dropped.
timeout 20 cat <&3 >"$dir/silent" || fail 'a silent client stays'
[ ! -s "$dir/silent" ] || fail 'a silent client was answered'
exec 3<&- 3>&-

# --- top ------------------------------------------------------------------------------------------

"$weir" top --once --interval 200ms </dev/null >"$dir/top" || fail 'top --once'
grep -q "^weir perf rudp://$local  *pid $first" "$dir/top" || fail "top: $(head -n 3 "$dir/top")"
[ "$(grep -c '^ *[0-9]* *[0-9]' "$dir/top")" = 64 ] || fail "top: not 3 workers and 61 shards: $(cat "$dir/top")"
! grep -q $'\033' "$dir/top" || fail 'control sequences in a file'
# A terminal that changes its size meanwhile.
"$weir" top --once --interval 1s >"$dir/top" </dev/null &
watcher=$!
pids+=("$watcher")
for _ in $(seq 30); do
    kill -WINCH "$watcher" 2>/dev/null || true
    sleep 0.05
done
wait "$watcher" || fail 'top --once'
[ "$(grep -c '^connections' "$dir/top")" = 1 ] || fail 'top --once prints more than once'
"$weir" top --interval 100ms >"$dir/top" </dev/null &
watcher=$!
pids+=("$watcher")
tries=0
until [ "$(grep -c '^connections' "$dir/top")" -ge 3 ] || [ $tries = 200 ]; do
    tries=$((tries + 1))
    sleep 0.05
done
[ $tries -lt 200 ] || fail 'top into a file: no frames'
stop "$watcher"
! grep -q $'\033' "$dir/top" || fail 'control sequences in a file'

on_terminal() {
    "$probe" "$@" || fail "terminal_probe $*"
}
on_terminal 30 90 see:WORKER 'see: SHARD' type:+ 'see:4 of' see:settled type:- 'see:3 of' \
    type:w see:WORKER type:w 'see: SHARD' type:w see:DROPPED type:s 'see:sort by connections' \
    size:8x30 see:connections type:q end:0 -- "$weir" top
on_terminal 30 90 see:SHARD TERM end:0 -- "$weir" top
on_terminal 30 90 see:SHARD INT end:0 -- "$weir" top --interval 1h
on_terminal 30 90 see:SHARD HUP end:0 -- "$weir" top
on_terminal 1 1 'see:q' type:q end:0 -- "$weir" top
on_terminal 60 200 see:SHARD deaf TERM end:0 -- "$weir" top --interval 50ms
on_terminal 30 90 see:pid end:0 -- "$weir" top --once --interval 100ms
await 3

# --- two servers, and one that is gone -------------------------------------------------------------

socket=$dir/second
start two --control "$socket"
second=$pid
socket=
"$weir" ctl status >"$dir/status" || fail 'a named socket is not at the usual place'
"$weir" ctl resize 1 --socket "$dir/second" >"$dir/out" || fail 'resize of the second'
refuse 1 'somebody listens' perf -l rudp://127.0.0.1:0 --workers 1 --control "$dir/second"
start three
third=$pid
refuse 1 '2 of them' ctl status
refuse 1 "$XDG_RUNTIME_DIR/weir/$third.sock" top --once
"$weir" top "$XDG_RUNTIME_DIR/weir/$third.sock" --once --interval 100ms >"$dir/top" || fail 'top SOCKET'
# One that stops for a while, and one that vanishes while it is watched.
kill -STOP "$third"
refuse 1 'no answer' ctl json --socket "$XDG_RUNTIME_DIR/weir/$third.sock"
kill -CONT "$third"
"$probe" 24 80 see:WORKER end:1 -- "$weir" top "$XDG_RUNTIME_DIR/weir/$third.sock" --interval 200ms &
watcher=$!
sleep 1
kill -KILL "$third"
wait "$third" 2>/dev/null || true
wait $watcher || fail 'top of one that vanished'
# What it left is no weir any more; one at the same path replaces it.
[ -S "$XDG_RUNTIME_DIR/weir/$third.sock" ] || fail 'killed, and its socket is gone'
refuse 1 'nobody listens' ctl status --socket "$XDG_RUNTIME_DIR/weir/$third.sock"
"$weir" ctl status >"$dir/status" || fail 'a dead socket counts'
socket=$XDG_RUNTIME_DIR/weir/$third.sock
start four --control "$socket"
socket=
stop "$pid"
[ ! -e "$XDG_RUNTIME_DIR/weir/$third.sock" ] || fail 'a socket is left'
stop "$second"
[ ! -e "$dir/second" ] || fail 'a socket is left'

# --- the end --------------------------------------------------------------------------------------

code=0
wait "$client" || code=$?
[ $code = 0 ] || fail "the client ended with $code: $(cat "$dir/client.err")"
[ "$(number "$dir/client" messages_sent)" = "$(number "$dir/client" messages_received)" ] ||
    fail "messages were lost: $(cat "$dir/client")"
stop "$first"
[ -z "$(ls "$XDG_RUNTIME_DIR/weir")" ] || fail "left: $(ls "$XDG_RUNTIME_DIR/weir")"
exit $failed
