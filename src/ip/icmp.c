/* SPDX-License-Identifier: MIT */
/*
 * icmp.c - echoes answered, errors believed or not, errors sent.
 *
 * Bound: echoes and errors have rates of their own, each a bucket of a tenth of a second.
 * Spec: RFC 792, RFC 1122 3.2.2, RFC 1191 5, RFC 4443, RFC 8201.
 */
#include "base/bytes.h"
#include "ip/internal.h"
#include "wire/tcp.h"

enum {
    /* Of the packet that an error is about, we quote so much. RFC 1812 4.3.2.3: an ICMP datagram
     * of up to 576 bytes; RFC 4443 3: as much as fits the least MTU. */
    QUOTE_BYTES_IP4 = 576 - WEIR_IP4_HEADER_BYTES - WEIR_ICMP_HEADER_BYTES,
    QUOTE_BYTES_IP6 = 1280 - WEIR_IP6_HEADER_BYTES - WEIR_ICMP_HEADER_BYTES,
    /* RFC 792: so much of the transport's header is always quoted: TCP's ports and number. */
    QUOTED_TRANSPORT_BYTES = 8,
    MTU_MIN_IP4 = 68,
    MTU_MIN_IP6 = 1280
};

static bool is_ip6(const struct weir_ip_rx *rx)
{
    return rx->path.remote.family == WEIR_ADDR_IP6;
}

/* Sends the message in the scratch: a header to be written, and length bytes behind it. */
static void send_message(struct weir_ip *ip, const struct weir_ip_rx *rx,
                         const struct weir_icmp *icmp, uint32_t length)
{
    struct weir_ip_message message = {.path = rx->path,
                                      .data = ip->scratch,
                                      .length = WEIR_ICMP_HEADER_BYTES + length,
                                      .protocol = is_ip6(rx) ? WEIR_IP_ICMP6 : WEIR_IP_ICMP,
                                      .hop_limit = WEIR_IP_HOP_LIMIT};
    const struct weir_addr *own = weir_ip_pick_own(ip, &rx->path.remote);
    if (rx->is_group && own != NULL) {
        message.path.local = *own;
    }
    weir_icmp_encode_header(ip->scratch, icmp);
    weir_icmp_seal(ip->scratch, message.length, &message.path);
    weir_ip_emit(ip, rx->now, &message);
}

/* --- sent ------------------------------------------------------------------------------------- */

/* RFC 1122 3.2.2.6, RFC 4443 4.2: MUST be answered, with the data that came. To many: IPv6 only. */
static void answer_echo(struct weir_ip *ip, const struct weir_ip_rx *rx,
                        const struct weir_icmp *icmp)
{
    const struct weir_icmp reply = {
        .type = is_ip6(rx) ? WEIR_ICMP6_ECHO_REPLY : WEIR_ICMP_ECHO_REPLY, .rest = icmp->rest};
    if ((rx->is_group && !is_ip6(rx)) || weir_ip_is_unspecified(&rx->path.remote)) {
        weir_ip_drop(ip, WEIR_IP_DROP_ICMP);
        return;
    }
    if (!weir_ip_rate_take(&ip->echoes, rx->now)) {
        weir_ip_drop(ip, WEIR_IP_DROP_RATE);
        return;
    }
    memcpy(ip->scratch + WEIR_ICMP_HEADER_BYTES, icmp->body.data, icmp->body.length);
    ip->stats.echoes++;
    send_message(ip, rx, &reply, (uint32_t)icmp->body.length);
}

/* RFC 1122 3.2.2, RFC 4443 2.4 (e): none about an error, about what was sent to many, or from no
 * one host. RFC 4443 2.4 (e.3): too big and unknown options are said even then; there, the walk
 * over the options decides. */
static bool is_error_allowed(const struct weir_ip *ip, const struct weir_ip_rx *rx, uint8_t type,
                             uint8_t code)
{
    const uint8_t icmp = is_ip6(rx) ? WEIR_IP_ICMP6 : WEIR_IP_ICMP;
    bool is_option = is_ip6(rx) && type == WEIR_ICMP6_PROBLEM && code == 2;
    if (rx->protocol == icmp &&
        (rx->payload_bytes == 0 || weir_icmp_is_error(rx->payload[0], is_ip6(rx)))) {
        return false;
    }
    return (!rx->is_group || is_option) && weir_ip_is_unicast(ip, &rx->path.remote);
}

void weir_ip_send_error(struct weir_ip *ip, const struct weir_ip_rx *rx, uint8_t type, uint8_t code,
                        uint32_t rest)
{
    const struct weir_icmp icmp = {.type = type, .code = code, .rest = rest};
    if (!is_error_allowed(ip, rx, type, code)) {
        return;
    }
    if (!weir_ip_rate_take(&ip->errors, rx->now)) {
        weir_ip_drop(ip, WEIR_IP_DROP_RATE);
        return;
    }
    uint64_t there = (uint64_t)(rx->payload - rx->head) + rx->payload_bytes;
    size_t length = weir_min_u64(there, is_ip6(rx) ? QUOTE_BYTES_IP6 : QUOTE_BYTES_IP4);
    memcpy(ip->scratch + WEIR_ICMP_HEADER_BYTES, rx->head, length);
    ip->stats.errors++;
    send_message(ip, rx, &icmp, (uint32_t)length);
}

