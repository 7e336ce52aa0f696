/* SPDX-License-Identifier: MIT */
/*
 * tcp_script.c - see tcp_script.h. Lines are read and done one by one; the clock of the endpoint
 * moves from timer to timer in between, so that everything it sends has its exact time.
 */
#include "tcp_script.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tcp/internal.h"
#include "tcp_script_play.h"
#include "weir/os.h"
#include "wire/tcp.h"

struct play play;

_Noreturn void script_fail(const char *format, ...)
{
    va_list arguments;
    (void)fprintf(stderr, "%s:%u: at %.6f: ", play.path, play.line,
                  (double)(play.now - play.start) / 1e9);
    va_start(arguments, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): clang-tidy 14 misses va_start */
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
    longjmp(play.failure, 1);
}

void script_check(bool condition, const char *what)
{
    if (!condition) {
        script_fail("%s", what);
    }
}

uint8_t script_byte(uint64_t at)
{
    return (uint8_t)((at * 2654435761U) >> 16);
}

uint64_t script_number(const char *text)
{
    char *end;
    uint64_t value = strtoull(text, &end, 0);
    if (end == text || (*end != '\0' && strchr(",:)(>", *end) == NULL)) {
        script_fail("'%s' is no number", text);
    }
    return value;
}

uint16_t script_port(const struct peer *peer)
{
    return (uint16_t)(play.path4.remote.port + (peer - play.peers));
}

struct peer *script_peer(uint16_t port)
{
    unsigned i = (unsigned)(port - play.path4.remote.port);
    return i < PEERS_MAX ? &play.peers[i] : NULL;
}

/* --- the endpoint ----------------------------------------------------------------------------- */

static void keep_sent(const struct weir_transmit *transmit, uint32_t off, uint32_t length)
{
    struct weir_tcp_segment segment;
    char text[512];
    script_check(play.sent_count < SENT_MAX, "too many segments");
    struct sent *sent = &play.sent[play.sent_count++];
    sent->at = play.now;
    sent->length = length;
    sent->ecn = transmit->ecn;
    sent->segment_bytes = transmit->header_bytes != 0 ? transmit->segment_bytes : 0;
    memcpy(sent->bytes, transmit->data + off, length);
    script_check(weir_tcp_decode(weir_span_of(sent->bytes, length), &segment),
                 "a segment that is none");
    script_check(weir_tcp_is_checksum_right(weir_span_of(sent->bytes, length), &transmit->path),
                 "a wrong checksum");
    script_check(weir_addr_is_equal(&transmit->path.local, &play.wire.local) &&
                     weir_addr_is_equal(&transmit->path.remote, &play.wire.remote) &&
                     segment.source == play.path4.local.port,
                 "other ends than those of the script");
    struct peer *peer = sent->peer = script_peer(segment.target);
    if (peer == NULL) {
        script_fail("a segment to nobody");
    }
    if ((segment.flags & WEIR_TCP_SYN) != 0 && segment.seq != peer->own_number) {
        peer->own_before = peer->own_number;
        peer->own_number = segment.seq; /* until then numbers are as they are */
    }
    if ((segment.options & WEIR_TCP_HAS_TIMESTAMPS) != 0) {
        peer->ts_last = segment.ts_value;
    }
    if ((segment.options & WEIR_TCP_HAS_COOKIE) != 0 && segment.cookie.length > 0) {
        play.cookie_bytes = (uint32_t)segment.cookie.length;
        memcpy(play.cookie, segment.cookie.data, segment.cookie.length);
    }
    for (size_t i = 0; i < segment.data.length; i++) {
        bool is_syn = (segment.flags & WEIR_TCP_SYN) != 0;
        uint32_t at = segment.seq - peer->own_number - 1 + is_syn + (uint32_t)i;
        script_check(segment.data.data[i] == script_byte(at), "a wrong byte in a segment");
    }
    if (play.is_verbose) {
        script_format(sent, text, sizeof(text));
        (void)printf("    %s\n", text);
    }
}

