/* SPDX-License-Identifier: MIT */
/*
 * kcp_peer.c - our side: the library over the kernel's UDP, with the options of kcppeer.
 *
 *     kcp_peer echo   -addr HOST:PORT [options]      sends back what comes in, until killed
 *     kcp_peer client -addr HOST:PORT [options]      sends, and checks what an echo sends back
 *
 * Options as of kcppeer.go: crypt, key, data, parity, window, mtu, nodelay, stream, acknodelay,
 * sizes, messages, bytes, timeout (seconds here; of both). Besides, of the client:
 *     -refuse N    at the end a message of N bytes has to be refused as too large
 *     -sessions N  so many at most (of the echo too)
 *     -bounds      what comes back has to have the bounds of what was sent; else bytes in order do
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "weir/weir.h"

enum {
    PATTERN_BYTES = 1000003, /* a prime: what is in the wrong place does not look right */
    CHUNK_BYTES = 65536,     /* of one send to a stream */
    PARCELS = 1024,
    SIZES_MAX = 32,
    TIMEOUT_S = 60
};

struct options {
    struct weir_addr addr;
    struct weir_kcp_config kcp;
    bool is_client, are_bounds_kept;
    uint64_t sizes[SIZES_MAX];
    unsigned size_count;
    uint64_t messages, bytes, refused_bytes;
    unsigned timeout_s;
};

/* What could not be sent back at once; the session is paused meanwhile. */
struct waiting {
    uint8_t *data;
    size_t length;
    bool is_used;
};

struct peer {
    struct options options;
    struct weir_loop *loop;
    struct weir_kcp *endpoint;
    struct weir_kcp_conn *conn;      /* the client's */
    uint64_t sent_count, sent_bytes; /* messages or chunks */
    uint64_t got_count, got_bytes;
    bool is_done;
    unsigned parcels_free;
    struct weir_parcel parcels[PARCELS];
    struct weir_parcel *free_parcels[PARCELS];
    uint8_t *buffer; /* one message */
    uint8_t pattern[PATTERN_BYTES + WEIR_KCP_SEND_BYTES_MAX];
};

static _Noreturn void die(const char *what, uint64_t number)
{
    (void)fprintf(stderr, "kcp_peer: %s (%llu)\n", what, (unsigned long long)number);
    _Exit(1);
}

static void must(enum weir_status status, const char *what)
{
    if (status != WEIR_OK) {
        (void)fprintf(stderr, "kcp_peer: %s: %s\n", what, weir_status_text(status));
        _Exit(1);
    }
}

/* --- content ---------------------------------------------------------------------------------- */

static void fill_pattern(struct peer *peer)
{
    uint32_t state = 1;
    for (size_t i = 0; i < PATTERN_BYTES; i++) {
        state = state * 1664525U + 1013904223U;
        peer->pattern[i] = (uint8_t)(state >> 24);
    }
    for (size_t i = PATTERN_BYTES; i < sizeof(peer->pattern); i++) {
        peer->pattern[i] = peer->pattern[i - PATTERN_BYTES];
    }
}

/* The bytes from place on, of all that is ever sent. */
static const uint8_t *bytes_at(const struct peer *peer, uint64_t place)
{
    return peer->pattern + place % PATTERN_BYTES;
}

static size_t size_of(const struct peer *peer, uint64_t index)
{
    const struct options *options = &peer->options;
    if (options->bytes == 0) {
        return (size_t)options->sizes[index % options->size_count];
    }
    uint64_t left = options->bytes - index * CHUNK_BYTES;
    return left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
}

static uint64_t count_of(const struct peer *peer)
{
    const struct options *options = &peer->options;
    return options->bytes == 0 ? options->messages
                               : (options->bytes + CHUNK_BYTES - 1) / CHUNK_BYTES;
}

/* --- client ----------------------------------------------------------------------------------- */

/* As much as the queue takes; WRITABLE and done parcels come back here. */
static void send_more(struct peer *peer)
{
    while (peer->sent_count < count_of(peer) && peer->parcels_free > 0) {
        struct weir_parcel *parcel = peer->free_parcels[peer->parcels_free - 1];
        size_t length = size_of(peer, peer->sent_count);
        *parcel = (struct weir_parcel){.data = bytes_at(peer, peer->sent_bytes),
                                       .length = (uint32_t)length};
        /* Long ones without a copy. */
        bool is_parcel = length > 4096;
        enum weir_status status = is_parcel ? weir_kcp_send_parcel(peer->conn, parcel)
                                            : weir_kcp_send(peer->conn, parcel->data, length);
        if (status == WEIR_ERR_FULL) {
            return;
        }
        must(status, "send");
        peer->parcels_free -= is_parcel;
        peer->sent_count++;
        peer->sent_bytes += length;
    }
}

