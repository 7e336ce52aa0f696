#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# tidy.sh - the rules of this project that no general tool knows.
#
#     tools/tidy.sh BUILD
#
# Layers by #include, exported names, the libc that pure code may call, sizes of files, dead files,
# words that have no place here. Prints one line per finding, "file: what is wrong", and ends with 1.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C

build=${1:-build}
objects=$build/CMakeFiles/weir_objects.dir/src
pure='base mem wire core rudp kcp ip tcp'
findings=0

say() {
    echo "$*"
    findings=$((findings + 1))
}

includes_of() {
    sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*\([<"][^>"]*[>"]\).*/\1/p' "$1"
}

# --- layers: what each folder may include ---------------------------------------------------------
# Public headers belong to layers too; driver.h, loop.h and rudp.h only declare what engines fill in.
low='weir/status.h weir/span.h weir/time.h weir/addr.h weir/parcel.h weir/version.h'
declare -A public=(
    [base]="$low"
    [mem]="$low weir/ring.h weir/slide.h"
    [wire]="$low"
    [core]="$low weir/ring.h weir/slide.h weir/cc.h weir/driver.h weir/route.h"
    [rudp]="$low weir/ring.h weir/slide.h weir/cc.h weir/driver.h weir/loop.h weir/os.h weir/rudp.h weir/rudp_stats.h"
    [tcp]="$low weir/ring.h weir/slide.h weir/cc.h weir/driver.h weir/loop.h weir/os.h weir/tcp.h weir/tcp_stats.h"
    [kcp]="$low weir/ring.h weir/slide.h weir/cc.h weir/driver.h weir/loop.h weir/os.h weir/kcp.h weir/kcp_stats.h weir/kcp_layers.h"
    [ip]="$low weir/driver.h weir/ip.h"
    [driver]="$low weir/ring.h weir/slide.h weir/driver.h weir/sim.h weir/udp.h weir/wrap.h weir/os.h weir/version.h weir/ip.h weir/tun.h weir/packet.h weir/raw.h weir/inet.h"
)
declare -A folders=(
    [base]='base' [mem]='base mem' [wire]='base wire' [core]='base mem wire core'
    [rudp]='base mem wire core rudp' [kcp]='base mem wire core kcp' [tcp]='base mem wire core tcp' [ip]='base mem wire core ip' [driver]='base mem wire core ip driver'
    [compat]='wire kcp compat' [run]='base mem wire core rudp kcp tcp ip driver run' [cli]='base mem wire core rudp kcp tcp ip driver run cli'
    [packetdrill]='packetdrill'
)
# What pure code may take from outside: C's freestanding headers, string.h, atomics, the processor's
# own instructions, and ISA-L for CRC32C. KCP's crypto header and FEC are the libraries' work.
system='stddef.h stdint.h stdbool.h stdatomic.h stdalign.h limits.h string.h'
system+=' emmintrin.h immintrin.h nmmintrin.h isa-l.h isa-l/crc.h'
declare -A system_of=(
    [src/kcp/crypt]='nettle/* openssl/evp.h' [src/kcp/fec]='isa-l/erasure_code.h'
)

is_word() {
    [[ " $2 " == *" $1 "* ]]
}

# May this file include this library's header? By the start of the file's name.
is_of_library() {
    local start pattern
    for start in "${!system_of[@]}"; do
        [[ $1 == "$start"* ]] || continue
        for pattern in ${system_of[$start]}; do
            # shellcheck disable=SC2053 # a pattern
            [[ $2 != $pattern ]] || return 0
        done
    done
    return 1
}

check_include() {
    local file=$1 folder=$2 include=$3 name=${3:1:-1}
    case $include in
    '<'*)
        is_word "$folder" "$pure" || return 0
        is_word "$name" "$system" && return 0
        is_of_library "$file" "$name" && return 0
        [[ $file == src/base/assert.c && ($name == stdio.h || $name == stdlib.h) ]] && return 0
        say "$file: pure code includes <$name>"
        ;;
    '"weir/'*)
        [[ -z ${public[$folder]-} ]] || is_word "$name" "${public[$folder]}" ||
            say "$file: $folder may not include $name"
        ;;
    *)
        [[ $name == */* ]] || { say "$file: include \"$name\" by its folder"; return 0; }
        is_word "${name%%/*}" "${folders[$folder]}" || say "$file: $folder may not include $name"
        ;;
    esac
}

check_layers() {
    local file folder include
    while read -r file; do
        folder=${file#src/}
        folder=${folder%%/*}
        if [[ -z ${folders[$folder]-} ]]; then
            say "$file: tools/tidy.sh does not know the layer of src/$folder"
            continue
        fi
        while read -r include; do
            check_include "$file" "$folder" "$include"
        done < <(includes_of "$file")
    done < <(find src -name '*.[ch]' | sort)
    while read -r file; do
        while read -r include; do
            case $include in
            '"weir/'* | '<stddef.h>' | '<stdint.h>' | '<stdbool.h>' | '<string.h>') ;;
            # The reference's header brings these along, and programs rely on it.
            '<assert.h>' | '<stdlib.h>') [[ $file == include/weir/compat/* ]] || say "$file: a public header includes $include" ;;
            *) say "$file: a public header includes $include" ;;
            esac
        done < <(includes_of "$file")
    done < <(find include -name '*.h' | sort)
}

# --- public headers stand alone, in C and in C++ --------------------------------------------------
check_headers() {
    local file
    while read -r file; do
        gcc -std=c17 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I include -x c \
            -include "$file" /dev/null || say "$file: does not compile alone as C17"
        if command -v g++ >/dev/null; then
            g++ -std=c++17 -Wall -Wextra -Werror -fsyntax-only -I include -x c++ \
                -include "$file" /dev/null || say "$file: does not compile alone as C++17"
        fi
    done < <(find include -name '*.h' | sort)
}

# --- names and calls, by nm -----------------------------------------------------------------------
# Everything that pure code may leave undefined. No allocation, no clock, no I/O, no locale.
calls='memcpy|memmove|memset|memcmp|memchr|strlen|strcmp|strncmp|crc32_iscsi'
calls+='|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|weir_[a-z0-9_]*'
# The compiler's own helpers: 128-bit division, bit counts, which instructions the processor has.
calls+='|__u?(div|mod)ti3|__popcountdi2|__cpu_model|__cpu_indicator_init'

check_symbols() {
    local library=$build/libweir.so object source symbol folder allowed
    if [[ ! -e $library || ! -d $objects ]]; then
        say "$build: not built, symbols cannot be checked"
        return
    fi
    while read -r symbol; do
        say "$library: exports $symbol"
    done < <(nm -D --defined-only "$library" | awk '$3 !~ /^weir_/ { print $3 }')
    # The one library with names that are not ours.
    while read -r symbol; do
        say "$build/libweir-ikcp.so: exports $symbol"
    done < <(nm -D --defined-only "$build/libweir-ikcp.so" | awk '$3 !~ /^ikcp_/ { print $3 }')
    while read -r object; do
        source=src/${object#"$objects"/}
        source=${source%.o}
        while read -r symbol; do
            say "$source: external name without weir_: $symbol"
        done < <(nm -g --defined-only "$object" | awk 'NF == 3 && $3 !~ /^weir_/ { print $3 }')
        folder=${source#src/}
        folder=${folder%%/*}
        is_word "$folder" "$pure" || continue
        allowed=$calls
        [[ $source != src/kcp/crypt* ]] || allowed+='|nettle_[a-z0-9_]*|EVP_[A-Za-z0-9_]*|crc32_gzip_refl'
        [[ $source != src/kcp/fec* ]] || allowed+='|ec_(init_tables|encode_data|encode_data_update)|gf_(mul|inv)'
        [[ $source != src/base/assert.c ]] || allowed+='|abort|fprintf|stderr|fputs|fflush'
        while read -r symbol; do
            [[ $symbol =~ ^($allowed)$ ]] || say "$source: pure code calls $symbol"
        done < <(nm -u "$object" | awk '{ print $2 }')
    done < <(find "$objects" -name '*.o' | sort)
}

# --- sizes -----------------------------------------------------------------------------------------
check_sizes() {
    local file lines limit
    while read -r file; do
        lines=$(wc -l <"$file")
        case $file in
        include/*) limit=300 ;;
        *) limit=800 ;;
        esac
        [ "$lines" -le "$limit" ] || say "$file: $lines lines, the limit is $limit"
        awk -v file="$file" 'length($0) > 100 { print file ":" FNR ": longer than 100 columns" }' "$file"
    done < <(find src include tests bench examples -name '*.[ch]' | sort) >"$build/tidy.lines"
    while read -r file; do
        say "$file"
    done <"$build/tidy.lines"
}

# --- dead files ------------------------------------------------------------------------------------
check_dead() {
    local file name folder entries
    while read -r file; do
        name=${file#src/}
        name=${name#include/}
        grep -rqF --include='*.[ch]' --include='*.cc' --include='*.cpp' -e "\"$name\"" -e "<$name>" \
            src include tests bench examples ||
            grep -rqF --include='*.[ch]' "\"$(basename "$file")\"" "$(dirname "$file")" ||
            [[ $file == include/weir/weir.h ]] || say "$file: nobody includes it"
    done < <(find src include tests bench examples -name '*.h' | sort)
    while read -r file; do
        grep -qF "/$file\"" "$build/compile_commands.json" || say "$file: is not built"
    done < <(find src tests bench examples -path tests/install -prune -o -name '*.c' -print | sort)
    entries=$(ctest --test-dir "$build" -N 2>/dev/null | sed -n 's/^ *Test *#[0-9]*: //p')
    while read -r file; do
        name=$(basename "$file" .c)
        grep -qx "unit_${name#test_}" <<<"$entries" || say "$file: is not registered with ctest"
    done < <(find tests/unit -name 'test_*.c' | sort)
    while read -r file; do
        name=$(basename "$file" .c)
        grep -qx "$name" <<<"$entries" || say "$file: is not registered with ctest"
        folder=tests/fuzz/corpus/${name#fuzz_}
        [ -n "$(ls "$folder" 2>/dev/null)" ] || say "$file: has no corpus in $folder"
    done < <(find tests/fuzz -name 'fuzz_*.c' | sort)
}

# --- words -----------------------------------------------------------------------------------------
find_words() {
    local what=$1 pattern=$2 hit
    shift 2
    while read -r hit; do
        say "${hit%%:*}:$(cut -d: -f2 <<<"$hit"): $what"
    done < <(grep -rnE --include='*.[ch]' "$pattern" "$@" || true)
}

check_words() {
    local file line
    # But packetdrill makes its calls on two threads.
    find_words 'a lock or a wait between threads' \
        '\b(pthread_(mutex|cond|rwlock|spin|barrier)|mtx_|cnd_|sem_(wait|post|init)|SYS_futex)' src include \
        --exclude-dir=packetdrill
    find_words 'finish it or leave it out' '\b(TODO|FIXME|XXX|HACK)\b' \
        src include tests bench examples
    # Comments are taken out first: they may speak of doubles.
    for folder in $pure; do
        while read -r file; do
            while read -r line; do
                say "$file: floating point in pure code: $line"
            done < <(gcc -fpreprocessed -dD -E -P "$file" 2>/dev/null | grep -E '\b(float|double)\b')
        done < <(find "src/$folder" -name '*.[ch]' | sort)
    done
    while read -r file; do
        head -n 3 "$file" | grep -q 'SPDX-License-Identifier: MIT' || say "$file: no SPDX line"
    done < <(find src include tests bench examples tools run -type f \( -name '*.[ch]' -o -name '*.sh' -o -name run \) | sort)
}

check_layers
check_headers
check_symbols
check_sizes
check_dead
check_words
[ "$findings" -eq 0 ] || { echo "tidy: $findings findings"; exit 1; }
echo "tidy: nothing found"
