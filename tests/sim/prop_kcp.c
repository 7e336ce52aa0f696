/* SPDX-License-Identifier: MIT */
/*
 * prop_kcp.c - KCP loses, repeats and reorders nothing, over random networks, presets and options.
 *
 * Usage: prop_kcp FIRST COUNT [MESSAGES]. Each seed is a scenario of its own; preset seed mod their
 * number is used. A failure prints the command that replays it, after trying fewer messages that
 * fail too.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/prng.h"
#include "kcp/fec_internal.h"
#include "kcp/internal.h"
#include "kcp_pair.h"

enum {
    MESSAGES_MAX = 4000,
    DIRECTIONS = 2,
    LENGTH_MAX = 60000
};

struct sent {
    struct weir_parcel parcel;
    uint8_t *owned; /* the parcel's bytes */
    uint32_t length;
    bool is_parcel, is_parcel_done;
};

struct direction {
    struct sent messages[MESSAGES_MAX];
    uint32_t sent_count, received;  /* messages */
    uint64_t sent_bytes, got_bytes; /* of a stream */
};

struct scenario {
    uint64_t seed;
    struct weir_prng prng;
    struct kcp_pair pair;
    struct kcp_pair_options options;
    struct weir_kcp_config server;
    struct direction directions[DIRECTIONS]; /* by sending host */
    uint32_t messages, size_max;
    bool is_stream, is_pausing;
    unsigned closed;
    bool is_quiet;
    uint8_t bytes[LENGTH_MAX];
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

/* Every byte says where it belongs: of a message by its index, of a stream by its place. */
static uint8_t byte_of(const struct scenario *s, uint64_t index, uint64_t at, unsigned direction)
{
    uint64_t x = s->is_stream ? at : (index + 1) * 0x9e3779b1U + at;
    x = (x + direction) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint8_t)(x >> 56);
}

static void fill(const struct scenario *s, uint8_t *data, uint32_t length, unsigned direction)
{
    const struct direction *d = &s->directions[direction];
    uint64_t start = s->is_stream ? d->sent_bytes : 0;
    for (uint32_t i = 0; i < length; i++) {
        data[i] = byte_of(s, d->sent_count, start + i, direction);
    }
}

/* --- receiving -------------------------------------------------------------------------------- */

static void on_message(struct scenario *s, unsigned receiver, const struct weir_kcp_event *event)
{
    unsigned sender = 1 - receiver;
    struct direction *d = &s->directions[sender];
    uint64_t at = s->is_stream ? d->got_bytes : 0;
    size_t seen = 0;
    for (uint32_t i = 0; i < event->message.span_count; i++) {
        struct weir_span span = event->message.spans[i];
        for (size_t k = 0; k < span.length; k++) {
            MUST(s, span.data[k] == byte_of(s, d->received, at + seen + k, sender),
                 "message %u byte %zu of %zu", d->received, seen + k, event->message.length);
        }
        seen += span.length;
    }
    MUST(s, seen == event->message.length, "spans hold %zu of %zu", seen, event->message.length);
    d->got_bytes += seen;
    MUST(s, !s->is_stream || d->got_bytes <= d->sent_bytes, "more than was sent");
    MUST(s, s->is_stream || d->received < d->sent_count, "message %u was never sent", d->received);
    MUST(s, s->is_stream || seen == d->messages[d->received].length, "length of %u: %zu",
         d->received, seen);
    d->received++;
}

static void on_event(struct kcp_pair *pair, struct kcp_host *host, struct weir_kcp_event *event)
{
    struct scenario *s = pair->user;
    unsigned self = (unsigned)(host - pair->hosts);
    switch (event->type) {
    case WEIR_KCP_EVENT_REQUEST:
        MUST(s, host->conn == NULL, "two sessions");
        host->conn = event->conn;
        weir_kcp_accept(event->conn, NULL);
        break;
    case WEIR_KCP_EVENT_MESSAGE:
        on_message(s, self, event);
        break;
    case WEIR_KCP_EVENT_PARCEL_DONE: {
        struct sent *message = event->parcel.parcel->user;
        MUST(s, !message->is_parcel_done && message->parcel.references == 0, "parcel done twice");
        message->is_parcel_done = true;
        memset(message->owned, 0xdd, message->length); /* nobody may look at it any more */
        break;
    }
    case WEIR_KCP_EVENT_CLOSED:
        s->closed++;
        MUST(s, event->closed.cause == WEIR_KCP_CAUSE_LOCAL, "closed by %d", event->closed.cause);
        host->conn = NULL;
        break;
    case WEIR_KCP_EVENT_OPENED:
    case WEIR_KCP_EVENT_WRITABLE:
    case WEIR_KCP_EVENT_MOVED:
        break;
    }
}

