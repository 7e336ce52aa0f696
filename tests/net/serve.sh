#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# serve.sh - weir serve and the clients that everybody uses, in a network namespace of its own.
#
#     serve.sh WEIR [BYTES]
#
# curl and wrk on the kernel's TCP, over tun and over veth with packet sockets, IPv4 and IPv6; files of
# BYTES (default 1,000,000,000) both ways. Needs root; ends with 77 where it cannot run.
needs=curl
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh" "$@"
weir=$1
bytes=${2:-1000000000}
export no_proxy='*'
dir=$work/files

mkdir -p "$dir/sub" "$dir/in"
echo 'hello world' >"$dir/a.txt"
echo '<p>index' >"$dir/sub/index.html"
echo secret >"$dir/.hidden"
ln -s /etc "$dir/etc"
seq 1 20000 >"$dir/numbers.txt"
big_file "$dir/big" "$bytes"

# halt: the server ends by a signal, and sums up.
halt() {
    stop_by_signal server
    grep -q ' requests ' "$work/server.err" || fail 'no summary'
    sed -n 's/^/  /; 2,3p' "$work/server.err"
}

# status WANT CURL-ARGUMENT...
status() {
    local want=$1 got
    shift
    got=$(curl -sS -m 60 -o "$work/out" -D "$work/out.head" -w '%{http_code}' "$@") || fail "curl $*"
    [ "$got" = "$want" ] || fail "$got, not $want: curl $*"
}

has() {
    grep -qi "$1" "$work/out.head" || fail "no '$1' in: $(cat "$work/out.head")"
}

# semantics URL: what HTTP promises.
semantics() {
    local url=$1 etag
    status 200 -g "$url/numbers.txt"
    cmp "$work/out" "$dir/numbers.txt" || fail 'numbers.txt is another'
    has '^Content-Type: text/plain'
    etag=$(sed -n 's/^ETag: \(.*\)\r$/\1/p' "$work/out.head")
    status 304 -g "$url/numbers.txt" -H "If-None-Match: $etag"
    status 304 -g "$url/numbers.txt" -z "$(date -u -R)"
    status 200 -g "$url/numbers.txt" -z 'Sun, 06 Nov 1994 08:49:37 GMT'
    status 412 -g "$url/numbers.txt" -H 'If-Match: "other"'
    status 206 -g "$url/numbers.txt" -r 10-19
    [ "$(stat -c %s "$work/out")" -eq 10 ] || fail 'a range of 10 bytes'
    has '^Content-Range: bytes 10-19/'
    cmp -n 10 -i 0:10 "$work/out" "$dir/numbers.txt" || fail 'a range is another'
    status 206 -g "$url/numbers.txt" -r 0-9 -H "If-Range: $etag"
    status 200 -g "$url/numbers.txt" -r 0-9 -H 'If-Range: "other"'
    status 416 -g "$url/numbers.txt" -r 999999-
    status 200 -g -I "$url/numbers.txt"
    has "^Content-Length: $(stat -c %s "$dir/numbers.txt")"
    status 200 -g --http1.0 "$url/a.txt"
    has '^Connection: close'
    status 200 -g --http2 "$url/a.txt"
    status 301 -g "$url/sub"
    status 200 -g -L "$url/sub"
    grep -q index "$work/out" || fail 'the index'
    status 404 -g "$url/"
    status 404 -g "$url/none"
    status 404 -g "$url/.hidden"
    status 404 -g "$url/etc/passwd"
    status 404 -g --path-as-is "$url/../../../etc/passwd"
    status 404 -g --path-as-is "$url/%2e%2e/%2e%2e/etc/passwd"
    status 405 -g -X DELETE "$url/a.txt"
    has '^Allow: .*PUT'
    status 501 -g -X FROBNICATE "$url/a.txt"
    status 431 -g -H "X-Long: $(head -c 9000 /dev/zero | tr '\0' x)" "$url/a.txt"
    # One connection for all of them.
    [ "$(curl -sS -g -o "$work/out" -w '%{num_connects}' "$url/a.txt" -: -sS -g -o "$work/out2" \
        -w ' %{num_connects}' "$url/sub/")" = '1 0' ] || fail 'the connection is not kept'
}

