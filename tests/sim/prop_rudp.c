/* SPDX-License-Identifier: MIT */
/*
 * prop_rudp.c - every guarantee of RUDP over random sets, channels, sizes, networks and settings.
 *
 * Usage: prop_rudp FIRST COUNT [MESSAGES]. Each seed is a scenario of its own. A failure prints the
 * command that replays it, after trying fewer messages that fail too.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/prng.h"
#include "pair.h"
#include "rudp/internal.h"

enum {
    CHANNELS = 4,
    MESSAGES_MAX = 4000,
    HEADER_BYTES = 16,
    DIRECTIONS = 2
};

struct sent {
    struct weir_parcel parcel;
    uint8_t *owned; /* the parcel's bytes */
    uint32_t length;
    uint32_t set;
    uint8_t channel, guarantee;
    bool has_deadline, is_parcel, is_parcel_done, is_sent;
    uint32_t received; /* times handed out */
};

struct direction {
    struct sent messages[MESSAGES_MAX];
    uint32_t sent_count, wanted;
    uint32_t sets[CHANNELS]; /* set number of the next message */
    bool is_set_open[CHANNELS];
    uint32_t latest_set[CHANNELS];        /* of what was handed out */
    uint32_t deliveries_before[CHANNELS]; /* scan position for missing deliveries */
};

struct scenario {
    uint64_t seed;
    struct weir_prng prng;
    struct pair pair;
    struct pair_options options;
    struct direction directions[DIRECTIONS]; /* by sending host */
    uint32_t messages;
    uint32_t size_max;
    unsigned mix; /* which guarantees occur */
    unsigned closed;
    bool is_quiet;
};

