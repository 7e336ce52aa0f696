#!/bin/sh
# SPDX-License-Identifier: MIT
# test_tunnel_crew.sh - weir tunnel with --workers at both ends and at one: bytes of many connections
# while the number of workers changes, ends that vanish, SIGTERM, wrong use.
#
#     tests/cli/test_tunnel_crew.sh WEIR PROBE kcp|rudp|usage|futex
#
# futex: no end calls futex once it runs, under strace; ends with 77 where that cannot run.
# WEIR_TUNNEL_SLOW: what is sent is divided by it, for builds that take their time.
weir=${1:?the program}
probe=${2:?tunnel_probe}
part=${3:?kcp, rudp, usage or futex}
slow=${WEIR_TUNNEL_SLOW:-1}
asking=
# shellcheck source=tests/cli/tunnel_lib.sh
. "$(dirname "$0")/tunnel_lib.sh"
export XDG_RUNTIME_DIR="$dir" # of control sockets
trap 'others=$asking; end_all; rm -rf "$dir"' EXIT

# wait_open N: until the server has so many connections to the target; at most 20 s.
wait_open() {
    tries=0
    port=$(printf ':%04X' "$target")
    until [ "$(awk -v port="$port" 'substr($3, 9) == port && $4 ~ /0[145]/' /proc/net/tcp | wc -l)" -ge "$1" ]; do
        tries=$((tries + 1))
        if [ "$tries" -gt 400 ]; then
            complain "$scheme: not $1 connections after 20 s"
            return
        fi
        sleep 0.05
    done
}

# resize PID: one fewer, two fewer, more again, as long as somebody asks.
resize() {
    for signal in USR2 USR2 USR1 USR1 USR1 USR2; do
        kill -0 "$asking" 2>/dev/null || return
        for pid in "$@"; do
            kill "-$signal" "$pid"
        done
        sleep 0.15
    done
}

# asks WHAT VERB COUNT BYTES: so many connections, with resizes of both ends that have workers.
asks() {
    timeout 100 "$probe" "$2" "$near" "$3" $(($4 / slow)) &
    asking=$!
    shift 4
    sleep 0.1
    resize "$@"
    wait "$asking"
    code=$?
    asking=
    [ "$code" -eq 0 ] || complain "$scheme, $what: exit $code; $(says)"
}

# both SERVER-OPTIONS CLIENT-OPTIONS: bytes there and back, many connections, and a clean end.
both() {
    what="server '$1', client '$2'"
    resized=
    start_target hash
    # shellcheck disable=SC2086 # words
    start_server "$scheme://127.0.0.1:0" $1
    # shellcheck disable=SC2086
    start_client $2
    case $1 in *--workers*) resized="$resized $server_pid" ;; esac
    case $2 in *--workers*) resized="$resized $client_pid" ;; esac
    does "$what: nothing and an end" 0 "$probe" ask "$near" 3 0
    # shellcheck disable=SC2086
    asks "$what" ask 200 500000 $resized
    does "$what: 300 at once" 0 "$probe" ask "$near" 300 10000
    stops client "$client_pid" 0
    client_pid=
    stops server "$server_pid" 0
    server_pid=
    for who in client server; do
        grep -q '^503 connections.* 0 cut' "$dir/$who" || complain "$scheme, $what: $(cat "$dir/$who")"
        ! grep -q 'has ended' "$dir/$who" || complain "$scheme, $what: $(cat "$dir/$who")"
    done
    end_all
}

test_bytes() {
    both '--workers 3' '--workers 3'
    both '--workers 3' '--conn 5'
    both '' '--workers 3 --conn 7'
    if [ "$scheme" = kcp ]; then
        what='as kcptun'
        start_target echo
        start_server kcp://127.0.0.1:0 --kcptun --workers 2
        start_client --kcptun --workers 2
        asks "$what" talk 20 1000000 "$server_pid" "$client_pid"
        end_all
    fi
    what='both ways'
    start_target echo
    start_server "$scheme://127.0.0.1:0" --workers 2
    start_client --workers 2 --conn 6
    asks "$what" talk 12 4000000 "$server_pid" "$client_pid"
    end_all
}