static void keep_event(const struct weir_tcp_event *event)
{
    if (event->type == WEIR_TCP_EVENT_ROOM) {
        return; /* of nobody */
    }
    script_check(play.event_count < EVENTS_MAX, "too many events");
    struct seen *seen = &play.events[play.event_count++];
    struct peer *peer = script_peer(weir_tcp_path(play.tcp, event->conn).remote.port);
    if (peer == NULL) {
        script_fail("an event of nobody");
    }
    *seen = (struct seen){.at = play.now, .peer = peer, .type = event->type};
    switch (event->type) {
    case WEIR_TCP_EVENT_OPENED:
        peer->conn = event->conn;
        break;
    case WEIR_TCP_EVENT_DATA:
        for (size_t i = 0; i < event->data.span.length; i++) {
            script_check(event->data.span.data[i] == script_byte(peer->data_bytes + i),
                         "a wrong byte in DATA");
        }
        seen->value = event->data.span.length;
        peer->data_bytes += event->data.span.length;
        peer->urgent_bytes = event->data.urgent_bytes;
        break;
    case WEIR_TCP_EVENT_PARCEL_DONE:
        seen->value = event->parcel.outcome;
        break;
    case WEIR_TCP_EVENT_CLOSED:
        seen->value = event->closed.cause;
        peer->conn = NULL;
        break;
    case WEIR_TCP_EVENT_WRITABLE:
    case WEIR_TCP_EVENT_URGENT:
    case WEIR_TCP_EVENT_PEER_CLOSED:
    case WEIR_TCP_EVENT_ROOM:
        break;
    }
    if (play.is_verbose) {
        (void)printf("    %.6f event %d, %llu\n", (double)(play.now - play.start) / 1e9,
                     (int)event->type, (unsigned long long)seen->value);
    }
}

static void drain(void)
{
    struct weir_tcp_event event;
    while (weir_tcp_event(play.tcp, &event) == WEIR_OK) {
        keep_event(&event);
    }
}

/* Everything that is due at this moment. */
void script_settle(void)
{
    struct weir_transmit transmits[SENT_MAX];
    enum weir_status status;
    weir_tcp_timeout(play.tcp, play.now);
    drain();
    do {
        struct weir_tx tx = {.buffer = play.tx_bytes,
                             .buffer_bytes = sizeof(play.tx_bytes),
                             .transmits = transmits,
                             .transmits_max = SENT_MAX,
                             .is_joined = play.is_joined};
        status = weir_tcp_output(play.tcp, play.now, &tx);
        for (uint32_t i = 0; i < tx.count; i++) {
            keep_sent(&transmits[i], 0, transmits[i].length);
        }
        drain();
    } while (status == WEIR_OK);
}

/* Moves the clock to until, or to the first moment at which a segment has left. */
void script_move(weir_nsec until, bool is_stopping)
{
    script_settle();
    while (!is_stopping || play.sent_first == play.sent_count) {
        weir_nsec next = weir_tcp_next_timeout(play.tcp);
        if (next > until) {
            break;
        }
        play.now = next > play.now ? next : play.now;
        script_settle();
    }
    if (play.sent_first == play.sent_count || !is_stopping) {
        play.now = until > play.now ? until : play.now;
    }
}

/* Initial numbers follow the clock: it begins when the one that is wanted is due. */
static void choose_own_number(void)
{
    struct weir_path path = play.is_6 ? play.path6 : play.path4;
    uint32_t number = weir_tcp_initial_number(play.tcp, &path);
    play.start += (play.own_number_wanted - number) * (4 * WEIR_USEC);
    play.now = play.last = play.start;
    script_settle();
}

static void open_endpoint(void)
{
    const uint8_t seed[32] = {7};
    struct weir_slide_config slide;
    if (play.tcp != NULL) {
        return;
    }
    weir_slide_config_default(&slide);
    slide.size_bytes = play.slide_size;
    slide.batch_bytes_max = 1 << 18;
    play.slide_bytes = weir_slide_mem_size(&slide);
    play.slide_mem = weir_mem_map(play.slide_bytes);
    script_check(weir_slide_init(play.slide_mem, &slide, &play.slide) == WEIR_OK, "slide");
    play.config.slide = play.slide;
    play.mem_bytes = weir_tcp_mem_size(&play.config);
    script_check(play.mem_bytes > 0, "the configuration is out of bounds");
    play.mem = weir_mem_map(play.mem_bytes);
    script_check(weir_tcp_init(play.mem, &play.config, seed, play.now, &play.tcp) == WEIR_OK,
                 "init");
    play.wire = play.is_6 ? play.path6 : play.path4;
    play.wire.local.port = play.wire.remote.port = 0;
    if (play.is_own_number_wanted) {
        choose_own_number();
    }
}

