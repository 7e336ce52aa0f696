#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# inet.sh - our own IP against the kernel's, in network namespaces of its own.
#
#     inet.sh PROBE TCP_PROBE
#
# Pings of many sizes and RUDP, KCP and TCP echoes over tun, tap and veth with packet sockets, IPv4 and
# IPv6, with and without offloads. Needs root; ends with 77 where it cannot run.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh" "$@"
probe=$1
tcp=$2
sizes='0 1 8 100 1400 1472 1473 2000 3000 8972 8973 9000 20000 60000'

# end NAME: stops it, and shows its figures.
end() {
    stop "$1"
    echo "  $1: $(cat "$work/$1.err")"
}

try() {
    "$@" >"$work/log" 2>&1 || fail "$*"
    echo "  $(tail -n 1 "$work/log")"
}

# on_device LINK MTU OPTIONS...: the kernel at one end of a tun or tap, we at the other.
on_device() {
    local link=$1 mtu=$2 engine
    shift 2
    for engine in rudp kcp; do
        echo "$link mtu $mtu $* $engine"
        start server "$probe" -a 10.7.0.2/24 -a fd07::2/64 -h 10.7.0.1/24 -m "$mtu" "$@" "$link" \
            serve "$engine"
        ip address add fd07::1/64 dev "${link#*:}" nodad
        # shellcheck disable=SC2086 # words
        try "$probe" ping 10.7.0.2 $sizes
        # shellcheck disable=SC2086
        try "$probe" ping fd07::2 $sizes
        try "$probe" udp send "$engine" 10.7.0.2 2000 1000
        try "$probe" udp send "$engine" fd07::2 200 30000
        end server
    done
}

on_device tun:weir0 1500
on_device tun:weir0 1500 -p
on_device tap:weir0 1500
on_device tap:weir0 9000 -p

# tcp_flows ADDR...: the kernel's sockets and our TCP.
tcp_flows() {
    local addr
    for addr in "$@"; do
        try "$tcp" echo "$addr" 1
        try "$tcp" echo "$addr" 100000
        try "$tcp" echo "$addr" 10000000
        try "$tcp" discard "$addr"
        try "$tcp" source "$addr"
    done
}

for options in 'tun weir0' 'tun weir0 plain' 'tap weir0'; do
    echo "tcp, $options"
    read -r kind device plain <<<"$options"
    start server "$tcp" serve "$kind" "$device" 10.7.0.2 fd07::2 ${plain:+plain}
    ip address add 10.7.0.1/24 dev "$device"
    ip address add fd07::1/64 dev "$device" nodad
    tcp_flows 10.7.0.2 fd07::2
    end server
done

# A third of the frames lost each way, below our IP.
for link in tun tap; do
    echo "$link, 30 % loss"
    start server "$probe" -a 10.7.0.2/24 -h 10.7.0.1/24 -p -l 30 "$link:weir0" serve rudp
    try "$probe" udp send rudp 10.7.0.2 200 1000
    end server
done

# Two namespaces, a veth between them.
other_namespace
there() {
    nsenter -t "$other" -n "$@"
}

# on_veth OPTIONS...: we at the far end; near, once the kernel and once we.
on_veth() {
    local engine
    for engine in rudp kcp; do
        echo "veth $* $engine"
        start server nsenter -t "$other" -n "$probe" -a 10.8.0.2/24 -a fd08::2/64 "$@" packet:far \
            serve "$engine"
        ip address add 10.8.0.1/24 dev near
        ip address add fd08::1/64 dev near nodad
        # shellcheck disable=SC2086
        try "$probe" ping 10.8.0.2 $sizes
        # shellcheck disable=SC2086
        try "$probe" ping fd08::2 $sizes
        try "$probe" udp send "$engine" 10.8.0.2 2000 1000
        try "$probe" udp send "$engine" fd08::2 200 30000
        ip address flush dev near
        try "$probe" -a 10.8.0.3/24 -a fd08::3/64 -o 99 "$@" packet:near send "$engine" 10.8.0.2 \
            2000 1000
        try "$probe" -a 10.8.0.3/24 -a fd08::3/64 -o 98 "$@" packet:near send "$engine" fd08::2 \
            200 30000
        end server
    done
}

on_veth
on_veth -p

echo 'tcp, veth'
start server nsenter -t "$other" -n "$tcp" serve packet far 10.8.0.2 fd08::2
ip address add 10.8.0.1/24 dev near
ip address add fd08::1/64 dev near nodad
tcp_flows 10.8.0.2 fd08::2
end server

# Raw sockets: the address is the kernel's too, which complains to the sender about the port; and the
# runs of a sender with offloads could not be told apart.
ip address add 10.9.0.1/24 dev near
there ip address add 10.9.0.2/24 dev far
for engine in rudp kcp; do
    echo "raw $engine"
    start server nsenter -t "$other" -n "$probe" -a 10.9.0.2/24 raw:10.9.0.2 serve "$engine"
    try "$probe" -p udp send "$engine" 10.9.0.2 2000 1000
    end server
done

# What goes wrong is said, with what to do about it.
complain() {
    local wanted=$1
    shift
    "$@" >"$work/log" 2>&1 && fail "$* did not fail"
    grep -q "$wanted" "$work/log" || fail "no \"$wanted\" from $*"
}
complain 'is there such an interface' "$probe" -a 10.9.0.3/24 packet:nothing serve rudp
complain 'an address of this machine' "$probe" -a 10.9.0.3/24 raw:10.9.0.3 serve rudp
if command -v setpriv >/dev/null; then
    plain=(setpriv --bounding-set -all --inh-caps -all)
    complain 'root' "${plain[@]}" "$probe" -a 10.9.0.3/24 packet:near serve rudp
    complain 'root' "${plain[@]}" "$probe" -a 10.9.0.3/24 raw:10.9.0.1 serve rudp
    complain 'root' "${plain[@]}" "$probe" -a 10.9.0.3/24 tun:weir7 serve rudp
fi
echo 'inet.sh: passed'
