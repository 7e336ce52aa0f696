#!/bin/sh
# SPDX-License-Identifier: MIT
# test_tunnel.sh - weir tunnel over KCP and RUDP: bytes, half-closed and slow connections, many at once,
# ends that vanish, SIGTERM, wrong use.
#
#     tests/cli/test_tunnel.sh WEIR PROBE kcp|rudp|kcptun
weir=${1:?the program}
probe=${2:?tunnel_probe}
part=${3:?kcp, rudp or kcptun}
# shellcheck source=tests/cli/tunnel_lib.sh
. "$(dirname "$0")/tunnel_lib.sh"

# start SCHEME MODE OPTION...
start() {
    scheme=$1
    start_target "$2"
    shift 2
    start_server "$scheme://127.0.0.1:0" "$@"
    start_client "$@"
}

memory_of() {
    sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status"
}

test_native() {
    # Bytes there, the end of them, and an answer after it.
    start "$scheme" hash
    for bytes in 0 1 100000 8000000; do
        does "half-closed, $bytes" 0 "$probe" ask "$near" 1 "$bytes"
    done
    does "300 at once" 0 "$probe" ask "$near" 300 30000
    stops client "$client_pid" 0
    client_pid=
    stops server "$server_pid" 0
    server_pid=
    grep -q ' 0 cut' "$dir/client" || complain "$scheme: $(cat "$dir/client")"
    end_all

    # Both directions at once, with several sessions.
    start "$scheme" echo --conn 3
    does "both ways" 0 "$probe" talk "$near" 7 2000000
    end_all

    # A target that resets: so does the near end, and the tunnel goes on.
    start "$scheme" cut:100000
    does "reset by the target" 3 "$probe" ask "$near" 1 20000000
    does "short of it" 0 "$probe" ask "$near" 1 1000
    # And one that is not there.
    kill -9 "$target_pid"
    wait "$target_pid" 2>/dev/null
    target_pid=
    does "no target" 3 "$probe" ask "$near" 1 10
    wait_for "$dir/server" "cannot connect to tcp://127.0.0.1:$target"
    end_all

    # A path that loses.
    start_target hash
    start_server "$scheme://127.0.0.1:0"
    : >"$dir/relay"
    "$weir" relay -l 127.0.0.1:0 -r "${far#*://}" --loss 5% --delay 3ms --reorder 2% --seed 1 \
        >"$dir/relay" 2>&1 &
    others="$others $!"
    wait_for "$dir/relay" '127.0.0.1:'
    far=$scheme://127.0.0.1:$(sed -n 's/^[^0-9]*127\.0\.0\.1:\([0-9]*\).*/\1/p' "$dir/relay" | head -n 1)
    start_client
    does "loss" 0 "$probe" ask "$near" 20 50000
    end_all

    # A reader that waits: what piles up is bounded at both ends, and nothing is lost.
    start "$scheme" stall:1000 --smuxbuf 2MiB
    does "warm up" 0 "$probe" ask "$near" 1 1000000
    before=$(($(memory_of "$client_pid") + $(memory_of "$server_pid")))
    "$probe" ask "$near" 4 50000000 &
    asking=$!
    sleep 0.8
    after=$(($(memory_of "$client_pid") + $(memory_of "$server_pid")))
    [ "$((after - before))" -lt 80000 ] || complain "$scheme: a slow reader costs $((after - before)) KiB"
    wait "$asking" || complain "$scheme: a slow reader's bytes: exit $?"

    end_all

    # Sessions whose peer stopped hold what was for them, and not what others need.
    start "$scheme" pour --timeout 2m --conn 64
    "$probe" gulp "$near" 64 1000000000 &
    asking=$!
    sleep 0.5
    kill -STOP "$client_pid"
    others="$others $client_pid"
    start_client
    does "beside 64 that stalled" 0 "$probe" gulp "$near" 1 5000000
    kill -9 "$asking"
    wait "$asking" 2>/dev/null
    end_all
    start "$scheme" stall:1000

    # SIGTERM: what is there may end.
    "$probe" ask "$near" 1 1000 &
    asking=$!
    sleep 0.3
    stops client "$client_pid" 0
    client_pid=
    wait "$asking" || complain "$scheme: not drained at the client: exit $?"
    start_client
    "$probe" ask "$near" 1 1000 &
    asking=$!
    sleep 0.3
    stops server "$server_pid" 0
    server_pid=
    wait "$asking" || complain "$scheme: not drained at the server: exit $?"
    end_all

    # An end that vanishes: its connections are reset, and the next server is found.
    quick="--timeout 1s --keepalive 200ms"
    start_target stall:600
    # shellcheck disable=SC2086 # words
    start_server "$scheme://127.0.0.1:0" $quick
    # shellcheck disable=SC2086
    start_client $quick --drain 0
    "$probe" ask "$near" 2 1000 &
    asking=$!
    sleep 0.3
    kill -9 "$server_pid"
    wait "$server_pid" 2>/dev/null
    server_pid=
    wait "$asking"
    [ $? -eq 3 ] || complain "$scheme: the server was killed, and the connection not reset"
    # shellcheck disable=SC2086
    start_server "$far" $quick
    does "the next server" 0 "$probe" ask "$near" 2 1000
    "$probe" ask "$near" 1 1000 &
    asking=$!
    sleep 0.3
    stops client "$client_pid" 1
    client_pid=
    wait "$asking"
    [ $? -eq 3 ] || complain "$scheme: --drain 0 does not cut"
    end_all
}