/* --- received --------------------------------------------------------------------------------- */

/* What an error quotes: whose packet it was, and where its transport's header is. */
struct quote {
    struct weir_path path; /* local: its source */
    uint32_t at;           /* of the transport's header in the quote */
    uint32_t total_bytes;
    uint8_t protocol;
};

/* The quoted packet is cut off, so its lengths are not checked against anything. */
static bool read_quote4(const struct weir_ip *ip, struct weir_span body, struct quote *quote)
{
    const uint8_t *p = body.data;
    if (body.length < WEIR_IP4_HEADER_BYTES || p[0] >> 4 != 4 || (p[0] & 15) < 5 ||
        (weir_load16(p + 6) & 0x1fff) != 0) {
        return false;
    }
    quote->at = (p[0] & 15) * 4U;
    quote->total_bytes = weir_load16(p + 2);
    quote->protocol = p[9];
    quote->path.local = weir_ip_read_addr(ip, p + 12, WEIR_ADDR_IP4);
    quote->path.remote = weir_ip_read_addr(ip, p + 16, WEIR_ADDR_IP4);
    return true;
}

/* We send no extension headers. */
static bool read_quote6(const struct weir_ip *ip, struct weir_span body, struct quote *quote)
{
    const uint8_t *p = body.data;
    if (body.length < WEIR_IP6_HEADER_BYTES || p[0] >> 4 != 6) {
        return false;
    }
    quote->at = WEIR_IP6_HEADER_BYTES;
    quote->protocol = p[6];
    quote->path.local = weir_ip_read_addr(ip, p + 8, WEIR_ADDR_IP6);
    quote->path.remote = weir_ip_read_addr(ip, p + 24, WEIR_ADDR_IP6);
    return true;
}

/* RFC 1191 5: routers older than it give no MTU; the next lower of the usual ones is taken. */
static uint32_t guess_mtu(uint32_t total_bytes)
{
    static const uint16_t plateaus[] = {32000, 17914, 8166, 4352, 2002,
                                        1492,  1006,  508,  296,  MTU_MIN_IP4};
    for (uint32_t i = 0; i < sizeof(plateaus) / sizeof(plateaus[0]); i++) {
        if (plateaus[i] < total_bytes) {
            return plateaus[i];
        }
    }
    return MTU_MIN_IP4;
}

/* 0: the error is not about the length. */
static uint32_t read_mtu(const struct weir_ip_rx *rx, const struct weir_icmp *icmp,
                         const struct quote *quote)
{
    if (is_ip6(rx)) {
        /* RFC 8201 4: never below the least MTU of IPv6. */
        return icmp->type == WEIR_ICMP6_TOO_BIG ? (uint32_t)weir_max_u64(icmp->rest, MTU_MIN_IP6)
                                                : 0;
    }
    if (icmp->type != WEIR_ICMP_UNREACHABLE || icmp->code != WEIR_ICMP_CODE_TOO_BIG) {
        return 0;
    }
    uint32_t mtu = icmp->rest & UINT16_MAX;
    mtu = mtu == 0 ? guess_mtu(quote->total_bytes) : mtu;
    return (uint32_t)weir_max_u64(mtu, MTU_MIN_IP4);
}

/* RFC 792, RFC 1812 5.2.7.1: the codes of a destination that cannot be reached. */
static enum weir_unreached read_reason4(const struct weir_icmp *icmp)
{
    static const uint8_t reasons[] = {
        WEIR_UNREACHED_NET,        WEIR_UNREACHED_HOST,       WEIR_UNREACHED_PROTOCOL,
        WEIR_UNREACHED_PORT,       WEIR_UNREACHED_TOO_BIG,    WEIR_UNREACHED_NET,
        WEIR_UNREACHED_NET,        WEIR_UNREACHED_HOST,       WEIR_UNREACHED_HOST,
        WEIR_UNREACHED_PROHIBITED, WEIR_UNREACHED_PROHIBITED, WEIR_UNREACHED_NET,
        WEIR_UNREACHED_HOST,       WEIR_UNREACHED_PROHIBITED};

    if (icmp->type == WEIR_ICMP_TIME_EXCEEDED) {
        return WEIR_UNREACHED_TIME;
    }
    if (icmp->type == WEIR_ICMP_PROBLEM) {
        return WEIR_UNREACHED_PROBLEM;
    }
    return icmp->code < sizeof(reasons) ? (enum weir_unreached)reasons[icmp->code]
                                        : WEIR_UNREACHED_NET;
}