/* --- sending ---------------------------------------------------------------------------------- */

static uint32_t draw_length(struct scenario *s)
{
    if (chance(s, 75)) {
        return draw(s, 300) + (s->is_stream ? 1 : 0);
    }
    return 1 + draw(s, chance(s, 80) ? 5000 : s->size_max);
}

static void send_one(struct scenario *s, unsigned sender)
{
    struct direction *d = &s->directions[sender];
    struct weir_kcp_conn *conn = s->pair.hosts[sender].conn;
    struct sent *message = &d->messages[d->sent_count];
    message->length = draw_length(s);
    message->is_parcel = message->length > 0 && chance(s, 40);
    enum weir_status status;
    if (message->is_parcel) {
        message->owned = malloc(message->length);
        fill(s, message->owned, message->length, sender);
        message->parcel = (struct weir_parcel){
            .data = message->owned, .length = message->length, .user = message};
        status = weir_kcp_send_parcel(conn, &message->parcel);
    } else {
        fill(s, s->bytes, message->length, sender);
        status = weir_kcp_send(conn, s->bytes, message->length);
    }
    if (status == WEIR_OK) {
        d->sent_count++;
        d->sent_bytes += message->length;
        return;
    }
    free(message->owned);
    *message = (struct sent){0};
    MUST(s, status == WEIR_ERR_FULL || status == WEIR_ERR_TOO_LARGE, "send: %d", status);
}

/* --- the scenario ----------------------------------------------------------------------------- */

/* Both ends have the same cipher; FEC each as it likes. */
static void draw_layers(struct scenario *s)
{
    struct weir_kcp_config *ends[] = {&s->options.kcp, &s->server};
    if (chance(s, 50)) {
        uint32_t cipher = draw(s, WEIR_KCP_CIPHER_COUNT);
        s->options.kcp.cipher = (enum weir_kcp_cipher)cipher;
        memcpy(s->options.kcp.key, &s->seed, sizeof(s->seed));
    }
    bool is_fec = chance(s, 50);
    if (is_fec) {
        s->options.kcp.address_policy = WEIR_KCP_ADDRESS_REPLACE;
    }
    s->server = s->options.kcp;
    s->options.server = &s->server;
    for (unsigned i = 0; is_fec && i < 2; i++) {
        ends[i]->is_fec = chance(s, 80);
        if (chance(s, 70)) {
            ends[i]->fec_data = (uint16_t)(1 + draw(s, 20));
            ends[i]->fec_parity = (uint16_t)(1 + draw(s, 8));
        }
        ends[i]->fec_buffers_max = chance(s, 20) ? 1 + draw(s, 60) : 0;
    }
}

static void draw_options(struct scenario *s)
{
    struct kcp_pair_options *o = &s->options;
    struct weir_kcp_tuning *tuning = &o->kcp.tuning;
    unsigned presets = 0;
    kcp_pair_options_default(o);
    do {
        presets++;
    } while (weir_kcp_preset_name(presets) != NULL);
    MUST(s,
         weir_kcp_preset(weir_kcp_preset_name((unsigned)(s->seed % presets)), &o->kcp) == WEIR_OK,
         "preset");
    o->seed = s->seed;
    o->link = (struct weir_sim_link){.delay = draw(s, 80) * WEIR_MSEC,
                                     .jitter = chance(s, 30) ? draw(s, 20) * WEIR_MSEC : 0,
                                     .loss_ppm = chance(s, 70) ? draw(s, 250000) : 0,
                                     .reorder_ppm = chance(s, 50) ? draw(s, 200000) : 0,
                                     .duplicate_ppm = chance(s, 50) ? draw(s, 100000) : 0};
    if (chance(s, 30)) {
        o->link.rate = 2000000 + (uint64_t)draw(s, 50000000);
        o->link.queue_bytes = 20000 + draw(s, 200000);
    }
    tuning->dead_link = 0;
    tuning->is_write_delayed = chance(s, 30);
    tuning->is_ack_no_delay = chance(s, 30);
    tuning->is_ack_coalesced = chance(s, 30);
    tuning->is_early_retransmit = chance(s, 30);
    tuning->is_reorder_tolerant = chance(s, 30);
    if (chance(s, 30)) {
        tuning->send_window = (uint16_t)(1 + draw(s, 600));
        tuning->receive_window = (uint16_t)(1 + draw(s, 600));
        tuning->mtu_bytes = (uint16_t)(50 + draw(s, 1450));
    }
    if (chance(s, 30)) {
        o->kcp.cc = (enum weir_cc_kind)(draw(s, 4) & 3);
    }
    if (chance(s, 10)) {
        o->kcp.held_max = 512 + draw(s, 100);
    }
    o->kcp.connect_timeout = o->kcp.idle_timeout = 0;
    draw_layers(s);
    s->is_stream = tuning->is_stream;
    s->is_pausing = chance(s, 30);
    s->size_max = chance(s, 20) ? LENGTH_MAX - 1 : 20000;
}

