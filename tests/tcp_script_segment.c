/* SPDX-License-Identifier: MIT */
/*
 * tcp_script_segment.c - the lines about segments: those that arrive and those that are expected.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tcp_script_play.h"
#include "wire/tcp.h"

/* --- printing --------------------------------------------------------------------------------- */

static char *append(char *at, const char *end, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static char *append(char *at, const char *end, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): clang-tidy 14 misses va_start */
    int length = vsnprintf(at, (size_t)(end - at), format, arguments);
    va_end(arguments);
    return length < 0 || length >= end - at ? at : at + length;
}

/* One option in words; returns its length. */
static unsigned format_option(const uint8_t *option, char **at, const char *end)
{
    unsigned length = option[0] <= 1 ? 1 : option[1];
    switch (option[0]) {
    case 0:
        *at = append(*at, end, "eol");
        break;
    case 1:
        *at = append(*at, end, "nop");
        break;
    case 2:
        *at = append(*at, end, "mss %u", weir_load16(option + 2));
        break;
    case 3:
        *at = append(*at, end, "wscale %u", option[2]);
        break;
    case 4:
        *at = append(*at, end, "sackOK");
        break;
    case 5:
        *at = append(*at, end, "sack");
        for (unsigned off = 2; off + 8 <= length; off += 8) {
            *at = append(*at, end, " %u:%u", weir_load32(option + off) - play.peer_number,
                         weir_load32(option + off + 4) - play.peer_number);
        }
        break;
    case 8:
        *at =
            append(*at, end, "TS val %u ecr %u", weir_load32(option + 2), weir_load32(option + 6));
        break;
    case 28:
        *at = append(*at, end, "uto %u", weir_load16(option + 2));
        break;
    case 34:
        *at = append(*at, end, length > 2 ? "cookie %u" : "cookie", length - 2);
        break;
    default:
        *at = append(*at, end, "kind %u", option[0]);
        break;
    }
    return length;
}

static void format_options(const uint8_t *bytes, char *text, size_t room)
{
    const uint8_t *at = bytes + WEIR_TCP_HEADER_BYTES;
    const uint8_t *stop = bytes + (size_t)(bytes[12] >> 4) * 4;
    char *to = text;
    *to = '\0';
    while (at < stop) {
        to = append(to, text + room, "%s", to == text ? "" : ",");
        at += format_option(at, &to, text + room);
    }
}

static void format_flags(uint8_t flags, char text[9])
{
    static const char letters[] = "FSRP.UEW";
    char *at = text;
    for (unsigned i = 0; i < 8; i++) {
        if ((flags >> i & 1) != 0) {
            *at++ = letters[i];
        }
    }
    *at = '\0';
}

void script_format(const struct sent *sent, char *text, size_t room)
{
    struct weir_tcp_segment segment;
    char options[256];
    char flags[9];
    (void)weir_tcp_decode(weir_span_of(sent->bytes, sent->length), &segment);
    format_options(sent->bytes, options, sizeof(options));
    format_flags(segment.flags, flags);
    (void)snprintf(text, room, "%.6f > %s %u(%zu) ack %u win %u <%s>%s",
                   (double)(sent->at - play.start) / 1e9, flags,
                   segment.seq - sent->peer->own_number, segment.data.length,
                   segment.ack - play.peer_number, segment.window, options,
                   sent->ecn == WEIR_ECN_ECT0 ? " ect0" : "");
}

/* --- incoming segments ------------------------------------------------------------------------ */

static uint8_t parse_flags(const char *text)
{
    static const char letters[] = "FSRP.UEW";
    uint8_t flags = 0;
    if (strcmp(text, "-") == 0) {
        return 0;
    }
    for (; *text != '\0'; text++) {
        const char *found = strchr(letters, *text);
        if (found == NULL) {
            script_fail("'%c' is no flag", *text);
        }
        flags |= (uint8_t)(1U << (found - letters));
    }
    return flags;
}

