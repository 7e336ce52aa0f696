#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# serve_crew.sh - weir serve, and weir tunnel's server on our own IP, on several workers, whose number
# changes while bytes go both ways, in a network namespace of its own.
#
#     serve_crew.sh WEIR TUNNEL_PROBE [BYTES]
#
# curl and wrk on the kernel's TCP, over tun and over veth with packet sockets; files of BYTES (default
# 200,000,000). Needs root; ends with 77 where it cannot run. WEIR_NO_STRACE: nothing under strace.
needs=curl
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh" "$@"
weir=$1
probe=$2
bytes=${3:-200000000}
export no_proxy='*'
export XDG_RUNTIME_DIR=$work # of the control sockets
dir=$work/files
echo 1 >/proc/sys/net/ipv4/ip_forward

mkdir -p "$dir/in"
echo 'hello world' >"$dir/a.txt"
seq 1 20000 >"$dir/numbers.txt"
big_file "$dir/big" "$bytes"

# resize NAME PID...: fewer workers, then more, until all of these have ended.
resize() {
    local name=$1 count=0 signal
    shift
    while kill -0 "$@" 2>/dev/null; do
        for signal in USR2 USR2 USR2 USR1 USR1 USR1; do
            kill "-$signal" "${pid_of[$name]}"
            sleep 0.08
        done
        count=$((count + 6))
    done
    echo "  $count resizes"
    wait "$@" || fail "$name: a client ended with $?"
}

# big_files URL: four times down and up at once, with resizes.
big_files() {
    local url=$1 i clients=()
    for i in 1 2 3 4; do
        curl -sS -g -o "$work/big.$i" "$url/big" 2>>"$work/curl.err" &
        clients+=($!)
        curl -sS -f -g -T "$dir/big" -o /dev/null "$url/in/big.$i" 2>>"$work/curl.err" &
        clients+=($!)
    done
    resize server "${clients[@]}"
    for i in 1 2 3 4; do
        cmp "$work/big.$i" "$dir/big" || fail 'a big file is another'
        cmp "$dir/in/big.$i" "$dir/big" || fail 'a big upload is another'
        rm "$work/big.$i" "$dir/in/big.$i"
    done
}

# many URL: connections without number, with resizes.
many() {
    local url=$1 i clients=()
    if command -v wrk >/dev/null; then
        wrk -t2 -c200 -d3s "$url/a.txt" >"$work/out" &
        resize server $!
        ! grep -E 'Socket errors|Non-2xx' "$work/out" || fail 'wrk has errors'
        grep '^Requests/sec' "$work/out" | sed 's/^/  /'
    fi
    for i in $(seq 30); do
        curl -sS -g -f -o "$work/small.$i" "$url/numbers.txt" 2>>"$work/curl.err" &
        clients+=($!)
    done
    resize server "${clients[@]}"
    for i in $(seq 30); do
        cmp "$work/small.$i" "$dir/numbers.txt" || fail 'a small file is another'
        rm "$work/small.$i"
    done
}

# Adds one to the number in a file, often enough that nobody else did in the meantime.
count_up() {
    local url=$1 id=$2 got etag number
    for _ in $(seq 1000); do
        got=$(curl -sS -g -D "$work/head.$id" "$url/in/number")
        etag=$(sed -n 's/^ETag: \(.*\)\r$/\1/p' "$work/head.$id")
        number=$((got + 1))
        [ "$(echo "$number" | curl -sS -g -T - -H "If-Match: $etag" -o /dev/null -w '%{http_code}' \
            "$url/in/number")" = 204 ] && return
    done
    return 1
}

# uploads URL: to the same file at the same time, on different shards.
uploads() {
    local url=$1 i clients=()
    for i in $(seq 24); do
        curl -sS -g -T "$dir/a.txt" -H 'If-None-Match: *' -o /dev/null -w '%{http_code}\n' \
            "$url/in/once" >"$work/code.$i" &
        clients+=($!)
    done
    wait "${clients[@]}"
    [ "$(cat "$work"/code.* | grep -c '^201$')" -eq 1 ] || fail "not one is the first: $(cat "$work"/code.*)"
    [ "$(cat "$work"/code.* | grep -c '^412$')" -eq 23 ] || fail "not all others late: $(cat "$work"/code.*)"
    echo 0 >"$dir/in/number"
    clients=()
    for i in 1 2 3 4; do
        (for _ in 1 2 3 4 5 6 7 8; do count_up "$url" "$i" || exit 1; done) &
        clients+=($!)
    done
    wait "${clients[@]}" || fail 'counting up'
    [ "$(cat "$dir/in/number")" -eq 32 ] || fail "an upload was lost: $(cat "$dir/in/number"), not 32"
    [ -z "$(find "$dir/in" -name '.weir*')" ] || fail 'half an upload is left'
    rm "$dir/in/once" "$dir/in/number"
}