static void close_endpoint(void)
{
    weir_mem_unmap(play.mem, play.mem_bytes);
    weir_mem_unmap(play.slide_mem, play.slide_bytes);
}

/* --- calls and events ------------------------------------------------------------------------- */

/* FULL and so on, as the names of enum weir_status end. */
static enum weir_status parse_status(const char *text)
{
    static const struct {
        const char *name;
        enum weir_status status;
    } names[] = {{"OK", WEIR_OK},
                 {"AGAIN", WEIR_AGAIN},
                 {"FULL", WEIR_ERR_FULL},
                 {"CLOSED", WEIR_ERR_CLOSED},
                 {"INVALID", WEIR_ERR_INVALID},
                 {"TOO_LARGE", WEIR_ERR_TOO_LARGE}};

    unsigned i = 0;
    while (i < sizeof(names) / sizeof(names[0]) && strcmp(names[i].name, text) != 0) {
        i++;
    }
    script_check(i < sizeof(names) / sizeof(names[0]), "unknown status");
    return names[i].status;
}

/* The last word of a call may say how it must end. */
static void check_status(enum weir_status status)
{
    const char *last = play.words[play.count - 1];
    bool has_word = last[0] >= 'A' && last[0] <= 'Z';
    enum weir_status wanted = has_word ? parse_status(last) : WEIR_OK;
    if (status != wanted) {
        script_fail("%s: %s", play.words[2], weir_status_text(status));
    }
}

static enum weir_status call_send(uint64_t length, bool is_parcel)
{
    script_check(length <= sizeof(play.pattern) &&
                     play.peer->queued + length <= sizeof(play.pattern),
                 "too much to send");
    uint8_t *data = play.pattern + play.peer->queued;
    for (uint64_t i = 0; i < length; i++) {
        data[i] = script_byte(play.peer->queued + i);
    }
    enum weir_status status;
    if (is_parcel) {
        script_check(play.parcel_count < PARCELS_MAX, "too many parcels");
        struct weir_parcel *parcel = &play.parcels[play.parcel_count++];
        *parcel = (struct weir_parcel){.data = data, .length = (uint32_t)length};
        status = weir_tcp_send_parcel(play.tcp, play.peer->conn, parcel);
    } else {
        status = weir_tcp_send(play.tcp, play.peer->conn, data, length);
    }
    play.peer->queued += status == WEIR_OK ? length : 0;
    return status;
}

/* false: it is no call of the endpoint. */
static bool call_endpoint(const char *name)
{
    struct weir_path path = play.is_6 ? play.path6 : play.path4;
    struct weir_addr any = {.port = path.local.port, .family = path.local.family};
    path.remote.port = script_port(play.peer);
    if (strcmp(name, "listen") == 0) {
        check_status(weir_tcp_listen(play.tcp, &path.local, &play.listener));
    } else if (strcmp(name, "listen_any") == 0) {
        check_status(weir_tcp_listen(play.tcp, &any, &play.listener));
    } else if (strcmp(name, "unlisten") == 0) {
        weir_tcp_unlisten(play.tcp, play.listener);
    } else if (strcmp(name, "connect") == 0) {
        check_status(weir_tcp_connect(play.tcp, play.now, &path, NULL, &play.peer->conn));
        play.peer->queued = play.peer->data_bytes = play.peer->data_told = 0;
        if (play.count > 3 && play.words[3][0] <= '9') {
            /* Before its SYN leaves. */
            check_status(call_send(script_number(play.words[3]), false));
        }
    } else {
        return false;
    }
    return true;
}