/* The words of an option end with a comma or '>'. Returns the index behind them. */
static bool is_last_word(const char *word)
{
    size_t length = strlen(word);
    return length > 0 && (word[length - 1] == ',' || word[length - 1] == '>');
}

static uint8_t *put_sack(uint8_t *at, unsigned first, unsigned last)
{
    uint8_t *start = at;
    *at++ = 5;
    at++;
    for (unsigned i = first; i <= last; i++) {
        const char *colon = strchr(play.words[i], ':');
        script_check(colon != NULL, "a SACK block is FIRST:END");
        weir_store32(at, (uint32_t)script_number(play.words[i]) + play.peer->own_number);
        weir_store32(at + 4, (uint32_t)script_number(colon + 1) + play.peer->own_number);
        at += 8;
    }
    start[1] = (uint8_t)(at - start);
    return at;
}

static uint8_t *put_stamps(uint8_t *at, unsigned first)
{
    at[0] = 8;
    at[1] = 10;
    weir_store32(at + 2, (uint32_t)script_number(play.words[first + 2]));
    const char *echo = play.words[first + 4];
    bool is_last = strncmp(echo, "last", 4) == 0;
    uint32_t less = is_last && echo[4] == '-' ? (uint32_t)script_number(echo + 5) : 0;
    uint32_t value = is_last ? play.peer->ts_last - less : (uint32_t)script_number(echo);
    weir_store32(at + 6, value);
    return at + 10;
}

/* "cookie": an empty one, "cookie last": the one that the endpoint gave, "cookie N": N bytes. */
static uint8_t *put_cookie(uint8_t *at, const char *which)
{
    uint32_t length = 0;
    if (strncmp(which, "last", 4) == 0) {
        length = play.cookie_bytes;
        memcpy(at + 2, play.cookie, length);
    } else if (strncmp(which, "cookie", 6) != 0) {
        length = (uint32_t)script_number(which);
        script_check(length <= 16, "too long a cookie");
        memset(at + 2, 0xc5, length);
    }
    at[0] = 34;
    at[1] = (uint8_t)(2 + length);
    return at + 2 + length;
}

/* Writes the option in words[first..last]. */
static uint8_t *put_option(uint8_t *at, unsigned first, unsigned last)
{
    const char *name = play.words[first];
    name += *name == '<';
    if (strncmp(name, "nop", 3) == 0) {
        *at++ = 1;
    } else if (strncmp(name, "eol", 3) == 0) {
        *at++ = 0;
    } else if (strncmp(name, "sackOK", 6) == 0) {
        *at++ = 4;
        *at++ = 2;
    } else if (strcmp(name, "mss") == 0 && last > first) {
        *at++ = 2;
        *at++ = 4;
        weir_store16(at, (uint16_t)script_number(play.words[first + 1]));
        at += 2;
    } else if (strcmp(name, "wscale") == 0 && last > first) {
        *at++ = 3;
        *at++ = 3;
        *at++ = (uint8_t)script_number(play.words[first + 1]);
    } else if (strcmp(name, "sack") == 0) {
        at = put_sack(at, first + 1, last);
    } else if (strcmp(name, "TS") == 0 && last == first + 4) {
        at = put_stamps(at, first);
    } else if (strncmp(name, "cookie", 6) == 0) {
        at = put_cookie(at, last > first ? play.words[last] : name);
    } else if (strcmp(name, "uto") == 0 && last > first) {
        *at++ = 28;
        *at++ = 4;
        weir_store16(at, (uint16_t)script_number(play.words[first + 1]));
        at += 2;
    } else if (strcmp(name, "byte") == 0) {
        for (unsigned i = first + 1; i <= last; i++) {
            *at++ = (uint8_t)script_number(play.words[i]);
        }
    } else {
        script_fail("unknown option '%s'", name);
    }
    return at;
}

