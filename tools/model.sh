#!/bin/sh
# SPDX-License-Identifier: MIT
# model.sh - lets spin search every order of steps in docs/model/crew.pml.
#
#     tools/model.sh [OPTION...]    e.g. -DRESIZES=3 or -DPACKETS=2: see the top of the model
#
# Prints the number of states. Ends with 1 and the steps that lead there when a claim does not hold,
# with 77 where spin or a C compiler is missing.
set -eu
model=$(cd "$(dirname "$0")/.." && pwd)/docs/model/crew.pml
for program in spin cc; do
    command -v "$program" >/dev/null || {
        echo "model.sh: skipped, needs $program (Debian: spin, gcc)"
        exit 77
    }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cp "$model" .
spin "$@" -a crew.pml >spin.log || {
    cat spin.log
    exit 1
}
cc -O2 -w -DCOLLAPSE -DSAFETY -DMEMLIM=4096 -o pan pan.c
./pan -m1000000 >pan.log || true
if grep -q 'errors: 0' pan.log && ! grep -q -e 'not completed' -e 'too small' -e 'truncated' pan.log; then
    echo "crew.pml${*:+ $*}: no errors, $(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' pan.log) states"
    exit 0
fi
cat pan.log
[ ! -f crew.pml.trail ] || spin "$@" -t -p crew.pml | tail -n 200
exit 1