#define MUST(scenario, condition, ...) \
    ((condition) ? (void)0 : failed((scenario), #condition, __VA_ARGS__))

_Noreturn static void failed(const struct scenario *s, const char *condition, const char *format,
                             ...) __attribute__((format(printf, 3, 4)));

_Noreturn static void failed(const struct scenario *s, const char *condition, const char *format,
                             ...)
{
    if (!s->is_quiet) {
        va_list arguments;
        (void)fprintf(stderr, "seed %llu at %.3f s: %s: ", (unsigned long long)s->seed,
                      (double)s->pair.now / 1e9, condition);
        va_start(arguments, format);
        /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): clang-tidy 14 misses va_start */
        (void)vfprintf(stderr, format, arguments);
        va_end(arguments);
        (void)fputc('\n', stderr);
    }
    _Exit(1);
}

static uint32_t draw(struct scenario *s, uint32_t bound)
{
    return (uint32_t)weir_prng_below(&s->prng, bound);
}

static bool chance(struct scenario *s, uint32_t percent)
{
    return draw(s, 100) < percent;
}

/* --- content ---------------------------------------------------------------------------------- */

static void fill(uint8_t *data, uint32_t length, uint32_t index, unsigned direction)
{
    const uint32_t word[4] = {index, length, direction, index * 2654435761U};
    memcpy(data, word, sizeof(word));
    for (uint32_t i = HEADER_BYTES; i < length; i++) {
        data[i] = (uint8_t)(index * 31 + i * 7);
    }
}

/* Which message is this? Short ones are told apart by their length and first bytes as far as they
 * go, so every length below the header is padded up by the sender. */
static uint32_t identify(struct scenario *s, struct weir_span data, unsigned direction)
{
    uint32_t word[4] = {0};
    uint8_t expected[HEADER_BYTES];
    MUST(s, data.length >= HEADER_BYTES, "length %zu", data.length);
    memcpy(word, data.data, HEADER_BYTES);
    fill(expected, HEADER_BYTES, word[0], direction);
    word[1] = (uint32_t)data.length;
    memcpy(expected + 4, &word[1], 4);
    MUST(s, memcmp(expected, data.data, HEADER_BYTES) == 0, "foreign bytes");
    for (size_t i = HEADER_BYTES; i < data.length; i++) {
        MUST(s, data.data[i] == (uint8_t)(word[0] * 31U + (uint32_t)i * 7U),
             "corrupt at %zu of message %u", i, word[0]);
    }
    return word[0];
}

/* --- receiving -------------------------------------------------------------------------------- */

static void check_earlier_sets(struct scenario *s, struct direction *d, const struct sent *message,
                               uint32_t index)
{
    /* Every delivery message of an earlier set has been handed out (or had a deadline). */
    uint32_t i = d->deliveries_before[message->channel];
    for (; i < d->sent_count; i++) {
        const struct sent *each = &d->messages[i];
        bool is_relevant = each->channel == message->channel && each->is_sent &&
                           each->guarantee == WEIR_RUDP_DELIVERY && !each->has_deadline;
        if (!is_relevant) {
            continue;
        }
        if (each->set >= message->set) {
            break;
        }
        MUST(s, each->received == 1, "message %u of set %u came before %u of set %u", index,
             message->set, i, each->set);
    }
    d->deliveries_before[message->channel] = i > 0 ? i - 1 : 0;
}

static void on_message(struct scenario *s, unsigned receiver, const struct weir_rudp_event *event)
{
    struct direction *d = &s->directions[1 - receiver];
    uint32_t index = identify(s, event->message.data, 1 - receiver);
    MUST(s, index < d->sent_count, "message %u was never sent", index);
    struct sent *message = &d->messages[index];
    MUST(s, message->is_sent, "message %u was refused by send", index);
    message->received++;
    MUST(s, message->length == event->message.data.length, "length of %u", index);
    MUST(s, message->channel == event->message.channel, "channel of %u", index);
    MUST(s, message->guarantee == (uint8_t)event->message.guarantee, "guarantee of %u", index);
    if (message->guarantee == WEIR_RUDP_NONE) {
        return;
    }
    MUST(s, message->received == 1, "message %u came twice", index);
    MUST(s, message->set >= d->latest_set[message->channel], "message %u of set %u after set %u",
         index, message->set, d->latest_set[message->channel]);
    d->latest_set[message->channel] = message->set;
    check_earlier_sets(s, d, message, index);
}

static void on_event(struct pair *pair, struct pair_host *host, struct weir_rudp_event *event)
{
    struct scenario *s = pair->user;
    unsigned self = (unsigned)(host - pair->hosts);
    switch (event->type) {
    case WEIR_RUDP_EVENT_MESSAGE:
        on_message(s, self, event);
        break;
    case WEIR_RUDP_EVENT_PARCEL_DONE: {
        struct sent *message = event->parcel.parcel->user;
        MUST(s, !message->is_parcel_done && message->parcel.references == 0, "parcel done twice");
        message->is_parcel_done = true;
        MUST(s,
             event->parcel.outcome != WEIR_OUTCOME_ACKED || message->received == 1 ||
                 message->guarantee == WEIR_RUDP_DELIVERY,
             "acknowledged, not received");
        memset(message->owned, 0xdd, message->length); /* nobody may look at it any more */
        break;
    }
    case WEIR_RUDP_EVENT_CLOSED:
        s->closed++;
        /* Every CLOSE may be lost: then the other end finds out by itself, all being delivered. */
        MUST(s,
             event->closed.cause == (self == 0 ? WEIR_RUDP_CAUSE_LOCAL : WEIR_RUDP_CAUSE_PEER) ||
                 (self == 1 && event->closed.cause == WEIR_RUDP_CAUSE_TIMEOUT),
             "closed by %d: %s", event->closed.cause, event->closed.text);
        host->conn = NULL;
        break;
    case WEIR_RUDP_EVENT_REQUEST:
    case WEIR_RUDP_EVENT_OPENED:
    case WEIR_RUDP_EVENT_WRITABLE:
    case WEIR_RUDP_EVENT_MOVED:
        break;
    }
}

/* --- sending ---------------------------------------------------------------------------------- */

static uint32_t draw_length(struct scenario *s)
{
    if (chance(s, 80)) {
        return HEADER_BYTES + draw(s, 300);
    }
    return HEADER_BYTES + draw(s, chance(s, 80) ? 5000 : s->size_max);
}

static uint8_t draw_guarantee(struct scenario *s)
{
    static const uint8_t mixes[4][4] = {{2, 2, 2, 2}, {1, 1, 1, 1}, {0, 1, 2, 2}, {1, 1, 2, 2}};
    return mixes[s->mix][draw(s, 4)];
}

static enum weir_status write_in_parts(struct weir_rudp_conn *conn, struct scenario *s,
                                       const struct weir_rudp_send *how, const uint8_t *data,
                                       uint32_t length)
{
    uint32_t at = 0;
    while (at < length) {
        uint8_t *room;
        uint32_t part = 1 + draw(s, length - at);
        enum weir_status status = weir_rudp_reserve(conn, part, &room);
        if (status != WEIR_OK) {
            weir_rudp_clear_written(conn);
            return status;
        }
        memcpy(room, data + at, part);
        MUST(s, weir_rudp_commit(conn, part + 1) == WEIR_ERR_INVALID, "commit beyond");
        status = weir_rudp_commit(conn, part);
        MUST(s, status == WEIR_OK, "commit");
        at += part;
    }
    enum weir_status status = weir_rudp_send_written(conn, how);
    if (status != WEIR_OK) {
        weir_rudp_clear_written(conn);
    }
    return status;
}

static void toggle_set(struct scenario *s, struct direction *d, struct weir_rudp_conn *conn,
                       uint8_t channel)
{
    enum weir_status status;
    d->sets[channel]++;
    if (d->is_set_open[channel]) {
        status = weir_rudp_set_end(conn, channel);
    } else {
        status = weir_rudp_set_begin(conn, channel);
    }
    d->is_set_open[channel] = !d->is_set_open[channel];
    MUST(s, status == WEIR_OK, "set");
}

static void send_one(struct scenario *s, unsigned sender)
{
    struct direction *d = &s->directions[sender];
    struct weir_rudp_conn *conn = s->pair.hosts[sender].conn;
    uint32_t index = d->sent_count++;
    struct sent *message = &d->messages[index];
    message->length = draw_length(s);
    message->channel = (uint8_t)draw(s, s->options.rudp.channels_max);
    message->guarantee = draw_guarantee(s);
    message->owned = malloc(message->length);
    fill(message->owned, message->length, index, sender);
    if (chance(s, 10)) {
        toggle_set(s, d, conn, message->channel);
    }
    struct weir_rudp_send how = {.channel = message->channel,
                                 .guarantee = (enum weir_rudp_guarantee)message->guarantee,
                                 .priority = (enum weir_rudp_priority)((int)draw(s, 4) - 1)};
    if (chance(s, 5)) {
        how.deadline = s->pair.now + (1 + draw(s, 500)) * WEIR_MSEC;
        message->has_deadline = true;
    }
    enum weir_status status;
    if (!d->is_set_open[message->channel]) {
        d->sets[message->channel]++;
    }
    message->set = d->sets[message->channel];
    uint32_t how_sent = draw(s, 3);
    if (how_sent == 0) {
        message->is_parcel = true;
        message->parcel = (struct weir_parcel){
            .data = message->owned, .length = message->length, .user = message};
        status = weir_rudp_send_parcel(conn, &how, &message->parcel);
    } else if (how_sent == 1) {
        status = write_in_parts(conn, s, &how, message->owned, message->length);
    } else {
        status = weir_rudp_send(conn, &how, message->owned, message->length);
    }
    message->is_sent = status == WEIR_OK;
    MUST(s, status == WEIR_OK || status == WEIR_ERR_FULL, "send: %d", status);
}

/* --- the scenario ----------------------------------------------------------------------------- */

static void draw_options(struct scenario *s)
{
    struct pair_options *o = &s->options;
    pair_options_default(o);
    o->seed = s->seed;
    o->link = (struct weir_sim_link){.delay = draw(s, 80) * WEIR_MSEC,
                                     .jitter = chance(s, 30) ? draw(s, 20) * WEIR_MSEC : 0,
                                     .loss_ppm = chance(s, 70) ? draw(s, 250000) : 0,
                                     .reorder_ppm = chance(s, 50) ? draw(s, 200000) : 0,
                                     .duplicate_ppm = chance(s, 50) ? draw(s, 100000) : 0,
                                     .corrupt_ppm = chance(s, 30) ? draw(s, 20000) : 0,
                                     .mtu_bytes = 1200 + draw(s, 400)};
    if (chance(s, 30)) {
        o->link.rate = 2000000 + (uint64_t)draw(s, 50000000);
        o->link.queue_bytes = 20000 + draw(s, 200000);
    }
    if (chance(s, 20)) {
        o->link.burst_loss_ppm = draw(s, 10000);
    }
    s->size_max = chance(s, 20) ? 200000 : 20000;
    s->mix = draw(s, 4);
    o->rudp.channels_max = (uint16_t)(1 + draw(s, CHANNELS));
    o->rudp.message_bytes_max = 1 << 18;
    o->rudp.receive_window_bytes = (1 << 18) + 64 + draw(s, 1 << 20);
    o->rudp.send_queue_bytes = 100000 + draw(s, 1 << 20);
    o->rudp.cc = (enum weir_cc_kind)(draw(s, 4) & 3);
    o->rudp.unsent = WEIR_RUDP_UNSENT_INTO_SET;
    o->rudp.resend =
        chance(s, 70) ? WEIR_RUDP_RESEND_ADAPTIVE : (enum weir_rudp_resend)(draw(s, 3) % 3);
    o->rudp.flush_delay = chance(s, 30) ? draw(s, 10) * WEIR_MSEC : 0;
    o->rudp.dead_timeout = 600 * WEIR_SEC;
    o->rudp.idle_timeout = 600 * WEIR_SEC;
    o->rudp.connect_timeout = 300 * WEIR_SEC;
}

static bool is_all_delivered(const struct direction *d)
{
    for (uint32_t i = 0; i < d->sent_count; i++) {
        const struct sent *message = &d->messages[i];
        if (message->is_sent && message->guarantee == WEIR_RUDP_DELIVERY &&
            !message->has_deadline && message->received == 0) {
            return false;
        }
    }
    return true;
}

static void trouble(struct scenario *s)
{
    struct weir_addr mapped;
    struct pair *pair = &s->pair;
    if (chance(s, 50)) {
        weir_sim_blackout(pair->sim, pair->hosts[0].base.driver, pair->hosts[1].base.driver,
                          pair->now, pair->now + draw(s, 2000) * WEIR_MSEC);
    }
    if (chance(s, 50)) {
        MUST(s, weir_addr_parse("10.9.9.9:1234", &mapped) == WEIR_OK, "address");
        mapped.port = (uint16_t)(1024 + draw(s, 60000));
        mapped.ip[3] = (uint8_t)(1 + draw(s, 200));
        MUST(s, weir_sim_rebind(pair->sim, pair->hosts[0].base.driver, &mapped) == WEIR_OK,
             "rebind");
    }
}

static void exchange(struct scenario *s)
{
    struct pair *pair = &s->pair;
    uint32_t trouble_at = chance(s, 20) ? draw(s, s->messages) : UINT32_MAX;
    for (uint32_t i = 0; i < s->messages; i++) {
        unsigned sender = draw(s, DIRECTIONS);
        send_one(s, sender);
        if (i == trouble_at) {
            trouble(s);
        }
        if (chance(s, 50)) {
            pair_run(pair, pair->now + draw(s, 4000) * WEIR_USEC);
        }
    }
    weir_nsec limit = pair->now + 3600 * WEIR_SEC;
    while (pair->now < limit &&
           !(is_all_delivered(&s->directions[0]) && is_all_delivered(&s->directions[1]))) {
        pair_run(pair, pair->now + 50 * WEIR_MSEC);
    }
    for (unsigned i = 0; i < DIRECTIONS; i++) {
        MUST(s, is_all_delivered(&s->directions[i]), "not all delivered in direction %u", i);
    }
}

/* After both ends have closed nothing may be left in any pool. */
static void check_empty(struct scenario *s)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct weir_rudp *ep = s->pair.hosts[i].rudp;
        MUST(s, ep->conns.used == 0 && ep->awakes.used == 0, "connections left");
        MUST(s, ep->packets.used == 0 && ep->chunks.used == 0, "packets or chunks left");
        MUST(s, ep->helds.used == 0 && ep->assemblies.used == 0, "held left");
        MUST(s, weir_store_used_bytes(ep->send_store) == 0, "send memory left: %zu",
             weir_store_used_bytes(ep->send_store));
        MUST(s, weir_store_used_bytes(ep->assembly_store) == 0, "assembly memory left");
        MUST(s, ep->channel_blocks.used == 0 && ep->held_bytes == 0, "channels left");
        MUST(s, weir_slide_stats(ep->config.slide)->held_bytes == 0, "slide holds left");
        for (uint32_t m = 0; m < s->directions[i].sent_count; m++) {
            const struct sent *message = &s->directions[i].messages[m];
            MUST(s, !message->is_parcel || !message->is_sent || message->is_parcel_done,
                 "parcel %u never came back", m);
        }
    }
}

