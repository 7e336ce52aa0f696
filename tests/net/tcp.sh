#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# tcp.sh - our TCP and the rest of the world's, in network namespaces of its own.
#
#     tcp.sh WEIR TCP_PROBE [full]
#
# The kernel's clients at our servers and ours at the kernel's, over tun and over veth with packet
# sockets, IPv4 and IPv6, MTU 576 to 9000, 30 % loss; curl, wrk and nmap where they are installed; a
# flood of SYNs, forged segments, connections by the thousand; with "full" 1 GB files, 10,000,000 SYNs
# and a million connections. Needs root; ends with 77 where it cannot run.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh" "$@"
weir=$1
probe=$2
size=${3:-short}

if [ "$size" = full ]; then
    file_bytes=1000000000 echo_bytes=1000000000 connections=1000000 syns=10000000 forged=1000000
else
    file_bytes=100000000 echo_bytes=20000000 connections=20000 syns=100000 forged=100000
fi

# end NAME: by a signal; what listens until then.
end() {
    local fd=${fd_of[$1]}
    kill "${pid_of[$1]}"
    exec {fd}>&-
    wait "${pid_of[$1]}" || true
}

try() {
    timeout 90 "$@" >"$work/log" 2>&1 || fail "$*"
    echo "  $(tail -n 1 "$work/log")"
}

# field NAME: of the JSON object in the log.
field() {
    sed -nE "s/^\{.*\"$1\": \"?([^,\"}]*).*/\1/p" "$work/log"
}

# at_least WHAT VALUE LEAST, at_most WHAT VALUE MOST
at_least() {
    awk -v a="$2" -v b="$3" 'BEGIN { exit !(a != "" && a >= b) }' || fail "$1 is $2, less than $3"
}
at_most() {
    awk -v a="$2" -v b="$3" 'BEGIN { exit !(a != "" && a <= b) }' || fail "$1 is $2, more than $3"
}

# to_us BYTES ADDR...: the kernel's clients.
to_us() {
    local bytes=$1 addr
    shift
    for addr in "$@"; do
        try "$probe" echo "$addr" 1
        try "$probe" echo "$addr" "$bytes"
        try "$probe" chat "$addr" 20
    done
}

# --- 30 % loss each way: begun first, for it takes its time -------------------------------------------

start lossy "$probe" serve tun weir9 10.9.0.2 fd09::2 loss=30
ip address add 10.9.0.1/24 dev weir9
ip address add fd09::1/64 dev weir9 nodad
lossy=()
for addr in 10.9.0.2 fd09::2; do
    timeout 300 "$probe" echo "$addr" 3000 >"$work/echo.$addr" 2>&1 &
    lossy+=("$!")
done

# --- over tun ----------------------------------------------------------------------------------------

for options in 'mtu=1500' 'mtu=576 plain' 'mtu=1280 plain' 'mtu=9000' 'mtu=9000 plain'; do
    echo "tun, $options"
    read -r -a words <<<"$options"
    start server "$probe" serve tun weir0 10.7.0.2 fd07::2 "${words[@]}"
    ip address add 10.7.0.1/24 dev weir0
    addresses=(10.7.0.2)
    # IPv6 takes 1,280 bytes at least.
    if [ "$options" != 'mtu=576 plain' ]; then
        ip address add fd07::1/64 dev weir0 nodad
        addresses+=(fd07::2)
    fi
    to_us "$echo_bytes" "${addresses[@]}"
    if [ "$options" = mtu=1500 ]; then
        for addr in "${addresses[@]}"; do
            try "$probe" discard "$addr"
            try "$probe" source "$addr"
        done
    fi
    stop server
done

echo 'tun, we call'
start kernel "$probe" listen
for remote in 10.7.0.1 fd07::1; do
    # The device is there as long as who made it: it is made first, so that it has its addresses.
    ip tuntap add dev weir1 mode tun
    ip link set weir1 up
    ip address add 10.7.0.1/24 dev weir1
    ip address add fd07::1/64 dev weir1 nodad
    try "$probe" call tun weir1 10.7.0.2 fd07::2 "$remote" "$echo_bytes"
    try "$probe" call tun weir1 10.7.0.2 fd07::2 "$remote" 1000000 plain
    ip link del weir1