uploads() {
    local url=$1
    status 201 -g -T "$dir/numbers.txt" "$url/in/numbers.txt"
    cmp "$dir/numbers.txt" "$dir/in/numbers.txt" || fail 'an upload is another'
    status 204 -g -T - "$url/in/numbers.txt" <"$dir/a.txt"
    cmp "$dir/a.txt" "$dir/in/numbers.txt" || fail 'a chunked upload is another'
    status 409 -g -T "$dir/a.txt" "$url/none/x"
    status 412 -g -T "$dir/a.txt" -H 'If-None-Match: *' "$url/in/numbers.txt"
    # One that is broken off leaves nothing.
    timeout 0.3 curl -s -g --limit-rate 10k -T "$dir/numbers.txt" "$url/in/half" || true
    for _ in $(seq 50); do
        [ "$(find "$dir/in" -name '.weir*' | wc -l)" = 0 ] && break
        sleep 0.1
    done
    [ -z "$(find "$dir/in" -name '*half*' -o -name '.weir*')" ] || fail 'half an upload is left'
    rm "$dir/in/numbers.txt"
}

big_files() {
    local url=$1
    curl -sS -g -o "$work/big" -w '  down: %{speed_download} bytes/s\n' "$url/big" || fail 'down'
    cmp "$work/big" "$dir/big" || fail 'a big file is another'
    rm "$work/big"
    curl -sS -g -T "$dir/big" -o "$work/out" -w '  up: %{speed_upload} bytes/s\n' "$url/in/big" ||
        fail 'up'
    cmp "$dir/in/big" "$dir/big" || fail 'a big upload is another'
    rm "$dir/in/big"
}

slow_and_broken() {
    local url=$1 i
    curl -sS -g --limit-rate 300k -o "$work/out" "$url/numbers.txt" || fail 'a slow client'
    cmp "$work/out" "$dir/numbers.txt" || fail 'to a slow client another file'
    for i in $(seq 20); do
        timeout "0.0$((i % 9 + 1))" curl -s -g -o "$work/out" "$url/big" || true
    done
    status 200 -g "$url/a.txt"
}

many() {
    local url=$1
    command -v wrk >/dev/null || return 0
    wrk -t2 -c200 -d2s "$url/a.txt" >"$work/out" || fail 'wrk'
    ! grep -E 'Socket errors|Non-2xx' "$work/out" || fail 'wrk has errors'
    grep '^Requests/sec' "$work/out" | sed 's/^/  /'
}

echo 'tun, IPv4'
start server "$weir" serve "$dir" 'tcp://*:80' --upload --log "$work/access.log" \
    --driver tun:weir0,10.7.0.2/24,fd07::2/64
semantics http://10.7.0.2
uploads http://10.7.0.2
big_files http://10.7.0.2
slow_and_broken http://10.7.0.2
many http://10.7.0.2
echo 'tun, IPv6'
semantics 'http://[fd07::2]'
uploads 'http://[fd07::2]'
big_files 'http://[fd07::2]'
halt
grep -q '^10\.7\.0\.1 - - \[.*\] "GET /numbers.txt HTTP/1.1" 200 108894$' "$work/access.log" ||
    fail 'the log lacks an answer'
grep -q '^fd07::1 - - ' "$work/access.log" || fail 'the log lacks IPv6'

echo 'tun, a tenth lost each way, no uploads'
start server "$weir" serve "$dir" tcp://10.7.0.2:8080 --driver tun:weir0,10.7.0.2/24,loss=10%
status 200 http://10.7.0.2:8080/numbers.txt
cmp "$work/out" "$dir/numbers.txt" || fail 'another file over a bad path'
status 405 -T "$dir/a.txt" http://10.7.0.2:8080/x
halt

echo 'tun, a full disk'
mkdir "$work/small"
log=/dev/full
# A file system of its own needs a mount namespace, which is the server's alone.
start server unshare -m bash -c "mount -t tmpfs -o size=1m none '$work/small' && exec '$weir' serve \
    '$work/small' tcp://10.7.0.2:80 --upload --log $log --driver tun:weir0,10.7.0.2/24"
head -c 3000000 /dev/urandom >"$work/3MB"
status 507 -T "$work/3MB" http://10.7.0.2/x
status 404 http://10.7.0.2/x
status 201 -T "$dir/numbers.txt" http://10.7.0.2/x # what was half there takes no room
status 200 http://10.7.0.2/x
cmp "$work/out" "$dir/numbers.txt" || fail 'another file from a small disk'
halt # at the latest now the log is written
grep -q "cannot write the log '$log': No space left" "$work/server.err" || fail 'a lost log is not told'

echo 'veth, packet sockets'
other_namespace
ip address add 10.8.0.1/24 dev near
start server nsenter -t "$other" -n "$weir" serve "$dir" tcp://10.8.0.2:80 --upload \
    --driver packet:far,10.8.0.2/24
semantics http://10.8.0.2
big_files http://10.8.0.2
many http://10.8.0.2
halt
echo 'serve.sh: passed'
