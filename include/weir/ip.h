/* SPDX-License-Identifier: MIT */
/*
 * ip.h - the Internet protocol below TCP and UDP: what is configured, what is counted.
 *
 * Role: our own Ethernet, ARP, neighbour discovery, IPv4, IPv6, ICMP and UDP, for drivers that move
 * frames. Used through weir/inet.h. A host with one link: it forwards nothing.
 * Memory: set up-front and bounded by the config; see neighbours_max, pending_max, reassembly_max.
 * Spec: RFC 791, 792, 826, 1122, 4291, 4443, 4861, 8200.
 */
#ifndef WEIR_IP_H
#define WEIR_IP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/addr.h"
#include "weir/time.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_IP_ADDRESSES_MAX = 8
};

/* One of our addresses, and the bits that all hosts on the link have in common with it. */
struct weir_ip_address {
    struct weir_addr addr; /* its port means nothing */
    uint8_t prefix;
};

struct weir_ip_config {
    struct weir_ip_address addresses[WEIR_IP_ADDRESSES_MAX];
    uint32_t address_count;              /* at least 1. No default */
    struct weir_addr gateway4, gateway6; /* for what is not on the link; default: family NONE */
    bool is_ethernet;                    /* frames have Ethernet headers; default off */
    uint8_t mac[6];                      /* ours, with is_ethernet */
    uint32_t scope;     /* put into link-local addresses, as weir_addr has it; default 0 */
    uint32_t mtu_bytes; /* longest IP packet, 576 to 65,535 (IPv6: from 1,280); default 1,500 */
    uint16_t neighbours_max; /* default 256, least recently used ones go first */
    uint16_t pending_max;    /* packets that wait for a neighbour's MAC address, default 16, and at
                                  most 3 for each neighbour; mtu_bytes of memory each */
    uint16_t reassembly_max; /* datagrams whose fragments are gathered at a time, default 16, 64 KiB
                                  each (touched when used), at most 256. 0: fragments are dropped */
    uint32_t reassembly_bytes_max; /* longest datagram put together, default and at most 65,535 */
    weir_nsec reassembly_timeout;  /* default 60 s */
    uint8_t hop_limit; /* time to live of what the transport sends, default 64, at least 1 */
    uint8_t dscp;      /* its differentiated services codepoint (RFC 2474), default 0, at most 63 */
    uint32_t errors_per_second; /* ICMP errors sent, default 100; 0: none */
    uint32_t echoes_per_second; /* echo requests answered, default 10,000; 0: none */
};

/* Why something went no further. */
enum weir_ip_drop {
    WEIR_IP_DROP_ETHERNET = 0, /* cut off, to another host, or neither IP nor ARP */
    WEIR_IP_DROP_ARP,          /* malformed, or from no unicast address */
    WEIR_IP_DROP_HEADER,       /* IP header malformed or cut off */
    WEIR_IP_DROP_CHECKSUM,     /* IPv4 header, ICMP or UDP */
    WEIR_IP_DROP_SOURCE,       /* from an address that no other host can have */
    WEIR_IP_DROP_DESTINATION,  /* to an address that is not ours */
    WEIR_IP_DROP_EXTENSION,    /* IPv6 extension headers or options */
    WEIR_IP_DROP_PROTOCOL,     /* neither TCP, UDP nor ICMP, or not served here */
    WEIR_IP_DROP_UDP,          /* malformed */
    WEIR_IP_DROP_PORT,         /* UDP, to another port */
    WEIR_IP_DROP_ICMP,         /* malformed, or not known here */
    WEIR_IP_DROP_ND,           /* neighbour discovery that RFC 4861 7.1 forbids to believe */
    WEIR_IP_DROP_QUOTE,        /* an ICMP error about nothing of ours */
    WEIR_IP_DROP_FRAGMENT,     /* malformed, overlapping, too long, or refused by configuration */
    WEIR_IP_DROP_REASSEMBLY,   /* the rest did not come in time, or others took the place */
    WEIR_IP_DROP_RATE,         /* an answer of ours beyond its rate */
    WEIR_IP_DROP_OUTPUT,       /* an answer of ours for which there was no room */
    WEIR_IP_DROP_ROUTE,        /* to send: no address of ours or no gateway for it */
    WEIR_IP_DROP_TOO_LARGE,    /* to send: beyond the MTU */
    WEIR_IP_DROP_UNRESOLVED,   /* to send: the neighbour does not answer, or too many wait for it */
    WEIR_IP_DROP_COUNT
};

struct weir_ip_stats {
    uint64_t rx_frames, rx_segments, rx_datagrams, rx_fragments, rx_reassembled, rx_unreached;
    uint64_t tx_frames;      /* that carry a transport's bytes; a run counts once */
    uint64_t tx_own;         /* ARP, neighbour discovery, ICMP */
    uint64_t echoes, errors; /* answered; sent */
    uint64_t conflicts;      /* another host used an address of ours */
    uint64_t neighbours_evicted;
    uint64_t dropped[WEIR_IP_DROP_COUNT];
};

/* Everything but addresses at its default. */
WEIR_API void weir_ip_config_default(struct weir_ip_config *config);
/* One word for a reason, static, never NULL. */
WEIR_API const char *weir_ip_drop_text(enum weir_ip_drop drop);

#ifdef __cplusplus
}
#endif
#endif