# Clients that are killed half-way, while others go on: nothing is left of theirs.
broken() {
    local url=$1 i client
    curl -sS -f -g --limit-rate 20m -o "$work/beside" "$url/big" 2>>"$work/curl.err" &
    client=$!
    for i in $(seq 20); do
        timeout "0.$((i % 5 + 1))" curl -s -g --limit-rate 2m -o /dev/null "$url/big" &
        timeout "0.$((i % 5 + 1))" curl -s -g --limit-rate 2m -T "$dir/big" "$url/in/half.$i" &
    done
    resize server "$client"
    cmp "$work/beside" "$dir/big" || fail 'beside broken clients a file is another'
    for _ in $(seq 100); do
        [ -z "$(find "$dir/in" -name '.weir*')" ] && break
        sleep 0.05
    done
    [ -z "$(find "$dir/in" -name '*half*' -o -name '.weir*')" ] || fail 'half an upload is left'
    rm "$work/beside"
}

# Requests sent ahead, which are held until their turn has come, while their shard moves.
pipelined() {
    local host=$1 i client
    for i in $(seq 200); do
        printf 'GET /numbers.txt HTTP/1.1\r\nHost: a\r\n\r\n'
    done >"$work/requests"
    printf 'GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' >>"$work/requests"
    (exec 3<>"/dev/tcp/$host/80" && cat "$work/requests" >&3 && timeout 60 cat <&3 >"$work/answers") &
    client=$!
    resize server "$client"
    [ "$(grep -ac '^HTTP/1.1 200 OK' "$work/answers")" -eq 201 ] || fail 'not all answers came'
    tail -c "$bytes" "$work/answers" | cmp - "$dir/big" || fail 'the last of many answers is another'
    rm "$work/answers"
}

# An answer on its way when the server is told to end arrives whole.
last_answer() {
    local url=$1 client
    rm -f "$work/last"
    curl -sSN -g -m 60 --limit-rate 100k -o "$work/last" "$url/numbers.txt" 2>>"$work/curl.err" &
    client=$!
    for _ in $(seq 200); do
        [ -s "$work/last" ] && break
        sleep 0.02
    done
    stop_by_signal server
    wait "$client" || fail 'the last answer is cut'
    cmp "$work/last" "$dir/numbers.txt" || fail 'the last answer is another'
    grep -q ' requests$' "$work/server.err" || fail 'no summary'
    sed -n 's/^/  /; 2,3p' "$work/server.err"
}

echo 'tun'
start server "$weir" serve "$dir" 'tcp://*:80' --upload --log "$work/access.log" --workers 4 \
    --driver tun:weir0,10.7.0.2/24,fd07::2/64
many http://10.7.0.2
uploads http://10.7.0.2
broken http://10.7.0.2
pipelined 10.7.0.2
big_files http://10.7.0.2
big_files 'http://[fd07::2]'
[ "$(awk '/^VmRSS/ {print $2}' "/proc/${pid_of[server]}/status")" -lt 600000 ] ||
    fail "the server takes $(awk '/^VmRSS/ {print $2}' "/proc/${pid_of[server]}/status") KiB"
last_answer http://10.7.0.2
# Whole lines, as many as there were answers; uploads that broke off got none.
! grep -vE '^[0-9a-f.:]+ - - \[[^]]+\] "(GET|PUT) [^"]+ HTTP/1.1" [0-9]+ [0-9]+$' "$work/access.log" ||
    fail 'a line of the log is broken'
[ "$(awk '/^answers:/ { print $2 + $5 + $7 + $9 }' "$work/server.err")" -eq "$(wc -l <"$work/access.log")" ] ||
    fail "the log has $(wc -l <"$work/access.log") lines"