# As kcptun: here the end of one direction is the end of both.
test_kcptun() {
    for options in "" "--nocomp --smuxver 2 --mode fast3" "--nofec --crypt salsa20 --key other"; do
        # shellcheck disable=SC2086 # words
        start kcp echo --kcptun $options
        does "--kcptun $options" 0 "$probe" talk "$near" 20 300000
        stops client "$client_pid" 0
        client_pid=
        end_all
    done

    # Ends that do not speak alike: reset, and the reason is said.
    start_target hash
    start_server kcp://127.0.0.1:0 --kcptun --nofec --crypt none --timeout 1s
    start_client --kcptun --nofec --crypt none --nocomp --timeout 1s
    does "compressed at one end" 3 "$probe" ask "$near" 1 100000
    wait_for "$dir/server" 'does not compress'
    end_all
}

test_usage() {
    here=tcp://127.0.0.1:0
    there=kcp://127.0.0.1:1
    refuses 'two addresses' -l "$here"
    refuses 'too much' -l "$here" -r "$there" more
    refuses 'not a URL' -l "$here" -r 127.0.0.1:1
    refuses 'not known' -l "$here" -r udp://127.0.0.1:1
    refuses 'one of -l and -r' -l "$here" -r tcp://127.0.0.1:1
    refuses 'one of -l and -r' -l kcp://127.0.0.1:0 -r rudp://127.0.0.1:1
    refuses 'port 0' -l "$here" -r kcp://127.0.0.1:0
    refuses '--kcptun' -l "$here" -r rudp://127.0.0.1:1 --kcptun
    refuses '--kcptun alone' -l "$here" -r "$there" --smuxver 2
    refuses '--smuxver' -l "$here" -r "$there" --kcptun --smuxver 3
    refuses '--mode' -l "$here" -r "$there" --kcptun --mode faster
    refuses '--conn ' -l "$here" -r "$there" --conn 0
    refuses '--crypt' -l "$here" -r "$there" --kcptun --crypt rot13
    refuses 'do not go together' -l "$here" -r "$there" --kcptun --fec 10,3 --nofec
    refuses '--streambuf' -l "$here" -r "$there" --streambuf 1KB
    refuses 'more than' -l "$here" -r "$there" --streambuf 2MiB --smuxbuf 1MiB
    refuses 'kcp:// alone' -l "$here" -r rudp://127.0.0.1:1 --crypt aes
}

case $part in
kcp | rudp)
    scheme=$part
    test_native
    ;;
*)
    scheme=kcp
    test_kcptun
    test_usage
    ;;
esac
[ "$failures" -eq 0 ] || exit 1
echo "test_tunnel: all is right"
