# SPDX-License-Identifier: MIT
# weir.bash - completion of weir's commands, options and their values for bash.
# shellcheck shell=bash

# The options of one command; keep in step with completions/_weir and completions/weir.fish.
_weir_options() {
    case $1 in
    send) echo '-t --timeout -c --cc --resume --no-resume --json -T --trace -q --quiet --driver --preset -m
        --mtu --window --crypt --key --fec --help' ;;
    recv) echo '-o --output -1 --once -t --timeout -c --cc -T --trace -q --quiet --driver --preset -m --mtu
        --window --crypt --key --fec --workers --control --metrics --help' ;;
    pipe) echo '-l --listen --raw -t --timeout -c --cc -T --trace --driver --preset -m --mtu --window --crypt
        --key --fec --help' ;;
    tunnel) echo '-l --listen -r --remote --conn -n --connections -t --timeout --keepalive --drain -c
        --cc --smuxbuf --streambuf -T --trace -q --quiet --kcptun --mode --smuxver --nocomp --nofec
        --driver --preset -m --mtu --window --crypt --key --fec --workers --control --metrics
        --help' ;;
    serve) echo '-u --upload --upload-max -L --log --connections --requests --memory --head-size
        --head-timeout --stall-timeout --idle-timeout --driver -T --trace -q --quiet --workers
        --control --metrics --help' ;;
    relay) echo '-l --listen -r --remote --burst --corrupt --delay --duplicate --jitter --loss --mtu
        --queue --rate --reorder --clients --idle --seconds --seed --stats-every --up-burst
        --up-corrupt --up-delay --up-duplicate --up-jitter --up-loss --up-mtu --up-queue
        --up-rate --up-reorder --down-burst --down-corrupt --down-delay --down-duplicate
        --down-jitter --down-loss --down-mtu --down-queue --down-rate --down-reorder --help' ;;
    perf) echo '-l --listen --once --mode --seconds --size --guarantee --connections --cc --json
        --driver --preset -m --mtu --window --crypt --key --fec --workers --control --metrics
        --help' ;;
    ctl) echo '-s --socket -t --timeout --help' ;;
    top) echo '-i --interval -n --once --help' ;;
    flood) echo '--count --rate --window --echo --victim --timeout --from --device --pid --seed --json
        --help' ;;
    sim) echo '--guarantee --messages --size --every --bulk --channels --flows --rtt --loss --jitter
        --reorder --duplicate --corrupt --rate --queue --cc --seed --json --plot --trace
        --preset -m --mtu --window --crypt --key --fec --help' ;;
    esac
}

_weir() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local command=${COMP_WORDS[1]-} words=''
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        words='send recv pipe tunnel serve relay perf top ctl sim flood help --help --version'
    else
        case $before in
        --guarantee) words='none order delivery' ;;
        --cc) words='cubic bbr newreno none' ;;
        --preset) words='normal fast turbo gaming realtime file-transfer kcptun-normal kcptun-fast
            kcptun-fast2 kcptun-fast3' ;;
        --crypt) words='nil none aes aes-128 aes-192 aes-256 aes-128-gcm aes-192-gcm aes-256-gcm
            salsa20 sm4 twofish blowfish cast5 3des xor' ;;
        --mode)
            words='bulk message latency idle'
            [ "$command" != tunnel ] || words='normal fast fast2 fast3'
            ;;
        --smuxver) words='1 2' ;;
        --workers) words='auto' ;;
        --driver) words='udp tun: tap: packet: raw:' ;;
        -o | --output)
            mapfile -t COMPREPLY < <(compgen -d -- "$word")
            return
            ;;
        -T | --trace | --plot | -L | --log | --socket | --control)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        *)
            case $command in
            help) words='send recv pipe tunnel serve relay perf top ctl sim flood' ;;
            *) words=$(_weir_options "$command") ;;
            esac
            [ "$command" != sim ] || [ "$COMP_CWORD" -ne 2 ] || words+=' rudp kcp tcp'
            [ "$command" != ctl ] || [ "$COMP_CWORD" -ne 2 ] || words+=' resize status json'
            [ "$command" != flood ] || [ "$COMP_CWORD" -ne 2 ] || words+=' syn connect inject'
            ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
    if [[ $command == send || $command == serve || $command == top ]] && [[ $word != -* ]]; then
        local file
        while read -r file; do
            COMPREPLY+=("$file")
        done < <(compgen -f -- "$word")
    fi
}

complete -o filenames -F _weir weir