if strace -o "$work/trace" -e trace=none true 2>/dev/null && [ -z "${WEIR_NO_STRACE-}" ]; then
    echo 'tun, under strace: no futex call once it runs'
    start tracer strace -f -qq -e trace=futex,write -s 40 -o "$work/trace" "$weir" serve "$dir" \
        'tcp://*:80' --upload --log "$work/access.log" --workers 4 --driver tun:weir0,10.7.0.2/24
    pid_of[server]=$(pgrep -P "${pid_of[tracer]}")
    clients=()
    for i in 1 2 3 4 5 6 7 8; do
        (for _ in 1 2 3 4 5 6 7 8 9 10; do
            curl -sS -f -o /dev/null http://10.7.0.2/numbers.txt
            curl -sS -f -T "$dir/numbers.txt" http://10.7.0.2/in/traced
        done) &
        clients+=($!)
    done
    resize server "${clients[@]}"
    kill "${pid_of[server]}"
    stop tracer
    unset 'pid_of[server]'
    sed '0,/write(2, "serving/d' "$work/trace" >"$work/after"
    grep -q 'write(2, ".* requests' "$work/after" || fail 'the end was not traced'
    ! grep futex "$work/after" >&2 || fail 'futex calls after the start'
fi

echo 'tun, a log that cannot be written'
start server "$weir" serve "$dir" tcp://10.7.0.2:80 --workers 2 --log /dev/full \
    --driver tun:weir0,10.7.0.2/24
curl -sS -f -o /dev/null http://10.7.0.2/a.txt || fail 'no answer without a log'
stop_by_signal server
[ "$(grep -c "cannot write the log '/dev/full': No space left" "$work/server.err")" -eq 1 ] ||
    fail 'a lost log is not told once'

echo 'tun, more connections than it may hold'
start server "$weir" serve "$dir" tcp://10.7.0.2:80 --workers 4 --connections 10 --driver tun:weir0,10.7.0.2/24
trap '' PIPE # those that are reset
fds=() kept=0
for _ in $(seq 40); do
    { exec {fd}<>/dev/tcp/10.7.0.2/80; } 2>/dev/null && fds+=("$fd")
done
for fd in "${fds[@]}"; do
    { printf 'GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n' >&"$fd"; } 2>/dev/null || continue
    ! { read -r -t 10 line <&"$fd"; } 2>/dev/null || [[ $line != 'HTTP/1.1 200'* ]] || kept=$((kept + 1))
done
for fd in "${fds[@]}"; do
    exec {fd}>&-
done
trap - PIPE
if [ "$kept" -lt 10 ] || [ "$kept" -gt 14 ]; then
    fail "$kept connections are held, not about 10"
fi
echo "  $kept of ${#fds[@]}"
stop_by_signal server

echo 'tun, the tunnel over tcp://, rudp:// and kcp://'
"$probe" serve hash >"$work/port" 2>"$work/target.err" &
pids+=($!)
for _ in $(seq 100); do
    [ -s "$work/port" ] && break
    sleep 0.05
done
for scheme in tcp rudp kcp; do
    start server "$weir" tunnel -l "$scheme://10.7.0.2:4000" \
        -r "tcp://127.0.0.1:$(cat "$work/port")" --workers 3 --driver tun:weir0,10.7.0.2/24
    for i in 1 2 3; do
        start "client$i" "$weir" tunnel -l "tcp://*:$((8388 + i))" -r "$scheme://10.7.0.2:4000" \
            --driver "tun:weir$i,10.8.$i.2/24"
    done
    clients=()
    for i in 1 2 3; do
        timeout 100 "$probe" ask $((8388 + i)) 50 $((bytes / 200)) &
        clients+=($!)
    done
    resize server "${clients[@]}"
    for i in 1 2 3; do
        stop_by_signal "client$i"
    done
    stop_by_signal server
    grep -q '^150 connections.* 0 cut' "$work/server.err" || fail "$scheme: not 150 connections"
done

echo 'veth, packet sockets'
other_namespace
ip address add 10.9.0.1/24 dev near
start server nsenter -t "$other" -n "$weir" serve "$dir" tcp://10.9.0.2:80 --upload \
    --workers 4 --driver packet:far,10.9.0.2/24
many http://10.9.0.2
uploads http://10.9.0.2
big_files http://10.9.0.2
last_answer http://10.9.0.2
echo 'serve_crew.sh: passed'
