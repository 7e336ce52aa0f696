/* SPDX-License-Identifier: MIT */
/*
 * net.h - --driver SPEC: what carries a command's packets, the kernel's UDP or our own IP.
 *
 * Order: a command names cli_net_argp among the children of its own argp and sets
 * state->child_inputs[...] to a zeroed struct cli_net_options on ARGP_KEY_INIT; or it reads the
 * value itself with cli_net_read. All zero is "udp".
 *
 *   udp[,loss=P]
 *   tun:NAME,ADDR/BITS[,ADDR/BITS...][,host=ADDR/BITS...][,mtu=N][,gateway=ADDR...][,plain]
 *       [,queue=N][,loss=P]                     tap:... the same
 *   packet:INTERFACE,ADDR/BITS[,ADDR/BITS...][,mtu=N][,gateway=ADDR...][,plain][,loss=P]
 *   raw:ADDR[,mtu=N][,trusted][,loss=P]
 */
#ifndef WEIR_CLI_NET_H
#define WEIR_CLI_NET_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

#include "weir/weir.h"

enum cli_net_kind {
    CLI_NET_UDP,
    CLI_NET_TUN,
    CLI_NET_TAP,
    CLI_NET_PACKET,
    CLI_NET_RAW
};

struct cli_net_options {
    enum cli_net_kind kind;
    const char *text;                     /* as given, borrowed; NULL: it was not */
    char name[WEIR_INTERFACE_NAME_BYTES]; /* of the device or interface */
    struct weir_ip_address addresses[WEIR_IP_ADDRESSES_MAX]; /* ours */
    uint32_t address_count;
    struct weir_ip_address host4, host6; /* the kernel's end of a tun or tap; family NONE: the first
                                            other address of our prefix, on a new device */
    struct weir_addr gateway4, gateway6;
    uint32_t mtu_bytes;    /* 0: the interface's */
    uint32_t queue_frames; /* 0: the device's */
    uint32_t loss_ppm;     /* of what passes below our IP, each way */
    bool is_plain;         /* no offloads */
    bool is_trusted;       /* checksums are not looked at */
};

/* --driver. No arguments. */
extern const struct argp cli_net_argp;

/* False with the line printed (CLI_USAGE). */
bool cli_net_read(const char *text, struct cli_net_options *options);

/* False with the line printed (CLI_USAGE): TCP wants another driver than udp. */
bool cli_net_check_tcp(const struct cli_net_options *options);

/* Our own IP for TCP, or with udp_port not 0 for UDP datagrams of that port; trace_path, unless
 * NULL, is a pcapng file of all segments or datagrams. NULL with the line printed. Not for
 * the kind udp. Free with cli_net_close. */
struct weir_driver *cli_net_open(const struct cli_net_options *options, uint16_t udp_port,
                                 const char *trace_path);
/* For a transport over UDP: a socket of the kernel on *bind, or our own IP with its port; a port 0
 * is chosen and put into *bind. is_quiet: no warning about small buffers. */
struct weir_driver *cli_net_open_udp(const struct cli_net_options *options, struct weir_addr *bind,
                                     const char *trace_path, bool is_quiet);
/* The same for count threads: queues that share a port (udp), a device or an interface. bind NULL:
 * our own IP for TCP, else as cli_net_open_udp, and *bind then has the port. Each traces to a file
 * of its own: run-0.pcapng for run.pcapng. False with the line printed; nothing is open then. Close
 * each. */
bool cli_net_open_queues(const struct cli_net_options *options, struct weir_addr *bind,
                         const char *trace_path, struct weir_driver **queues, uint32_t count);
/* Warns when not all of the trace could be written. */
void cli_net_close(struct weir_driver *driver);

/* Longest IP packet of a driver made by cli_net_open: weir_tcp_config's mtu_bytes. */
uint16_t cli_net_mtu_bytes(const struct cli_net_options *options, const struct weir_driver *driver);
bool cli_net_has_address(const struct cli_net_options *options, const struct weir_addr *addr);
/* Is local the any-address, or one of ours? False with the line printed. Of the kind udp always
 * true: the kernel knows. */
bool cli_net_check_local(const struct cli_net_options *options, const struct weir_addr *local);
/* Sets local to the address of ours, with port 0, from which remote is reached. False with the line
 * printed: none is of its family. */
bool cli_net_source(const struct cli_net_options *options, const struct weir_addr *remote,
                    struct weir_addr *local);

#endif
