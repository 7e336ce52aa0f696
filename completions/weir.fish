# SPDX-License-Identifier: MIT
# weir.fish - completion of weir's commands, options and their values for fish. One line an option;
# keep in step with weir.bash and _weir.

complete -c weir -f
complete -c weir -n __fish_use_subcommand -a send -d 'send files and directories'
complete -c weir -n __fish_use_subcommand -a recv -d 'receive files and directories'
complete -c weir -n __fish_use_subcommand -a pipe -d 'connect standard input and output to a peer'
complete -c weir -n __fish_use_subcommand -a relay -d 'stand between two UDP programs as a bad network'
complete -c weir -n __fish_use_subcommand -a perf -d 'measure throughput, latency and cost'
complete -c weir -n __fish_use_subcommand -a sim -d 'run a whole exchange in virtual time'
complete -c weir -n __fish_use_subcommand -a help -d 'explain a command'
complete -c weir -n __fish_use_subcommand -l version -d 'print the version'
complete -c weir -n __fish_use_subcommand -l help -d 'commands'

complete -c weir -n '__fish_seen_subcommand_from help' -a 'send recv pipe relay perf sim'

complete -c weir -n '__fish_seen_subcommand_from send' -F
complete -c weir -n '__fish_seen_subcommand_from send' -l json -rF -d 'write the figures of the transfer to FILE'
complete -c weir -n '__fish_seen_subcommand_from send' -l help -d 'list the options, with examples'

complete -c weir -n '__fish_seen_subcommand_from recv' -s o -l output -xa '(__fish_complete_directories)' -d 'where received files go (default: here)'
complete -c weir -n '__fish_seen_subcommand_from recv' -l once -d 'end after one transfer'
complete -c weir -n '__fish_seen_subcommand_from recv' -l help -d 'list the options, with examples'

complete -c weir -n '__fish_seen_subcommand_from pipe' -s l -l listen -x -d 'wait for the peer here'
complete -c weir -n '__fish_seen_subcommand_from pipe' -l help -d 'list the options, with examples'

complete -c weir -n '__fish_seen_subcommand_from relay' -s l -l listen -x -d 'listen here'
complete -c weir -n '__fish_seen_subcommand_from relay' -s r -l remote -x -d 'forward to this address'
complete -c weir -n '__fish_seen_subcommand_from relay' -l loss -x -d 'share of datagrams lost'
complete -c weir -n '__fish_seen_subcommand_from relay' -l delay -x -d 'added one way'
complete -c weir -n '__fish_seen_subcommand_from relay' -l jitter -x -d 'added at random, from 0 to T'
complete -c weir -n '__fish_seen_subcommand_from relay' -l rate -x -d 'of the bottleneck'
complete -c weir -n '__fish_seen_subcommand_from relay' -l queue -x -d 'bytes in front of the bottleneck'
complete -c weir -n '__fish_seen_subcommand_from relay' -l reorder -x -d 'share held back'
complete -c weir -n '__fish_seen_subcommand_from relay' -l duplicate -x -d 'share sent twice'
complete -c weir -n '__fish_seen_subcommand_from relay' -l corrupt -x -d 'share with flipped bits'
complete -c weir -n '__fish_seen_subcommand_from relay' -l seed -x -d 'of everything random'
complete -c weir -n '__fish_seen_subcommand_from relay' -l help -d 'list the options, with examples'

complete -c weir -n '__fish_seen_subcommand_from perf' -s l -l listen -x -d 'be the server'
complete -c weir -n '__fish_seen_subcommand_from perf' -l mode -xa 'bulk message latency idle' -d 'bulk, message, latency or idle'
complete -c weir -n '__fish_seen_subcommand_from perf' -l seconds -x -d 'how long'
complete -c weir -n '__fish_seen_subcommand_from perf' -l size -x -d 'of a message'
complete -c weir -n '__fish_seen_subcommand_from perf' -l guarantee -xa 'none order delivery' -d 'none, order or delivery'
complete -c weir -n '__fish_seen_subcommand_from perf' -l connections -x -d 'how many'
complete -c weir -n '__fish_seen_subcommand_from perf' -l json -d 'one JSON object on standard output'
complete -c weir -n '__fish_seen_subcommand_from perf' -l help -d 'list the options, with examples'

complete -c weir -n '__fish_seen_subcommand_from sim' -a rudp
complete -c weir -n '__fish_seen_subcommand_from sim' -l guarantee -xa 'none order delivery' -d 'none, order or delivery (default)'
complete -c weir -n '__fish_seen_subcommand_from sim' -l messages -x -d 'how many (default 10000)'
complete -c weir -n '__fish_seen_subcommand_from sim' -l size -x -d 'of each, at least 16 bytes (default 300; with --bulk 16KiB)'
complete -c weir -n '__fish_seen_subcommand_from sim' -l every -x -d 'one message every T (default 1ms)'
complete -c weir -n '__fish_seen_subcommand_from sim' -l bulk -x -d 'this much in all, as fast as the queue takes it'
complete -c weir -n '__fish_seen_subcommand_from sim' -l channels -x -d 'spread over N channels in turn (default 1)'
complete -c weir -n '__fish_seen_subcommand_from sim' -l rtt -x -d 'round-trip time, half each way (default 20ms)'
complete -c weir -n '__fish_seen_subcommand_from sim' -l loss -x -d 'share of datagrams lost'
complete -c weir -n '__fish_seen_subcommand_from sim' -l jitter -x -d 'added to the delay, uniform from 0 to T'
complete -c weir -n '__fish_seen_subcommand_from sim' -l reorder -x -d 'share held back so that others overtake'
complete -c weir -n '__fish_seen_subcommand_from sim' -l duplicate -x -d 'share that arrives twice'
complete -c weir -n '__fish_seen_subcommand_from sim' -l corrupt -x -d 'share with bits flipped'
complete -c weir -n '__fish_seen_subcommand_from sim' -l rate -x -d 'of the bottleneck, e.g. 100mbit (default unlimited)'
complete -c weir -n '__fish_seen_subcommand_from sim' -l queue -x -d 'in front of the bottleneck (default 1MiB)'
complete -c weir -n '__fish_seen_subcommand_from sim' -l mtu -x -d 'largest UDP payload that passes, 576 to 65507'
complete -c weir -n '__fish_seen_subcommand_from sim' -l cc -xa 'cubic bbr newreno none' -d 'cubic (default), bbr, newreno or none'
complete -c weir -n '__fish_seen_subcommand_from sim' -l seed -x -d 'of everything random (default 1)'
complete -c weir -n '__fish_seen_subcommand_from sim' -l json -d 'one JSON object on standard output'
complete -c weir -n '__fish_seen_subcommand_from sim' -l plot -rF -d 'draw cwnd, in flight, RTT and goodput over time'
complete -c weir -n '__fish_seen_subcommand_from sim' -l trace -rF -d 'the clients packets as pcapng'
complete -c weir -n '__fish_seen_subcommand_from sim' -l help -d 'list the options, with examples'