/* Everything is back. The peer is asked for its window first: WRITABLE comes back here. */
static void finish(struct peer *peer)
{
    uint64_t length = peer->options.refused_bytes;
    if (length > 0) {
        enum weir_status status = weir_kcp_send(peer->conn, peer->pattern, (size_t)length);
        if (status == WEIR_ERR_FULL) {
            return;
        }
        if (status != WEIR_ERR_TOO_LARGE) {
            die("not refused as too large", length);
        }
    }
    peer->is_done = true;
}

static bool is_all_back(const struct peer *peer)
{
    return peer->sent_count == count_of(peer) && peer->got_bytes == peer->sent_bytes &&
           (!peer->options.are_bounds_kept || peer->got_count == peer->sent_count);
}

static void check_echo(struct peer *peer, const struct weir_kcp_event *event)
{
    if (peer->options.are_bounds_kept && event->message.length != size_of(peer, peer->got_count)) {
        die("a message came back with other bounds", event->message.length);
    }
    for (uint32_t i = 0; i < event->message.span_count; i++) {
        struct weir_span span = event->message.spans[i];
        if (memcmp(span.data, bytes_at(peer, peer->got_bytes), span.length) != 0) {
            die("came back changed, near byte", peer->got_bytes);
        }
        peer->got_bytes += span.length;
    }
    peer->got_count++;
    if (peer->got_bytes > peer->sent_bytes) {
        die("more came back than was sent", peer->got_bytes);
    }
    if (is_all_back(peer)) {
        finish(peer);
    }
}

/* --- echo ------------------------------------------------------------------------------------- */

static void send_back(struct peer *peer, const struct weir_kcp_event *event)
{
    struct weir_span message = event->message.spans[0];
    if (event->message.span_count > 1) {
        message.length = weir_kcp_copy_message(event, peer->buffer, WEIR_KCP_SEND_BYTES_MAX);
        message.data = peer->buffer;
    }
    enum weir_status status = weir_kcp_send(event->conn, message.data, message.length);
    if (status != WEIR_ERR_FULL) {
        must(status, "send back");
        return;
    }
    struct waiting *waiting = weir_kcp_user(event->conn);
    if (waiting->is_used) {
        die("a paused session goes on", waiting->length);
    }
    *waiting = (struct waiting){
        .data = malloc(message.length + 1), .length = message.length, .is_used = true};
    if (message.length > 0) {
        memcpy(waiting->data, message.data, message.length);
    }
    weir_kcp_pause(event->conn, true);
}

static void go_on(struct weir_kcp_conn *conn)
{
    struct waiting *waiting = weir_kcp_user(conn);
    if (!waiting->is_used) {
        return;
    }
    enum weir_status status = weir_kcp_send(conn, waiting->data, waiting->length);
    if (status == WEIR_ERR_FULL) {
        return;
    }
    must(status, "send back");
    free(waiting->data);
    waiting->is_used = false;
    weir_kcp_pause(conn, false);
}

static void on_closed(struct peer *peer, const struct weir_kcp_event *event)
{
    if (peer->options.is_client) {
        die("the session ended, cause", event->closed.cause);
    }
    struct waiting *waiting = event->closed.user;
    if (waiting != NULL && waiting->is_used) {
        free(waiting->data);
    }
    free(waiting);
}

/* --- both ------------------------------------------------------------------------------------- */

static void on_event(struct peer *peer, const struct weir_kcp_event *event)
{
    switch (event->type) {
    case WEIR_KCP_EVENT_REQUEST:
        weir_kcp_accept(event->conn, calloc(1, sizeof(struct waiting)));
        break;
    case WEIR_KCP_EVENT_MESSAGE:
        if (peer->options.is_client) {
            check_echo(peer, event);
        } else {
            send_back(peer, event);
        }
        break;
    case WEIR_KCP_EVENT_PARCEL_DONE:
        peer->free_parcels[peer->parcels_free++] = event->parcel.parcel;
        break;
    case WEIR_KCP_EVENT_WRITABLE:
        if (!peer->options.is_client) {
            go_on(event->conn);
        } else if (is_all_back(peer)) {
            finish(peer);
        }
        break;
    case WEIR_KCP_EVENT_CLOSED:
        on_closed(peer, event);
        break;
    case WEIR_KCP_EVENT_OPENED:
    case WEIR_KCP_EVENT_MOVED:
        break;
    }
}

