# SPDX-License-Identifier: MIT
# weir.bash - completion of weir's commands, options and their values for bash.
# shellcheck shell=bash

# The options of one command; keep in step with completions/_weir and completions/weir.fish.
_weir_options() {
    case $1 in
    send) echo '-t --timeout -c --cc --resume --no-resume --json -m --mtu -T --trace -q --quiet
        --help' ;;
    recv) echo '-o --output -1 --once -t --timeout -c --cc -T --trace -q --quiet --help' ;;
    pipe) echo '-l --listen -t --timeout -c --cc -T --trace --help' ;;
    relay) echo '-l --listen -r --remote --burst --corrupt --delay --duplicate --jitter --loss --mtu
        --queue --rate --reorder --clients --idle --seconds --seed --stats-every --up-burst
        --up-corrupt --up-delay --up-duplicate --up-jitter --up-loss --up-mtu --up-queue
        --up-rate --up-reorder --down-burst --down-corrupt --down-delay --down-duplicate
        --down-jitter --down-loss --down-mtu --down-queue --down-rate --down-reorder --help' ;;
    perf) echo '-l --listen --once --mode --seconds --size --guarantee --connections --cc --mtu
        --json --help' ;;
    sim) echo '--guarantee --messages --size --every --bulk --channels --rtt --loss --jitter
        --reorder --duplicate --corrupt --rate --queue --mtu --cc --seed --json --plot
        --trace --help' ;;
    esac
}

_weir() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local command=${COMP_WORDS[1]-} words=''
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        words='send recv pipe relay perf sim help --help --version'
    else
        case $before in
        --guarantee) words='none order delivery' ;;
        --cc) words='cubic bbr newreno none' ;;
        --mode) words='bulk message latency idle' ;;
        -o | --output)
            mapfile -t COMPREPLY < <(compgen -d -- "$word")
            return
            ;;
        -T | --trace | --plot)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        *)
            case $command in
            help) words='send recv pipe relay perf sim' ;;
            *) words=$(_weir_options "$command") ;;
            esac
            [ "$command" != sim ] || [ "$COMP_CWORD" -ne 2 ] || words+=' rudp'
            ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
    if [ "$command" = send ] && [[ $word != -* ]]; then
        local file
        while read -r file; do
            COMPREPLY+=("$file")
        done < <(compgen -f -- "$word")
    fi
}

complete -o filenames -F _weir weir