/* The options from words[first] on; moves first behind them. Returns the header's end. */
static uint8_t *put_options(uint8_t *at, unsigned *first)
{
    uint8_t *start = at;
    unsigned i = *first;
    bool is_end = strcmp(play.words[i], "<>") == 0;
    while (!is_end) {
        unsigned last = i;
        while (last + 1 < play.count && !is_last_word(play.words[last])) {
            last++;
        }
        script_check(is_last_word(play.words[last]), "options without end");
        is_end = strchr(play.words[last], '>') != NULL;
        at = put_option(at, i, last);
        i = last + 1;
    }
    *first = is_end && i == *first ? i + 1 : i;
    while ((at - start) % 4 != 0) {
        *at++ = 0;
    }
    script_check(at - start <= WEIR_TCP_HEADER_MAX - WEIR_TCP_HEADER_BYTES, "too many options");
    return at;
}

static void put_data(uint8_t *at, uint32_t seq, uint32_t length, bool is_syn)
{
    for (uint32_t i = 0; i < length; i++) {
        at[i] = script_byte((uint64_t)(int64_t)(int32_t)(seq - 1 + is_syn + i));
    }
}

/* The bytes of play.in[count] are one more packet of the batch, delivered with its last one. */
static void deliver(struct weir_packet *packet, uint32_t length, bool is_more)
{
    packet->data = play.in[play.packet_count];
    packet->length = length;
    packet->path = &play.wire;
    play.packets[play.packet_count++] = *packet;
    if (is_more) {
        script_check(play.packet_count < BATCH_MAX, "too many at once");
        return;
    }
    weir_tcp_input(play.tcp, play.now, play.packets, play.packet_count);
    play.packet_count = 0;
    script_settle();
}

/* What a line about an arriving segment says beside the segment itself. */
struct arrival {
    struct weir_tcp_segment segment;
    struct weir_packet packet;
    const uint8_t *end; /* of the header */
    uint32_t offset;    /* said in the header, in words; 0: the right one */
    bool is_bad, is_more;
};

static bool take_word(struct arrival *arrival, const char *word)
{
    if (strcmp(word, "ce") == 0 || strcmp(word, "ect0") == 0) {
        arrival->packet.ecn = word[0] == 'c' ? WEIR_ECN_CE : WEIR_ECN_ECT0;
    } else if (strcmp(word, "bad") == 0) {
        arrival->is_bad = true;
    } else if (strcmp(word, "more") == 0) {
        arrival->is_more = true;
    } else {
        return false;
    }
    return true;
}

static void take_value(struct arrival *arrival, const char *word, uint32_t value)
{
    if (strcmp(word, "ack") == 0) {
        arrival->segment.ack = value + play.peer->own_number;
    } else if (strcmp(word, "win") == 0) {
        arrival->segment.window = (uint16_t)value;
    } else if (strcmp(word, "urg") == 0) {
        arrival->segment.urgent = (uint16_t)value;
    } else if (strcmp(word, "seg") == 0) {
        arrival->packet.segment_bytes = (uint16_t)value;
    } else if (strcmp(word, "offset") == 0) {
        arrival->offset = value;
    } else if (strcmp(word, "to") == 0) {
        arrival->segment.target = (uint16_t)value;
    } else {
        script_fail("unknown word '%s'", word);
    }
}

/* TIME < FLAGS SEQ(LENGTH) [ack N] [win N] [urg N] [ce] [seg N] [bad] [more] [offset N] [to N]
 * [<options>] */
