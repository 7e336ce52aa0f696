#!/bin/sh
# SPDX-License-Identifier: MIT
# fresh_seed.sh - runs the property test from seeds that no run before had, and says which.
#
#     tests/sim/fresh_seed.sh PROP_RUDP COUNT
set -eu
seed=$(date +%s)
echo "first seed: $seed; replay: $1 $seed $2"
exec "$1" "$seed" "$2"