static void on_events(void *user, weir_nsec now)
{
    struct peer *peer = user;
    struct weir_kcp_event event;
    (void)now;
    while (!peer->is_done && weir_kcp_event(peer->endpoint, &event) == WEIR_OK) {
        on_event(peer, &event);
    }
    if (peer->options.is_client && !peer->is_done) {
        send_more(peer);
    }
}

static void open_peer(struct peer *peer)
{
    struct weir_udp_config udp;
    struct weir_loop_config loops;
    struct weir_slide_config slides;
    struct weir_kcp_config *kcp = &peer->options.kcp;
    uint8_t seed[32];
    weir_udp_config_default(&udp);
    weir_loop_config_default(&loops);
    weir_slide_config_default(&slides);
    udp.bind = peer->options.addr;
    if (peer->options.is_client) {
        udp.bind.port = 0;
    }
    must(weir_udp_open(&udp, &loops.driver, NULL, &(int){0}), "socket");
    must(weir_slide_init(weir_mem_map(weir_slide_mem_size(&slides)), &slides, &loops.slide),
         "slide");
    must(weir_loop_open(&loops, &peer->loop), "loop");
    must(weir_secret_seed(seed, sizeof(seed)), "seed");
    kcp->slide = loops.slide;
    kcp->is_accepting = !peer->options.is_client;
    void *mem = weir_mem_map(weir_kcp_mem_size(kcp));
    must(weir_kcp_init(mem, kcp, seed, weir_loop_now(peer->loop), &peer->endpoint), "endpoint");
    weir_loop_attach(peer->loop, peer->endpoint, weir_kcp_verbs(), on_events, peer);
    if (kcp->is_accepting) {
        char text[WEIR_ADDR_TEXT_BYTES];
        (void)weir_addr_format(&loops.driver->local, text);
        printf("listening on %s\n", text);
        (void)fflush(stdout);
    }
}

static void print_result(const struct peer *peer, weir_nsec started)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    const struct weir_kcp_stats *stats = weir_kcp_stats(peer->endpoint);
    uint64_t resent = stats->resent_fast + stats->resent_timeout;
    printf("ok bytes=%llu messages=%llu seconds=%.3f cpu_seconds=%.3f fec_recovered=%llu "
           "segments=%llu resent=%llu\n",
           (unsigned long long)peer->got_bytes, (unsigned long long)peer->options.messages,
           (double)(weir_loop_now(peer->loop) - started) / 1e9, cpu,
           (unsigned long long)stats->fec.recovered, (unsigned long long)stats->segments_sent,
           (unsigned long long)resent);
}

/* --- options ---------------------------------------------------------------------------------- */

/* "1,10,2,1": at most max numbers; how many there are. */
static unsigned read_numbers(const char *text, uint64_t *numbers, unsigned max)
{
    unsigned count = 0;
    for (const char *at = text; at != NULL && count < max; count++) {
        numbers[count] = strtoull(at, NULL, 10);
        at = strchr(at, ',');
        at += at != NULL;
    }
    return count;
}

static void read_nodelay(const char *text, struct weir_kcp_tuning *tuning)
{
    uint64_t values[4] = {0};
    (void)read_numbers(text, values, 4);
    tuning->nodelay = (uint8_t)values[0];
    tuning->interval_ms = (uint16_t)values[1];
    tuning->resend = (uint8_t)values[2];
    tuning->is_window_fixed = values[3] != 0;
}

static const struct option option_list[] = {
    {"addr", 1, NULL, 'a'},       {"crypt", 1, NULL, 'c'},    {"key", 1, NULL, 'k'},
    {"data", 1, NULL, 'd'},       {"parity", 1, NULL, 'p'},   {"window", 1, NULL, 'w'},
    {"mtu", 1, NULL, 'm'},        {"nodelay", 1, NULL, 'n'},  {"stream", 0, NULL, 's'},
    {"acknodelay", 0, NULL, 'A'}, {"sizes", 1, NULL, 'z'},    {"messages", 1, NULL, 'N'},
    {"bytes", 1, NULL, 'B'},      {"timeout", 1, NULL, 't'},  {"refuse", 1, NULL, 'r'},
    {"bounds", 0, NULL, 'b'},     {"sessions", 1, NULL, 'S'}, {NULL, 0, NULL, 0}};