static void do_call(void)
{
    script_check(play.count >= 3, "what is called?");
    const char *name = play.words[2];
    bool has_value = play.count > 3 && play.words[3][0] <= '9';
    uint64_t value = has_value ? script_number(play.words[3]) : 0;
    if (call_endpoint(name)) {
        script_settle();
        return;
    }
    script_check(play.peer->conn != NULL, "there is no connection");
    enum weir_status status = WEIR_OK;
    if (strcmp(name, "send") == 0 || strcmp(name, "parcel") == 0) {
        status = call_send(value, name[0] == 'p');
    } else if (strcmp(name, "close") == 0) {
        status = weir_tcp_close(play.tcp, play.peer->conn);
    } else if (strcmp(name, "abort") == 0) {
        status = weir_tcp_abort(play.tcp, play.peer->conn);
    } else if (strcmp(name, "pause") == 0 || strcmp(name, "resume") == 0) {
        status = weir_tcp_pause(play.tcp, play.peer->conn, name[0] == 'p');
    } else if (strcmp(name, "cork") == 0 || strcmp(name, "uncork") == 0) {
        status = weir_tcp_cork(play.tcp, play.peer->conn, name[0] == 'c');
    } else if (strcmp(name, "nodelay") == 0) {
        status = weir_tcp_nodelay(play.tcp, play.peer->conn, true);
    } else if (strcmp(name, "urgent") == 0) {
        weir_tcp_urgent(play.tcp, play.peer->conn);
    } else {
        script_fail("unknown call '%s'", name);
    }
    check_status(status);
    script_settle();
}

static const struct {
    const char *name;
    enum weir_tcp_event_type type;
} event_names[] = {
    {"OPENED", WEIR_TCP_EVENT_OPENED},           {"PARCEL_DONE", WEIR_TCP_EVENT_PARCEL_DONE},
    {"WRITABLE", WEIR_TCP_EVENT_WRITABLE},       {"URGENT", WEIR_TCP_EVENT_URGENT},
    {"PEER_CLOSED", WEIR_TCP_EVENT_PEER_CLOSED}, {"CLOSED", WEIR_TCP_EVENT_CLOSED}};

static const char *const causes[] = {"",        "DONE",    "ABORTED",    "RESET",
                                     "REFUSED", "TIMEOUT", "UNREACHABLE"};

/* Passes over events of other kinds. */
static bool find_event(enum weir_tcp_event_type type)
{
    unsigned i = play.event_first;
    while (i < play.event_count &&
           (play.events[i].type != type || play.events[i].peer != play.peer)) {
        i++;
    }
    if (i == play.event_count) {
        return false;
    }
    play.event_first = i;
    return true;
}

/* TIME event NAME [CAUSE], TIME event DATA BYTES: the next of its kind; the sum since the last. */
static void do_event(weir_nsec at)
{
    script_check(play.count >= 3, "which event?");
    script_move(at, false);
    if (strcmp(play.words[2], "DATA") == 0) {
        script_check(play.count > 3, "how many bytes?");
        script_check_value("DATA", script_number(play.words[3]),
                           play.peer->data_bytes - play.peer->data_told);
        play.peer->data_told = play.peer->data_bytes;
        return;
    }
    unsigned kind = 0;
    while (kind < sizeof(event_names) / sizeof(event_names[0]) &&
           strcmp(event_names[kind].name, play.words[2]) != 0) {
        kind++;
    }
    script_check(kind < sizeof(event_names) / sizeof(event_names[0]), "unknown event");
    if (!find_event(event_names[kind].type)) {
        script_move(at + play.tolerance, false);
        script_check(find_event(event_names[kind].type), "no such event came");
    }
    const struct seen *seen = &play.events[play.event_first++];
    if (seen->at + play.tolerance < at) {
        script_fail("it came at %.6f", (double)(seen->at - play.start) / 1e9);
    }
    if (play.count > 3 && strcmp(causes[seen->value], play.words[3]) != 0) {
        script_fail("cause %s", causes[seen->value]);
    }
}

static void do_state(void)
{
    struct weir_tcp_conn_stats stats;
    script_check(play.count >= 3, "which state?");
    script_check(play.peer->conn != NULL, "there is no connection");
    weir_tcp_conn_stats(play.tcp, play.peer->conn, &stats);
    if (strcmp(play.words[2], weir_tcp_state_text(stats.state)) != 0) {
        script_fail("it is in %s", weir_tcp_state_text(stats.state));
    }
}

/* TIME drops REASON COUNT: segments dropped so far for this reason. */
static void do_drops(void)
{
    script_check(play.count >= 4, "REASON COUNT expected");
    for (unsigned i = 0; i < WEIR_TCP_DROP_COUNT; i++) {
        const char *text = weir_tcp_drop_text((enum weir_tcp_drop)i);
        if (strncmp(text, play.words[2], strcspn(text, " ")) == 0) {
            script_check_value("drops", script_number(play.words[3]),
                               weir_tcp_stats(play.tcp)->drops[i]);
            return;
        }
    }
    script_fail("unknown reason");
}

/* --- lines ------------------------------------------------------------------------------------ */