void script_arrival(void)
{
    uint8_t *at = play.in[play.packet_count];
    struct arrival arrival = {.segment = {.source = script_port(play.peer),
                                          .target = play.path4.local.port,
                                          .window = UINT16_MAX},
                              .packet = {.protocol = WEIR_PROTOCOL_TCP},
                              .end = at + WEIR_TCP_HEADER_BYTES};
    struct weir_tcp_segment *segment = &arrival.segment;
    script_check(play.count >= 4, "FLAGS SEQ(LENGTH) are missing");
    const char *open = strchr(play.words[3], '(');
    script_check(open != NULL, "SEQ(LENGTH) expected");
    uint32_t seq = (uint32_t)script_number(play.words[3]);
    uint32_t length = (uint32_t)script_number(open + 1);
    segment->flags = parse_flags(play.words[2]);
    segment->seq = seq + play.peer_number;
    for (unsigned i = 4; i < play.count;) {
        const char *word = play.words[i];
        if (word[0] == '<') {
            arrival.end = put_options(at + WEIR_TCP_HEADER_BYTES, &i);
        } else if (take_word(&arrival, word)) {
            i++;
        } else {
            script_check(i + 1 < play.count, "a value is missing");
            take_value(&arrival, word, (uint32_t)script_number(play.words[i + 1]));
            i += 2;
        }
    }
    uint32_t header = (uint32_t)(arrival.end - at);
    script_check(header + length <= BYTES_MAX, "too long");
    (void)weir_tcp_encode(at, segment);
    at[12] = (uint8_t)((arrival.offset != 0 ? arrival.offset : header / 4) << 4);
    put_data(at + header, seq, length, (segment->flags & WEIR_TCP_SYN) != 0);
    weir_tcp_seal(at, header + length, &play.wire);
    at[WEIR_TCP_CHECKSUM_OFF] ^= arrival.is_bad;
    deliver(&arrival.packet, header + length, arrival.is_more);
}

/* Why, in place of an MTU. */
static bool read_reason(const char *text, uint8_t *reason)
{
    static const char *const reasons[] = {"net",  "",           "host", "protocol",
                                          "port", "prohibited", "time", "problem"};
    for (unsigned i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (strcmp(reasons[i], text) == 0) {
            *reason = (uint8_t)i;
            return true;
        }
    }
    return false;
}

/* TIME unreached SEQ MTU|REASON: the network says that our segment SEQ did not get through. */
void script_unreached(void)
{
    uint8_t *at = play.in[play.packet_count];
    script_check(play.count >= 4, "SEQ and MTU are missing");
    struct weir_packet packet = {.protocol = WEIR_PROTOCOL_UNREACHED};
    if (!read_reason(play.words[3], &packet.unreached)) {
        packet.mtu_bytes = (uint32_t)script_number(play.words[3]);
    }
    weir_store16(at, play.path4.local.port);
    weir_store16(at + 2, script_port(play.peer));
    weir_store32(at + 4, (uint32_t)script_number(play.words[2]) + play.peer->own_number);
    deliver(&packet, 8, false);
}

/* --- expected segments ------------------------------------------------------------------------ */

/* Does the option as it was sent match the script's words? "TS" alone matches any. */
static bool is_option_matched(const char *wanted, const char *sent)
{
    if (strcmp(wanted, "TS") == 0) {
        return strncmp(sent, "TS ", 3) == 0;
    }
    if (strncmp(wanted, "TS ecr ", 7) == 0) {
        const char *echo = strstr(sent, "ecr ");
        return strncmp(sent, "TS ", 3) == 0 && echo != NULL && strcmp(echo, wanted + 3) == 0;
    }
    return strcmp(wanted, sent) == 0;
}

/* Cuts text at commas; returns the next piece or NULL. */
static char *next_piece(char **text)
{
    char *piece = *text;
    if (piece == NULL || *piece == '\0') {
        return NULL;
    }
    char *comma = strchr(piece, ',');
    *text = comma != NULL ? comma + 1 : NULL;
    if (comma != NULL) {
        *comma = '\0';
    }
    return piece;
}

