# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2034,SC2154 # names shared with the script
# tunnel_lib.sh - a target, a server and a client of weir tunnel on loopback. Sourced, with $weir and
# $probe set; all processes and $dir are gone at the end. What a script starts besides it adds to others.
set -u
export LC_ALL=C

dir=$(mktemp -d)
failures=0
target_pid=''
server_pid=''
client_pid=''
others=''

end_all() {
    for pid in $client_pid $server_pid $target_pid $others; do
        kill -9 "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    client_pid='' server_pid='' target_pid='' others=''
}
trap 'end_all; rm -rf "$dir"' EXIT

complain() {
    echo "${0##*/}: $*" >&2
    failures=$((failures + 1))
}

# wait_for FILE PATTERN: at most 20 s.
wait_for() {
    tries=0
    until grep -q "$2" "$1" 2>/dev/null; do
        tries=$((tries + 1))
        if [ "$tries" -gt 400 ]; then
            complain "no '$2' after 20 s: $(cat "$1")"
            exit 1
        fi
        sleep 0.05
    done
}

start_target() {
    : >"$dir/target"
    "$probe" serve "$1" >"$dir/target" &
    target_pid=$!
    wait_for "$dir/target" .
    target=$(cat "$dir/target")
}

# start_server URL OPTION...
start_server() {
    url=$1
    shift
    : >"$dir/server"
    "$weir" tunnel -l "$url" -r "tcp://127.0.0.1:$target" "$@" 2>"$dir/server" &
    server_pid=$!
    wait_for "$dir/server" '^listening'
    far=$(sed -n 's/^listening on //p' "$dir/server")
}

start_client() {
    : >"$dir/client"
    "$weir" tunnel -l tcp://127.0.0.1:0 -r "$far" "$@" 2>"$dir/client" &
    client_pid=$!
    wait_for "$dir/client" '^listening'
    near=$(sed -n 's/^listening on .*://p' "$dir/client")
}

says() {
    echo "client: $(cat "$dir/client")"
    echo "server: $(cat "$dir/server")"
}

# does WHAT CODE COMMAND...
does() {
    what=$1
    want=$2
    shift 2
    timeout 100 "$@"
    code=$?
    [ "$code" -eq "$want" ] || complain "$scheme, $what: exit $code, not $want; $(says)"
}

# stops WHO PID CODE: SIGTERM, and how it ends.
stops() {
    kill -TERM "$2"
    wait "$2"
    code=$?
    [ "$code" -eq "$3" ] || complain "$scheme, the $1 ends with $code, not $3: $(cat "$dir/$1")"
}

# refuses PATTERN ARGUMENT...: wrong use, told in one line.
refuses() {
    pattern=$1
    shift
    timeout 20 "$weir" tunnel "$@" >"$dir/out" 2>"$dir/err" </dev/null
    code=$?
    [ "$code" -eq 2 ] || complain "weir tunnel $*: exit $code, not 2"
    [ "$(wc -l <"$dir/err")" -eq 1 ] || complain "weir tunnel $*: not one line: $(cat "$dir/err")"
    grep -q -- "$pattern" "$dir/err" || complain "weir tunnel $*: '$(cat "$dir/err")' lacks '$pattern'"
}