static void read_engine_option(int key, const char *text, struct weir_kcp_config *kcp)
{
    struct weir_kcp_tuning *tuning = &kcp->tuning;
    unsigned number = (unsigned)strtoul(text, NULL, 10);
    switch (key) {
    case 'c':
        must(weir_kcp_cipher_by_name(text, &kcp->cipher), "crypt");
        break;
    case 'k':
        weir_kcp_key(weir_span_of(text, strlen(text)), kcp->key);
        break;
    case 'd':
        kcp->fec_data = (uint16_t)number;
        break;
    case 'p':
        kcp->fec_parity = (uint16_t)number;
        break;
    case 'w':
        tuning->send_window = tuning->receive_window = (uint16_t)number;
        break;
    case 'm':
        tuning->mtu_bytes = (uint16_t)number;
        break;
    case 'n':
        read_nodelay(text, tuning);
        break;
    case 'S':
        kcp->connections_max = kcp->awake_max = kcp->pending_max = number;
        break;
    case 's':
        tuning->is_stream = true;
        break;
    case 'A':
        tuning->is_ack_no_delay = true;
        break;
    default:
        die("no such option", (uint64_t)key);
    }
}

static void read_option(int key, const char *text, struct options *options)
{
    switch (key) {
    case 'a':
        must(weir_addr_parse(text, &options->addr), "addr");
        break;
    case 'z':
        options->size_count = read_numbers(text, options->sizes, SIZES_MAX);
        break;
    case 'N':
        options->messages = strtoull(text, NULL, 10);
        break;
    case 'B':
        options->bytes = strtoull(text, NULL, 10);
        break;
    case 't':
        options->timeout_s = (unsigned)strtoul(text, NULL, 10);
        break;
    case 'r':
        options->refused_bytes = strtoull(text, NULL, 10);
        break;
    case 'b':
        options->are_bounds_kept = true;
        break;
    default:
        read_engine_option(key, text, &options->kcp);
        break;
    }
}

static void read_options(int argc, char **argv, struct options *options)
{
    static const char phrase[] = "it's a secrect";
    int key;
    *options = (struct options){
        .is_client = strcmp(argv[1], "client") == 0, .timeout_s = TIMEOUT_S, .sizes = {100}};
    options->size_count = 1;
    weir_kcp_config_default(&options->kcp);
    must(weir_addr_parse("127.0.0.1:0", &options->addr), "addr");
    weir_kcp_key(weir_span_of(phrase, sizeof(phrase) - 1), options->kcp.key);
    options->kcp.tuning.send_window = options->kcp.tuning.receive_window = 1024;
    read_nodelay("1,10,2,1", &options->kcp.tuning);
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
    while ((key = getopt_long_only(argc - 1, argv + 1, "", option_list, NULL)) != -1) {
        read_option(key, optarg == NULL ? "" : optarg, options);
    }
    options->kcp.is_fec = options->kcp.fec_data > 0;
    if (options->kcp.is_fec) {
        options->kcp.address_policy = WEIR_KCP_ADDRESS_REPLACE;
    }
}

int main(int argc, char **argv)
{
    static struct peer peer;
    if (argc < 2 || (strcmp(argv[1], "echo") != 0 && strcmp(argv[1], "client") != 0)) {
        die("kcp_peer echo|client [options]", 0);
    }
    read_options(argc, argv, &peer.options);
    (void)alarm(peer.options.timeout_s); /* ends the program */
    fill_pattern(&peer);
    peer.buffer = malloc(WEIR_KCP_SEND_BYTES_MAX);
    for (unsigned i = 0; i < PARCELS; i++) {
        peer.free_parcels[peer.parcels_free++] = &peer.parcels[i];
    }
    open_peer(&peer);
    weir_nsec started = weir_loop_now(peer.loop);
    if (peer.options.is_client) {
        must(weir_kcp_connect(peer.endpoint, started, &peer.options.addr, 0, NULL, &peer.conn),
             "connect");
        send_more(&peer);
    }
    while (!peer.is_done) {
        must(weir_loop_run_once(peer.loop, WEIR_SEC), "loop");
    }
    print_result(&peer, started);
    free(peer.buffer);
    return 0;
}