/* Compares words[first] on, up to '>', with the options sent. Returns the index behind them. */
static unsigned check_options(unsigned first, const struct sent *sent)
{
    char wanted[256] = "";
    char options[256];
    char *at = wanted;
    unsigned i = first;
    for (;; i++) {
        script_check(i < play.count, "options without end");
        const char *word = play.words[i] + (i == first);
        bool follows = at != wanted && at[-1] != ',';
        at = append(at, wanted + sizeof(wanted), "%s%s", follows ? " " : "", word);
        if (strchr(word, '>') != NULL) {
            break;
        }
    }
    script_check(at > wanted && at[-1] == '>', "options end with '>'");
    at[-1] = '\0';
    format_options(sent->bytes, options, sizeof(options));
    char *left = wanted;
    char *right = options;
    char *piece;
    while ((piece = next_piece(&left)) != NULL) {
        const char *other = next_piece(&right);
        if (other == NULL || !is_option_matched(piece, other)) {
            script_fail("option '%s' expected, sent: '%s'", piece, other != NULL ? other : "none");
        }
    }
    script_check(next_piece(&right) == NULL, "more options than expected");
    return i + 1;
}

void script_check_value(const char *what, uint64_t wanted, uint64_t sent)
{
    if (wanted != sent) {
        script_fail("%s %llu expected, sent: %llu", what, (unsigned long long)wanted,
                    (unsigned long long)sent);
    }
}

static void check_rest(const struct sent *sent, const struct weir_tcp_segment *segment)
{
    for (unsigned i = 4; i < play.count;) {
        const char *word = play.words[i];
        if (word[0] == '<') {
            i = check_options(i, sent);
            continue;
        }
        if (strcmp(word, "ect0") == 0 || strcmp(word, "notect") == 0) {
            script_check_value("ecn", word[0] == 'e' ? WEIR_ECN_ECT0 : WEIR_ECN_NOT, sent->ecn);
            i++;
            continue;
        }
        script_check(i + 1 < play.count, "a value is missing");
        uint32_t value = (uint32_t)script_number(play.words[i + 1]);
        if (strcmp(word, "ack") == 0) {
            script_check_value("ack", value, segment->ack - play.peer_number);
        } else if (strcmp(word, "win") == 0) {
            script_check_value("win", value, segment->window);
        } else if (strcmp(word, "urg") == 0) {
            script_check_value("urg", value, segment->urgent);
        } else if (strcmp(word, "seg") == 0) {
            script_check_value("seg", value, sent->segment_bytes);
        } else {
            script_fail("unknown word '%s'", word);
        }
        i += 2;
    }
}

/* TIME > FLAGS SEQ(LENGTH) [ack N] [win N] [urg N] [ect0|notect] [seg N] [<options>] */
void script_departure(weir_nsec at)
{
    struct weir_tcp_segment segment;
    char flags[9];
    char text[512];
    script_check(play.count >= 4, "FLAGS SEQ(LENGTH) are missing");
    script_move(at + play.tolerance, true);
    script_check(play.sent_first < play.sent_count, "nothing was sent");
    const struct sent *sent = &play.sent[play.sent_first++];
    script_format(sent, text, sizeof(text));
    if (sent->at > at + play.tolerance || sent->at + play.tolerance < at) {
        script_fail("expected at %.6f, sent: %s", (double)(at - play.start) / 1e9, text);
    }
    script_check(sent->peer == play.peer, "sent to another peer");
    (void)weir_tcp_decode(weir_span_of(sent->bytes, sent->length), &segment);
    format_flags(segment.flags, flags);
    const char *open = strchr(play.words[3], '(');
    script_check(open != NULL, "SEQ(LENGTH) expected");
    if (parse_flags(play.words[2]) != segment.flags ||
        script_number(play.words[3]) != (uint32_t)(segment.seq - sent->peer->own_number) ||
        script_number(open + 1) != segment.data.length) {
        script_fail("another one was sent: %s", text);
    }
    check_rest(sent, &segment);
    if (play.sent_first == play.sent_count) {
        play.sent_first = play.sent_count = 0;
    }
}