/* "1.5" since the start, "+0.2" since the line before. */
static weir_nsec parse_time(const char *text)
{
    bool is_relative = text[0] == '+';
    char *end;
    double seconds = strtod(text + is_relative, &end);
    if (*end != '\0' || end == text + is_relative || seconds < 0) {
        script_fail("'%s' is no time", text);
    }
    weir_nsec time = (weir_nsec)(seconds * 1e9 + 0.5);
    return is_relative ? play.last + time : play.start + time;
}

static void check_nothing_left(void)
{
    char text[512];
    if (play.sent_first < play.sent_count) {
        script_format(&play.sent[play.sent_first], text, sizeof(text));
        script_fail("not expected: %s", text);
    }
}

/* TIME peer INDEX: the lines that follow are about this one. */
static void do_peer(void)
{
    script_check(play.count == 3 && script_number(play.words[2]) < PEERS_MAX, "which peer?");
    play.peer = &play.peers[script_number(play.words[2])];
}

static void do_timed_line(void)
{
    script_check(play.count >= 2, "a line is TIME WHAT ...");
    open_endpoint();
    weir_nsec at = parse_time(play.words[0]);
    const char *what = play.words[1];
    script_check(at >= play.last, "time runs backwards");
    play.last = at;
    if (strcmp(what, ">") == 0) {
        script_departure(at);
        return;
    }
    if (strcmp(what, "event") == 0) {
        do_event(at); /* what leaves at the same moment comes in later lines */
        return;
    }
    script_move(at, false);
    if (strcmp(what, "state") == 0) {
        do_state();
        return;
    }
    if (strcmp(what, "drops") == 0) {
        do_drops();
        return;
    }
    if (strcmp(what, "figure") == 0) {
        script_figure();
        return;
    }
    check_nothing_left();
    if (strcmp(what, "<") == 0) {
        script_arrival();
    } else if (strcmp(what, "call") == 0) {
        do_call();
    } else if (strcmp(what, "unreached") == 0) {
        script_unreached();
    } else if (strcmp(what, "tune") == 0) {
        script_tune();
    } else if (strcmp(what, "peer") == 0) {
        do_peer();
    } else if (strcmp(what, "quiet") != 0) {
        script_fail("'%s' is nothing that can be done", what);
    }
}

/* A space behind every comma: each option begins with a word of its own. */
static void spread(const char *from, char to[2 * LINE_MAX])
{
    for (; *from != '\0' && strchr("#\r\n", *from) == NULL; from++) {
        *to++ = *from;
        if (*from == ',') {
            *to++ = ' ';
        }
    }
    *to = '\0';
}

static void do_line(const char *text)
{
    char *rest = NULL;
    char line[2 * LINE_MAX];
    spread(text, line);
    play.count = 0;
    for (char *word = strtok_r(line, " \t", &rest); word != NULL && play.count < WORDS_MAX;
         word = strtok_r(NULL, " \t", &rest)) {
        play.words[play.count++] = word;
    }
    if (play.count == 0) {
        return;
    }
    if (strcmp(play.words[0], "set") == 0) {
        script_set();
    } else {
        do_timed_line();
    }
}

static void reset(const char *path, bool is_verbose)
{
    memset(&play, 0, sizeof(play));
    play.path = path;
    play.is_verbose = is_verbose;
    play.start = play.now = play.last = 1000 * WEIR_SEC;
    play.peer = play.peers;
    script_settings_default();
}

static void play_file(FILE *file)
{
    char line[LINE_MAX];
    while (fgets(line, sizeof(line), file) != NULL) {
        play.line++;
        if (play.is_verbose) {
            (void)printf("%3u %s", play.line, line);
        }
        do_line(line);
    }
    script_check(play.tcp != NULL, "a script without a line that does anything");
    script_settle();
    check_nothing_left();
}

bool tcp_script_play(const char *path, bool is_verbose)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        (void)fprintf(stderr, "%s: cannot be read\n", path);
        return false;
    }
    reset(path, is_verbose);
    volatile bool is_right = false;
    /* NOLINTNEXTLINE(cert-err52-cpp): a script fails in the depth of its line */
    if (setjmp(play.failure) == 0) {
        play_file(file);
        is_right = true;
    }
    if (play.tcp != NULL) {
        close_endpoint();
    }
    (void)fclose(file);
    return is_right;
}