static void run_scenario(uint64_t seed, uint32_t messages, bool is_quiet)
{
    struct scenario *s = calloc(1, sizeof(*s));
    s->seed = seed;
    s->messages = messages;
    s->is_quiet = is_quiet;
    weir_prng_init(&s->prng, seed);
    draw_options(s);
    pair_open(&s->pair, &s->options, on_event, s);
    pair_connect(&s->pair);
    exchange(s);
    weir_rudp_close(s->pair.hosts[0].conn, 5, "done");
    weir_nsec limit = s->pair.now + 1200 * WEIR_SEC;
    while (s->pair.now < limit && s->closed < 2) {
        pair_run(&s->pair, s->pair.now + WEIR_SEC);
    }
    MUST(s, s->closed == 2, "closed %u", s->closed);
    pair_run(&s->pair, s->pair.now + 60 * WEIR_SEC);
    check_empty(s);
    for (unsigned d = 0; d < DIRECTIONS; d++) {
        for (uint32_t i = 0; i < s->directions[d].sent_count; i++) {
            free(s->directions[d].messages[i].owned);
        }
    }
    pair_close(&s->pair);
    free(s);
}

/* In a child, so that a failure (or a crash, or an assert) does not end the search. */
static bool fails(uint64_t seed, uint32_t messages, bool is_quiet)
{
    int status;
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        run_scenario(seed, messages, is_quiet);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    return status != 0;
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 0) : 100;
    uint32_t messages = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 0) : 300;
    if (messages == 0 || messages > MESSAGES_MAX) {
        (void)fprintf(stderr, "prop_rudp: MESSAGES is 1 to %d\n", MESSAGES_MAX);
        return 2;
    }
    if (count == 1) {
        run_scenario(first, messages, false);
        (void)puts("1 seed holds");
        return 0;
    }
    for (uint64_t seed = first; seed < first + count; seed++) {
        if (!fails(seed, messages, false)) {
            continue;
        }
        uint32_t smallest = messages;
        for (uint32_t fewer = messages / 2; fewer > 0; fewer /= 2) {
            if (fails(seed, fewer, true)) {
                smallest = fewer;
            }
        }
        (void)fprintf(stderr, "replay: %s %llu 1 %u\n", argv[0], (unsigned long long)seed,
                      smallest);
        return 1;
    }
    (void)printf("%llu seeds from %llu hold\n", (unsigned long long)count,
                 (unsigned long long)first);
    return 0;
}
