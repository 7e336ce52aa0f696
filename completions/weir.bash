# SPDX-License-Identifier: MIT
# weir.bash - completion of weir's commands, options and their values for bash.
# shellcheck shell=bash

# The options of one command; keep in step with completions/_weir and completions/weir.fish.
_weir_options() {
    case $1 in
    send) echo '--json --help' ;;
    recv) echo '-o --output --once --help' ;;
    pipe) echo '-l --listen --help' ;;
    relay) echo '-l --listen -r --remote --loss --delay --jitter --rate --queue --reorder --duplicate
        --corrupt --seed --help' ;;
    perf) echo '-l --listen --mode --seconds --size --guarantee --connections --json --help' ;;
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
        --plot | --trace)
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