done
stop kernel

# --- others' programs --------------------------------------------------------------------------------

if command -v nmap >/dev/null; then
    echo 'nmap'
    start server "$probe" serve tun weir0 10.7.0.2 fd07::2
    ip address add 10.7.0.1/24 dev weir0
    scan() {
        nmap -n -Pn --max-retries 2 -T4 "$@" 10.7.0.2 >"$work/log" 2>&1 || fail "nmap $*"
        tr -s ' ' <"$work/log" | grep -E '^[0-9]+/tcp' | tr '\n' ';' | sed 's/^/  /; s/;$/\n/'
    }
    # wants PORT STATE: RFC 9293 3.10.7: listening ports answer SYN only, others all but RST with RST.
    wants() {
        tr -s ' ' <"$work/log" | grep -qE "^$1/tcp $2" || fail "nmap does not see $1 as $2"
    }
    scan -sT -p 7,9,11
    wants 7 open
    wants 11 closed
    scan -sS -p 7,9,11
    wants 7 open
    wants 11 closed
    for kind in -sN -sF -sX; do
        scan "$kind" -p 7,9,11
        wants 7 'open\|filtered'
        wants 11 closed
    done
    scan -sA -p 7,9,11
    wants 7 unfiltered
    wants 11 unfiltered
    scan -sT -sV --version-light -p 7
    wants 7 'open +echo'
    stop server
else
    echo 'nmap is not installed: left out'
fi

has_command() {
    "$weir" help "$1" >/dev/null 2>&1
}

# same FILE FILE
same() {
    cmp "$1" "$2" || fail 'not the same bytes'
    echo "  $(stat -c %s "$1") bytes, the same"
}

if has_command serve && command -v curl >/dev/null; then
    mkdir "$work/www"
    head -c "$file_bytes" /dev/urandom >"$work/www/file"
    printf 'hello\n' >"$work/www/small"
    for mtu in 1500 9000; do
        echo "weir serve and curl, mtu $mtu"
        start server "$weir" serve "$work/www" tcp://10.7.0.2:80 --driver tun:weir0,10.7.0.2/24,mtu="$mtu" --upload
        try curl -sS --max-time 60 -o "$work/got" -w '%{speed_download} bytes/s\n' http://10.7.0.2/file
        same "$work/www/file" "$work/got"
        rm "$work/got"
        try curl -sS --max-time 60 -T "$work/www/file" -w '%{speed_upload} bytes/s\n' http://10.7.0.2/up
        same "$work/www/file" "$work/www/up"
        if [ "$mtu" = 1500 ] && command -v wrk >/dev/null; then
            echo 'wrk, 200 connections'
            wrk -t 1 -c 200 -d 2s http://10.7.0.2/small >"$work/log" 2>&1 || fail wrk
            grep -E 'Requests/sec|Socket errors|Non-2xx' "$work/log" | sed 's/^ */  /'
            ! grep -qE 'Socket errors|Non-2xx' "$work/log" || fail 'wrk saw errors'
        fi
        end server
    done
    if command -v nc >/dev/null; then
        echo 'weir pipe --raw and nc'
        nc -N -l 4000 </dev/null >"$work/got" &
        listener=$!
        sleep 0.3
        timeout 60 "$weir" pipe --raw tcp://10.7.0.1:4000 --driver tun:weir0,10.7.0.2/24 \
            <"$work/www/file" >"$work/log" 2>&1 || fail 'weir pipe'
        wait "$listener" || fail nc
        same "$work/www/file" "$work/got"
    fi
    rm -r "$work/www"
else
    echo 'weir serve or curl is not there: left out'
fi

# --- over veth ---------------------------------------------------------------------------------------

other_namespace
there() {
    nsenter -t "$other" -n "$@"
}
ip address add 10.8.0.1/24 dev near
ip address add fd08::1/64 dev near nodad