# A shard's TCP side that does not read for a while, beside others; no more connections than allowed.
test_bounds() {
    what='slow readers'
    start_target stall:700
    start_server "$scheme://127.0.0.1:0" --workers 2
    start_client --workers 2 --conn 6
    asks "$what" ask 12 8000000 "$server_pid" "$client_pid"
    end_all
    start_target stall:1000
    start_server "$scheme://127.0.0.1:0" --workers 2 --connections 4
    start_client --workers 2 --conn 6
    does 'more than 4 connections' 3 "$probe" ask "$near" 12 1000
    wait_for "$dir/server" 'more than 4 connections at once'
    end_all
}

# An end that vanishes in the middle: its connections are reset, and the next server is found.
test_vanishing() {
    quick="--timeout 1s --keepalive 200ms"
    start_target hash
    # shellcheck disable=SC2086 # words
    start_server "$scheme://127.0.0.1:0" --workers 3 $quick
    # shellcheck disable=SC2086
    start_client --workers 3 --conn 6 $quick
    "$probe" ask "$near" 12 300000000 &
    asking=$!
    wait_open 12
    kill -USR2 "$server_pid"
    kill -9 "$server_pid"
    wait "$server_pid" 2>/dev/null
    server_pid=
    wait "$asking"
    code=$?
    asking=
    [ "$code" -eq 3 ] || complain "$scheme: the server was killed, and the connections not reset: $code"
    # shellcheck disable=SC2086
    start_server "$far" --workers 2 $quick
    does 'the next server' 0 "$probe" ask "$near" 12 1000

    # The client vanishes: the server forgets it, and serves the next.
    "$probe" ask "$near" 12 300000000 &
    asking=$!
    wait_open 12
    kill -9 "$client_pid"
    wait "$client_pid" 2>/dev/null
    client_pid=
    kill -USR1 "$server_pid"
    wait "$asking" 2>/dev/null
    asking=
    # shellcheck disable=SC2086
    start_client --workers 2 $quick
    does 'the next client' 0 "$probe" ask "$near" 12 1000
    stops client "$client_pid" 0
    client_pid=
    stops server "$server_pid" 0
    server_pid=
    end_all
}

# SIGTERM: what is there may end; with --drain 0 it is cut.
test_drain() {
    start_target stall:3000
    start_server "$scheme://127.0.0.1:0" --workers 2
    start_client --workers 2 --conn 6
    for who in client server; do
        "$probe" ask "$near" 6 1000 &
        asking=$!
        wait_open 6
        if [ "$who" = client ]; then
            stops client "$client_pid" 0
            client_pid=
        else
            stops server "$server_pid" 0
            server_pid=
        fi
        wait "$asking" || complain "$scheme: not drained at the $who: exit $?; $(says)"
        asking=
        [ "$who" = server ] || start_client --workers 2 --conn 6 --drain 0
    done
    start_server "$far" --workers 2
    "$probe" ask "$near" 6 1000 &
    asking=$!
    wait_open 6
    stops client "$client_pid" 1
    client_pid=
    wait "$asking"
    [ $? -eq 3 ] || complain "$scheme: --drain 0 does not cut"
    asking=
    grep -q '6 connections were still open' "$dir/client" || complain "$scheme: $(cat "$dir/client")"
    end_all
}

# traced NAME ARGUMENT...: weir tunnel under strace; $tracer is strace, $traced the tunnel.
traced() {
    name=$1
    shift
    : >"$dir/$name"
    strace -f -qq -e trace=futex,write -s 40 -o "$dir/$name.trace" "$weir" tunnel "$@" 2>"$dir/$name" &
    tracer=$!
    wait_for "$dir/$name" '^listening'
    traced=$(pgrep -P "$tracer")
}

# lines NAME: of its trace so far.
lines() {
    wc -l <"$dir/$1.trace"
}