static bool is_all_delivered(const struct scenario *s)
{
    for (unsigned i = 0; i < DIRECTIONS; i++) {
        const struct direction *d = &s->directions[i];
        if (s->is_stream ? d->got_bytes < d->sent_bytes : d->received < d->sent_count) {
            return false;
        }
    }
    return true;
}

static void set_paused(struct scenario *s, bool is_paused)
{
    for (unsigned i = 0; i < 2; i++) {
        if (s->pair.hosts[i].conn != NULL) {
            weir_kcp_pause(s->pair.hosts[i].conn, is_paused);
        }
    }
}

static void exchange(struct scenario *s)
{
    struct kcp_pair *pair = &s->pair;
    for (uint32_t i = 0; i < s->messages; i++) {
        unsigned sender = pair->hosts[1].conn == NULL ? 0 : draw(s, DIRECTIONS);
        send_one(s, sender);
        if (s->is_pausing && chance(s, 5)) {
            set_paused(s, chance(s, 50));
        }
        if (chance(s, 50)) {
            kcp_pair_run(pair, pair->now + draw(s, 4000) * WEIR_USEC);
        }
        if (chance(s, 1)) {
            kcp_pair_run(pair, pair->now + draw(s, 20) * WEIR_SEC);
        }
    }
    set_paused(s, false);
    weir_nsec limit = pair->now + 20000 * WEIR_SEC;
    while (pair->now < limit && !is_all_delivered(s)) {
        kcp_pair_run(pair, pair->now + 50 * WEIR_MSEC);
    }
    for (unsigned i = 0; i < DIRECTIONS; i++) {
        const struct direction *d = &s->directions[i];
        MUST(s, is_all_delivered(s), "direction %u: %u of %u messages, %llu of %llu bytes", i,
             d->received, d->sent_count, (unsigned long long)d->got_bytes,
             (unsigned long long)d->sent_bytes);
    }
}

/* After both ends have closed nothing may be left in any pool. */
static void check_empty(struct scenario *s)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct weir_kcp *ep = s->pair.hosts[i].kcp;
        MUST(s, ep->table.count == 0 && ep->awakes.used == 0, "sessions left");
        MUST(s, ep->paceds.used == 0 && ep->helds.used == 0, "held left");
        MUST(s, weir_store_used_bytes(ep->send_store) == 0, "send memory left: %zu",
             weir_store_used_bytes(ep->send_store));
        MUST(s, weir_store_used_bytes(ep->window_store) == 0, "windows left: %zu",
             weir_store_used_bytes(ep->window_store));
        MUST(s, weir_slide_stats(ep->config.slide)->held_bytes == 0, "slide holds left");
        MUST(s, ep->fec == NULL || ep->fec->buffers.used == 0, "FEC packets left");
        MUST(s, ep->stats.drops[WEIR_KCP_DROP_FORGED] == 0, "not sealed as it is opened");
        for (uint32_t m = 0; m < s->directions[i].sent_count; m++) {
            const struct sent *message = &s->directions[i].messages[m];
            MUST(s, !message->is_parcel || message->is_parcel_done, "parcel %u never came back", m);
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
    kcp_pair_open(&s->pair, &s->options, on_event, s);
    kcp_pair_connect(&s->pair);
    exchange(s);
    /* The peer is not told, and what it still resends is for nobody: both wait for their ACKs. */
    kcp_pair_run(&s->pair, s->pair.now + 600 * WEIR_SEC);
    for (unsigned i = 0; i < 2; i++) {
        if (s->pair.hosts[i].conn != NULL) {
            weir_kcp_close(s->pair.hosts[i].conn);
        } else {
            s->closed++;
        }
    }
    kcp_pair_run(&s->pair, s->pair.now + 60 * WEIR_SEC);
    MUST(s, s->closed == 2, "closed %u", s->closed);
    check_empty(s);
    for (unsigned d = 0; d < DIRECTIONS; d++) {
        for (uint32_t i = 0; i < s->directions[d].sent_count; i++) {
            free(s->directions[d].messages[i].owned);
        }
    }
    kcp_pair_close(&s->pair);
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
        (void)fprintf(stderr, "prop_kcp: MESSAGES is 1 to %d\n", MESSAGES_MAX);
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
