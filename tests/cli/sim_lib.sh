# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2034,SC2154 # names shared with the script
# sim_lib.sh - what the tests of "weir sim" say of its JSON. Sourced, with $weir and $engine set; $dir is
# gone at the end, and $failed is 1 once anything was wrong.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0

fail() {
    echo "FAILED: $*" >&2
    failed=1
}

# key FILE NAME: the number under NAME.
key() {
    sed -n "s/.*\"$2\":\([-0-9.]*\).*/\1/p" "$1"
}

# run FILE ARGUMENTS: output to FILE, exit 0 expected (the program itself looks at the guarantee).
run() {
    file=$1
    shift
    "$weir" sim "$engine" "$@" --json >"$file" 2>"$dir/err" ||
        fail "weir sim $engine $*: exit $?, $(cat "$dir/err")"
}

# whole FILE COUNT COMMAND: all were delivered, once, in order.
whole() {
    for pair in sent="$2" delivered="$2" lost=0 duplicated=0 order_violations=0 corrupted=0; do
        [ "$(key "$1" "${pair%%=*}")" = "${pair#*=}" ] ||
            fail "weir sim $engine $3: ${pair%%=*} is '$(key "$1" "${pair%%=*}")', not ${pair#*=}"
    done
}

# at_least, at_most FILE NAME BOUND COMMAND
at_least() {
    awk -v value="$(key "$1" "$2")" -v bound="$3" 'BEGIN { exit !(value >= bound) }' ||
        fail "weir sim $engine $4: $2 is $(key "$1" "$2"), less than $3"
}

at_most() {
    awk -v value="$(key "$1" "$2")" -v bound="$3" 'BEGIN { exit !(value > 0 && value <= bound) }' ||
        fail "weir sim $engine $4: $2 is $(key "$1" "$2"), more than $3"
}

# refuse ARGUMENTS of weir sim: wrong use, in one line.
refuse() {
    got=0
    "$weir" sim "$@" >"$dir/out" 2>"$dir/err" || got=$?
    [ "$got" = 2 ] || fail "weir sim $*: exit $got, not 2"
    [ "$(wc -l <"$dir/err")" = 1 ] || fail "weir sim $*: not one line: $(cat "$dir/err")"
}