# Streams come and go, buffers grow, shards move: none of that waits for a lock. Only a client's sessions
# are more than that: each opens a socket and a loop when it is needed first, and closes them at the end.
test_futex() {
    scheme=rudp
    if ! strace -o "$dir/trace" -e trace=none true 2>/dev/null; then
        echo 'test_tunnel_crew: skipped, needs strace'
        exit 77
    fi
    start_target hash
    traced server -l rudp://127.0.0.1:0 -r "tcp://127.0.0.1:$target" --workers 3
    server_pid=$traced
    server_tracer=$tracer
    traced client -l tcp://127.0.0.1:0 -r "$(sed -n 's/^listening on //p' "$dir/server")" --workers 3
    client_pid=$traced
    near=$(sed -n 's/^listening on .*://p' "$dir/client")
    what='under strace'
    does "$what" 0 "$probe" ask "$near" 100 1000
    first=$(lines client)
    asks "$what" ask 100 200000 "$server_pid" "$client_pid"
    asks "$what" ask 10 5000000 "$server_pid" "$client_pid"
    last=$(lines client)
    kill "$client_pid"
    wait "$tracer" || complain "the client ends with $?"
    kill "$server_pid"
    wait "$server_tracer" || complain "the server ends with $?"
    client_pid='' server_pid=''
    for name in client server; do
        grep -q 'write(2, "210 connections' "$dir/$name.trace" || complain "the $name was not traced to its end"
    done
    sed -n "$((first + 1)),${last}p" "$dir/client.trace" | grep futex >"$dir/calls"
    sed '0,/write(2, "listening/d' "$dir/server.trace" | grep futex >>"$dir/calls"
    [ ! -s "$dir/calls" ] || complain "futex calls after the start: $(cat "$dir/calls")"
    end_all
}

# A client's socket that fails, which strace makes of it, ends the tunnel: at once, with one line.
test_failure() {
    start_target hash
    start_server rudp://127.0.0.1:0 --workers 2
    : >"$dir/client"
    strace -f -qq -e trace=recvmmsg,recvmsg -e inject=recvmmsg,recvmsg:error=EBADF:when=6+ -o "$dir/trace" \
        "$weir" tunnel -l tcp://127.0.0.1:0 -r "$far" --workers 2 2>"$dir/client" &
    tracer=$!
    wait_for "$dir/client" '^listening'
    client_pid=$(pgrep -P "$tracer")
    near=$(sed -n 's/^listening on .*://p' "$dir/client")
    timeout 20 "$probe" ask "$near" 10 1000000 >"$dir/out" 2>&1
    tries=0
    while kill -0 "$tracer" 2>/dev/null && [ $tries -lt 100 ]; do
        tries=$((tries + 1))
        sleep 0.05
    done
    [ $tries -lt 100 ] || complain "it goes on without its socket"
    kill -9 "$client_pid" 2>/dev/null
    wait "$tracer"
    [ $? -eq 1 ] || complain "a socket that failed is no error"
    client_pid=
    [ "$(grep -c 'the socket failed' "$dir/client")" -eq 1 ] || complain "not one line: $(head -n 9 "$dir/client")"
    end_all
}

test_usage() {
    here=tcp://127.0.0.1:0
    there=rudp://127.0.0.1:1
    refuses '--workers' -l "$here" -r "$there" --workers 0
    refuses '--workers' -l "$here" -r "$there" --workers 62
    refuses '--workers' -l "$here" -r "$there" --workers many
    refuses '--control' -l "$here" -r "$there" --control none
    refuses 'write --conn 6' -l "$here" -r "$there" --workers 3 --conn 2
    refuses 'one session' -l "$here" -r "$there" --workers 2 --driver tun:weir9,10.9.0.2/24
    refuses 'one thread' -l rudp://127.0.0.1:0 -r tcp://127.0.0.1:1 --workers 2 --driver raw:127.0.0.1
    # A port that is taken is told, though the shards share theirs.
    scheme=rudp
    start_target hash
    far=rudp://127.0.0.1:1
    start_client --workers 2
    timeout 20 "$weir" tunnel -l "tcp://127.0.0.1:$near" -r "$far" --workers 2 2>"$dir/err"
    [ $? -eq 1 ] || complain "a taken port is no error"
    grep -q 'already in use' "$dir/err" || complain "a taken port: $(cat "$dir/err")"
    end_all
}

case $part in
kcp | rudp)
    scheme=$part
    test_bytes
    test_bounds
    test_vanishing
    test_drain
    ;;
futex)
    test_futex
    test_failure
    ;;
*)
    test_usage
    ;;
esac
[ "$failures" -eq 0 ] || exit 1
echo "test_tunnel_crew: all is right"
