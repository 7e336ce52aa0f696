#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# kcptun.sh - weir tunnel --kcptun against Debian's kcptun, as client and as server: 100 MB by curl
# from nginx with equal sums, and 200 connections at once. Ends with 77 where a tool is missing.
#
#     tests/interop/kcptun.sh WEIR PROBE
set -euo pipefail
export LC_ALL=C

weir=${1:?the program}
probe=${2:?tunnel_probe}
PATH=$PATH:/usr/sbin:/sbin
for tool in kcptun-client kcptun-server nginx curl; do
    command -v "$tool" >/dev/null || { echo "kcptun: $tool is not installed"; exit 77; }
done
dir=$(mktemp -d)
pids=()
web_pid=
echo_pid=

end_pair() {
    local pid
    rm -f "$dir/weir.err" # the next one says its own port
    for pid in "${pids[@]}"; do
        kill -9 "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    pids=()
}

end_all() {
    end_pair
    for pid in $web_pid $echo_pid; do
        kill -TERM "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$dir"
}
trap end_all EXIT

fail() {
    echo "kcptun: $*" >&2
    tail -n 5 "$dir"/*.err >&2 || true
    exit 1
}

# kcptun does not say its port: one below the range that the system hands out, and another test may
# take it first. Then kcptun ends at once, and the next one is tried.
draw_port() {
    echo $((10000 + (RANDOM * 7 + $$) % 20000))
}

# is_tcp_open PORT
is_tcp_open() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# retry WHAT COMMAND...: at most 20 s.
retry() {
    local what=$1 tries
    shift
    for ((tries = 0; tries < 400; tries++)); do
        ! "$@" || return 0
        sleep 0.05
    done
    fail "no $what after 20 s"
}

listening() {
    grep -qs '^listening' "$dir/weir.err"
}

# --- what is behind the tunnels ---------------------------------------------------------------------
start_web() {
    local tries
    mkdir -p "$dir/web/tmp"
    head -c 60000000 /dev/urandom >"$dir/web/file"
    head -c 40000000 /dev/zero >>"$dir/web/file" # something to compress
    for ((tries = 0; tries < 20; tries++)); do
        web_port=$(draw_port)
        cat >"$dir/nginx.conf" <<END
daemon off;
master_process off;
pid $dir/web/pid;
error_log $dir/nginx.err;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path $dir/web/tmp;
    proxy_temp_path $dir/web/tmp;
    fastcgi_temp_path $dir/web/tmp;
    uwsgi_temp_path $dir/web/tmp;
    scgi_temp_path $dir/web/tmp;
    server { listen 127.0.0.1:$web_port; root $dir/web; }
}
END
        nginx -e "$dir/nginx.err" -c "$dir/nginx.conf" -p "$dir/web" >"$dir/nginx.out" 2>&1 &
        web_pid=$!
        sleep 0.3
        if kill -0 "$web_pid" 2>/dev/null; then
            retry nginx is_tcp_open "$web_port"
            return
        fi
        wait "$web_pid" || true
        web_pid=
    done
    fail "nginx does not start"
}

start_echo() {
    "$probe" serve echo >"$dir/echo.port" &
    echo_pid=$!
    retry "echo server" test -s "$dir/echo.port"
    echo_port=$(cat "$dir/echo.port")
}

# --- pairs ------------------------------------------------------------------------------------------
# Both set near, the TCP port that the client listens on. Their words: TARGET, weir's flags, kcptun's.
weir_to_kcptun() {
    local target=$1 port tries
    for ((tries = 0; tries < 20; tries++)); do
        port=$(draw_port)
        # shellcheck disable=SC2086 # words
        kcptun-server -l "127.0.0.1:$port" -t "127.0.0.1:$target" $3 >"$dir/kcptun.err" 2>&1 &
        pids+=($!)
        sleep 0.4
        ! kill -0 "${pids[-1]}" 2>/dev/null || break
        pids=()
    done
    # shellcheck disable=SC2086
    "$weir" tunnel -l tcp://127.0.0.1:0 -r "kcp://127.0.0.1:$port" --kcptun $2 2>"$dir/weir.err" &
    pids+=($!)
    retry "weir" listening
    near=$(sed -n 's/^listening on .*://p' "$dir/weir.err")
}

kcptun_to_weir() {
    local target=$1 port tries
    # shellcheck disable=SC2086
    "$weir" tunnel -l kcp://127.0.0.1:0 -r "tcp://127.0.0.1:$target" --kcptun $2 2>"$dir/weir.err" &
    pids+=($!)
    retry "weir" listening
    port=$(sed -n 's/^listening on .*://p' "$dir/weir.err")
    for ((tries = 0; tries < 20; tries++)); do
        near=$(draw_port)
        # shellcheck disable=SC2086
        kcptun-client -l "127.0.0.1:$near" -r "127.0.0.1:$port" $3 >"$dir/kcptun.err" 2>&1 &
        pids+=($!)
        sleep 0.4
        ! kill -0 "${pids[-1]}" 2>/dev/null || break
        unset 'pids[-1]'
    done
    retry "kcptun" is_tcp_open "$near"
}

# check PAIR WEIR-FLAGS KCPTUN-FLAGS
check() {
    local began=$SECONDS sum
    "$1" "$web_port" "$2" "$3"
    sum=$(curl -sS --max-time 60 "http://127.0.0.1:$near/file" 2>"$dir/curl.err" | sha256sum) ||
        fail "$1 $2: curl: $(cat "$dir/curl.err")"
    [ "$sum" = "$wanted" ] || fail "$1 $2: the file differs"
    end_pair
    "$1" "$echo_port" "$2" "$3"
    timeout 60 "$probe" talk "$near" 200 20000 || fail "$1 $2: 200 connections: exit $?"
    end_pair
    echo "kcptun: $1 ${2:-(default flags)}: 100 MB and 200 connections, $((SECONDS - began)) s"
}

start_web
start_echo
wanted=$(sha256sum <"$dir/web/file")
# The windows are wider than by default, and the interval shorter, for the sake of time alone.
wide_weir='--mode fast3 --window 1024'
wide_kcptun='--mode fast3 --sndwnd 1024 --rcvwnd 1024'
for pair in weir_to_kcptun kcptun_to_weir; do
    check "$pair" "" ""
    check "$pair" "--nocomp --smuxver 2 --crypt aes $wide_weir" \
        "--nocomp --smuxver 2 --crypt aes $wide_kcptun"
done