for mtu in 1500 9000; do
    ip link set near mtu "$mtu"
    there ip link set far mtu "$mtu"
    for options in '' plain; do
        echo "veth, mtu $mtu $options"
        start server nsenter -t "$other" -n "$probe" serve packet far 10.8.0.2 fd08::2 ${options:+$options}
        to_us "$echo_bytes" 10.8.0.2 fd08::2
        stop server
    done
    echo "veth, mtu $mtu, we call"
    start kernel "$probe" listen
    for remote in 10.8.0.1 fd08::1; do
        try nsenter -t "$other" -n "$probe" call packet far 10.8.0.3 fd08::3 "$remote" "$echo_bytes"
    done
    stop kernel
done
ip link del near

# --- attacks, and many -------------------------------------------------------------------------------

echo 'what weir flood refuses'
refused() {
    local wanted=$1
    shift
    "$weir" flood "$@" >"$work/log" 2>&1 && fail "weir flood $* did not refuse"
    grep -q "$wanted" "$work/log" || fail "no \"$wanted\" from weir flood $*"
    echo "  $(tail -n 1 "$work/log")"
}
refused 'in no prefix' syn 192.0.2.1:80 --count 1
ip link add dummy0 type dummy 2>/dev/null || ip link add dummy0 type veth peer name dummy1
ip link set dummy0 up
refused 'may lead out' syn 10.7.0.2:80 --count 1
ip link del dummy0
start server "$probe" serve tun weir0 10.7.0.2 fd07::2
ip address add 10.7.0.1/24 dev weir0
ip route add default dev weir0
refused 'default route' syn 10.7.0.2:80 --count 1
ip route del default
stop server

echo "$connections connections, and a byte on each"
start server "$probe" serve tun weir0 10.7.0.2 fd07::2 plain many
ip address add 10.7.0.1/24 dev weir0
try "$weir" flood connect 10.7.0.2:7 --count "$connections" --echo --pid "${pid_of[server]}" --json
at_most 'the connections lost' "$(field lost)" 0
at_least 'the bytes acknowledged' "$(field acked)" "$connections"
# A million of them fit into the table, whose pages are touched here and there from the start.
at_most 'the growth in bytes' "$(($(field rss_end_bytes) - $(field rss_start_bytes)))" 20000000
stop server

echo "$syns SYNs, and honest clients"
start server "$probe" serve tun weir0 10.7.0.2 fd07::2
ip address add 10.7.0.1/24 dev weir0
try "$weir" flood syn 10.7.0.2:7 --count 20000 --json
"$weir" flood syn 10.7.0.2:7 --count "$syns" --pid "${pid_of[server]}" --json >"$work/flood" 2>"$work/flood.err" &
flood=$!
for _ in 1 2 3; do
    try "$probe" echo 10.7.0.2 100000
done
wait "$flood" || fail 'weir flood syn failed'
cp "$work/flood" "$work/log"
at_least 'the SYNs sent' "$(field packets_sent)" "$syns"
at_most 'the growth in bytes' "$(($(field rss_end_bytes) - $(field rss_start_bytes)))" 2000000
echo "  memory: $(field rss_start_bytes) bytes, then $(field rss_end_bytes); answers: $(field answers)"
stop server

echo "$forged forged segments into a connection"
# A small window: one in 65,536 of the forged numbers lies in it, and both have to.
start server "$probe" serve tun weir0 10.7.0.2 fd07::2 hold
ip address add 10.7.0.1/24 dev weir0
"$probe" echo 10.7.0.2 "$echo_bytes" 40000 >"$work/echo" 2>"$work/echo.err" &
echo_pid=$!
try "$weir" flood inject 10.7.0.2:7 --victim 10.7.0.1:40000 --count "$forged" --json
wait "$echo_pid" || { cat "$work/echo.err" >&2; fail 'forged segments got into a connection'; }
echo "  $(cat "$work/echo")"
stop server
echo '30 % loss each way'
for pid in "${lossy[@]}"; do
    wait "$pid" || { cat "$work"/echo.* >&2; fail 'a third of the frames was too much to lose'; }
done
sed 's/^/  /' "$work"/echo.10.9.0.2 "$work"/echo.fd09::2
end lossy
echo 'tcp.sh: passed'