/* RFC 4443 3.1 to 3.4. */
static enum weir_unreached read_reason6(const struct weir_icmp *icmp)
{
    static const uint8_t reasons[] = {WEIR_UNREACHED_NET,       WEIR_UNREACHED_PROHIBITED,
                                      WEIR_UNREACHED_NET,       WEIR_UNREACHED_HOST,
                                      WEIR_UNREACHED_PORT,      WEIR_UNREACHED_PROHIBITED,
                                      WEIR_UNREACHED_PROHIBITED};
    switch (icmp->type) {
    case WEIR_ICMP6_TOO_BIG:
        return WEIR_UNREACHED_TOO_BIG;
    case WEIR_ICMP6_TIME_EXCEEDED:
        return WEIR_UNREACHED_TIME;
    case WEIR_ICMP6_PROBLEM:
        return icmp->code == WEIR_ICMP6_CODE_NEXT_HEADER ? WEIR_UNREACHED_PROTOCOL
                                                         : WEIR_UNREACHED_PROBLEM;
    default:
        return icmp->code < sizeof(reasons) ? (enum weir_unreached)reasons[icmp->code]
                                            : WEIR_UNREACHED_NET;
    }
}

static bool input_error(struct weir_ip *ip, const struct weir_ip_rx *rx,
                        const struct weir_icmp *icmp, struct weir_packet *packet,
                        struct weir_path *path)
{
    struct quote quote = {.at = 0};
    const uint32_t body_at = WEIR_ICMP_HEADER_BYTES;
    bool is_read =
        is_ip6(rx) ? read_quote6(ip, icmp->body, &quote) : read_quote4(ip, icmp->body, &quote);
    if (!is_read || quote.protocol != WEIR_IP_TCP || !ip->service.is_tcp ||
        icmp->body.length < quote.at + QUOTED_TRANSPORT_BYTES ||
        weir_ip_find_own(ip, &quote.path.local) == NULL) {
        weir_ip_drop(ip, WEIR_IP_DROP_QUOTE);
        return false;
    }
    *path = quote.path;
    *packet = (struct weir_packet){
        .data = rx->payload + body_at + quote.at,
        .length = (uint32_t)icmp->body.length - quote.at,
        .mtu_bytes = read_mtu(rx, icmp, &quote),
        .protocol = WEIR_PROTOCOL_UNREACHED,
        .unreached = (uint8_t)(is_ip6(rx) ? read_reason6(icmp) : read_reason4(icmp))};
    ip->stats.rx_unreached++;
    return true;
}

static bool input_icmp4(struct weir_ip *ip, const struct weir_ip_rx *rx,
                        const struct weir_icmp *icmp, struct weir_packet *packet,
                        struct weir_path *path)
{
    switch (icmp->type) {
    case WEIR_ICMP_ECHO:
        answer_echo(ip, rx, icmp);
        return false;
    case WEIR_ICMP_UNREACHABLE:
    case WEIR_ICMP_TIME_EXCEEDED:
    case WEIR_ICMP_PROBLEM:
        return input_error(ip, rx, icmp, packet, path);
    default:
        weir_ip_drop(ip, WEIR_IP_DROP_ICMP);
        return false;
    }
}

static bool input_icmp6(struct weir_ip *ip, const struct weir_ip_rx *rx,
                        const struct weir_icmp *icmp, struct weir_packet *packet,
                        struct weir_path *path)
{
    switch (icmp->type) {
    case WEIR_ICMP6_ECHO:
        answer_echo(ip, rx, icmp);
        return false;
    case WEIR_ICMP6_UNREACHABLE:
    case WEIR_ICMP6_TOO_BIG:
    case WEIR_ICMP6_TIME_EXCEEDED:
    case WEIR_ICMP6_PROBLEM:
        return input_error(ip, rx, icmp, packet, path);
    case WEIR_ICMP6_NEIGHBOUR_SOLICITATION:
    case WEIR_ICMP6_NEIGHBOUR_ADVERTISEMENT:
        weir_ip_nd_input(ip, rx, icmp);
        return false;
    default:
        weir_ip_drop(ip, WEIR_IP_DROP_ICMP);
        return false;
    }
}

bool weir_ip_icmp_input(struct weir_ip *ip, const struct weir_ip_rx *rx, struct weir_packet *packet,
                        struct weir_path *path)
{
    struct weir_icmp icmp;
    if (!weir_icmp_decode(rx->payload, rx->payload_bytes, &icmp)) {
        weir_ip_drop(ip, WEIR_IP_DROP_ICMP);
        return false;
    }
    if (!rx->is_checked &&
        !weir_icmp_is_checksum_right(rx->payload, rx->payload_bytes, &rx->path)) {
        weir_ip_drop(ip, WEIR_IP_DROP_CHECKSUM);
        return false;
    }
    return is_ip6(rx) ? input_icmp6(ip, rx, &icmp, packet, path)
                      : input_icmp4(ip, rx, &icmp, packet, path);
}
