#!/bin/sh
# SPDX-License-Identifier: MIT
# test_usage.sh - help, version and wrong use: exit 0 or 2, and one line for what is wrong.
#
#     tests/cli/test_usage.sh WEIR
set -u
export LC_ALL=C

weir=${1:?the program}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0

complain() {
    echo "test_usage: $*" >&2
    failures=$((failures + 1))
}

# answers PATTERN ARGUMENT...: exit 0, PATTERN on stdout, nothing on stderr.
answers() {
    pattern=$1
    shift
    "$weir" "$@" >"$dir/out" 2>"$dir/err" </dev/null || complain "weir $*: exit $?"
    grep -q -- "$pattern" "$dir/out" || complain "weir $*: no '$pattern'"
    [ ! -s "$dir/err" ] || complain "weir $*: $(cat "$dir/err")"
}

# refuses PATTERN ARGUMENT...: exit 2, one line on stderr with PATTERN, nothing on stdout.
refuses() {
    pattern=$1
    shift
    timeout 20 "$weir" "$@" >"$dir/out" 2>"$dir/err" </dev/null
    code=$?
    [ "$code" -eq 2 ] || complain "weir $*: exit $code, not 2"
    [ "$(wc -l <"$dir/err")" -eq 1 ] || complain "weir $*: not one line: $(cat "$dir/err")"
    grep -q -- "$pattern" "$dir/err" || complain "weir $*: '$(cat "$dir/err")' lacks '$pattern'"
    [ ! -s "$dir/out" ] || complain "weir $*: printed $(cat "$dir/out")"
}

answers '^weir [0-9]' --version
answers 'Usage: weir COMMAND' --help
answers 'Usage: weir COMMAND' help
refuses 'no command'
refuses "unknown command 'frobnicate'" frobnicate
refuses "unknown command '--frobnicate'" --frobnicate
refuses "unknown command 'frobnicate'" help frobnicate
for command in send recv pipe tunnel serve relay perf top ctl sim flood; do
    answers "Usage: weir $command" "$command" --help
    answers "weir $command " "$command" --help # an example
    answers "Usage: weir $command" help "$command"
    answers '^weir [0-9]' "$command" --version
    refuses "^weir $command: .*frobnicate" "$command" --frobnicate
done
for command in send recv pipe tunnel serve relay sim flood; do
    refuses "^weir $command: " "$command"
done
for command in recv pipe; do
    refuses "too much" "$command" rudp://127.0.0.1:1 rudp://127.0.0.1:2
    refuses "not a URL" "$command" 127.0.0.1:1
    refuses "not known" "$command" quic://127.0.0.1:1
    refuses "not an address" "$command" rudp://127.0.0.1
    refuses "not an address" "$command" rudp://::1:1
    refuses "not an address" "$command" rudp://127.0.0.1:65536
    refuses "requires an argument" "$command" rudp://127.0.0.1:1 --timeout
    refuses "timeout 'x'" "$command" rudp://127.0.0.1:1 --timeout x
    refuses "timeout '-1'" "$command" rudp://127.0.0.1:1 --timeout=-1
    refuses "cc 'vegas'" "$command" rudp://127.0.0.1:1 --cc vegas
    refuses "doesn't allow an argument" "$command" --help=x
done
refuses '\* is for listening only' pipe 'rudp://*:1'
refuses 'cannot find the host' pipe rudp://no-such-host.invalid:1
serve='serve . tcp://10.7.0.2:80 --driver tun:weir0,10.7.0.2/24'
refuses 'the directory is missing' serve
refuses 'the URL' serve .
# shellcheck disable=SC2086 # words
refuses 'too much' $serve more
refuses 'over tcp://' serve . rudp://10.7.0.2:80 --driver tun:weir0,10.7.0.2/24
refuses 'a server has a port' serve . tcp://10.7.0.2:0 --driver tun:weir0,10.7.0.2/24
refuses 'needs a driver' serve . tcp://127.0.0.1:80
refuses 'not an address of' serve . tcp://10.7.0.3:80 --driver tun:weir0,10.7.0.2/24
for option in upload-max=0 connections=0 connections=x requests=65537 memory=1KB head-size=100 \
    head-timeout=0 stall-timeout=x idle-timeout=1ms; do
    # shellcheck disable=SC2086
    refuses "${option%%=*}: '${option#*=}' is not a value" $serve "--$option"
done
[ "$failures" -eq 0 ] || exit 1
echo "test_usage: all passed"
