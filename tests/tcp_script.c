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

#include "tcp_script_play.h"
#include "weir/os.h"
#include "wire/tcp.h"

static const weir_nsec tolerance_default = 2 * WEIR_MSEC;
static const uint32_t peer_number_default = 1000000;

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
    if ((segment.flags & WEIR_TCP_SYN) != 0 || !play.has_own_number) {
        play.own_number = segment.seq;
        play.has_own_number = true;
    }
    if ((segment.options & WEIR_TCP_HAS_TIMESTAMPS) != 0) {
        play.ts_last = segment.ts_value;
    }
    for (size_t i = 0; i < segment.data.length; i++) {
        uint32_t at = segment.seq - play.own_number - 1 + (uint32_t)i;
        script_check(segment.data.data[i] == script_byte(at), "a wrong byte in a segment");
    }
    if (play.is_verbose) {
        script_format(sent, text, sizeof(text));
        (void)printf("    %s\n", text);
    }
}

static void keep_event(const struct weir_tcp_event *event)
{
    script_check(play.event_count < EVENTS_MAX, "too many events");
    struct seen *seen = &play.events[play.event_count++];
    *seen = (struct seen){.at = play.now, .type = event->type};
    switch (event->type) {
    case WEIR_TCP_EVENT_OPENED:
        play.conn = event->conn;
        break;
    case WEIR_TCP_EVENT_DATA:
        for (size_t i = 0; i < event->data.span.length; i++) {
            script_check(event->data.span.data[i] == script_byte(play.data_bytes + i),
                         "a wrong byte in DATA");
        }
        seen->value = event->data.span.length;
        play.data_bytes += event->data.span.length;
        break;
    case WEIR_TCP_EVENT_PARCEL_DONE:
        seen->value = event->parcel.outcome;
        break;
    case WEIR_TCP_EVENT_CLOSED:
        seen->value = event->closed.cause;
        play.conn = NULL;
        break;
    case WEIR_TCP_EVENT_WRITABLE:
    case WEIR_TCP_EVENT_URGENT:
    case WEIR_TCP_EVENT_PEER_CLOSED:
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

static void open_endpoint(void)
{
    const uint8_t seed[32] = {7};
    struct weir_slide_config slide;
    if (play.tcp != NULL) {
        return;
    }
    weir_slide_config_default(&slide);
    slide.size_bytes = 1 << 20;
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
}

static void close_endpoint(void)
{
    weir_mem_unmap(play.mem, play.mem_bytes);
    weir_mem_unmap(play.slide_mem, play.slide_bytes);
}

/* --- calls and events ------------------------------------------------------------------------- */

static void call_send(uint64_t length, bool is_parcel)
{
    script_check(length <= sizeof(play.pattern) && play.queued + length <= sizeof(play.pattern),
                 "too much to send");
    uint8_t *data = play.pattern + play.queued;
    for (uint64_t i = 0; i < length; i++) {
        data[i] = script_byte(play.queued + i);
    }
    enum weir_status status;
    if (is_parcel) {
        script_check(play.parcel_count < PARCELS_MAX, "too many parcels");
        struct weir_parcel *parcel = &play.parcels[play.parcel_count++];
        *parcel = (struct weir_parcel){.data = data, .length = (uint32_t)length};
        status = weir_tcp_send_parcel(play.tcp, play.conn, parcel);
    } else {
        status = weir_tcp_send(play.tcp, play.conn, data, length);
    }
    if (status != WEIR_OK) {
        script_fail("send: %s", weir_status_text(status));
    }
    play.queued += length;
}

static void call_open(bool is_listening)
{
    struct weir_path path = play.is_6 ? play.path6 : play.path4;
    int listener;
    if (is_listening) {
        script_check(weir_tcp_listen(play.tcp, &path.local, &listener) == WEIR_OK, "listen");
    } else {
        script_check(weir_tcp_connect(play.tcp, play.now, &path, NULL, &play.conn) == WEIR_OK,
                     "connect");
    }
}

static void do_call(void)
{
    script_check(play.count >= 3, "what is called?");
    const char *name = play.words[2];
    uint64_t value = play.count > 3 ? script_number(play.words[3]) : 0;
    if (strcmp(name, "listen") == 0 || strcmp(name, "connect") == 0) {
        call_open(name[0] == 'l');
        script_settle();
        return;
    }
    script_check(play.conn != NULL, "there is no connection");
    enum weir_status status = WEIR_OK;
    if (strcmp(name, "send") == 0 || strcmp(name, "parcel") == 0) {
        call_send(value, name[0] == 'p');
    } else if (strcmp(name, "close") == 0) {
        status = weir_tcp_close(play.tcp, play.conn);
    } else if (strcmp(name, "abort") == 0) {
        status = weir_tcp_abort(play.tcp, play.conn);
    } else if (strcmp(name, "pause") == 0 || strcmp(name, "resume") == 0) {
        status = weir_tcp_pause(play.tcp, play.conn, name[0] == 'p');
    } else if (strcmp(name, "cork") == 0 || strcmp(name, "uncork") == 0) {
        status = weir_tcp_cork(play.tcp, play.conn, name[0] == 'c');
    } else if (strcmp(name, "nodelay") == 0) {
        status = weir_tcp_nodelay(play.tcp, play.conn, true);
    } else if (strcmp(name, "urgent") == 0) {
        weir_tcp_urgent(play.tcp, play.conn);
    } else {
        script_fail("unknown call '%s'", name);
    }
    if (status != WEIR_OK) {
        script_fail("%s: %s", name, weir_status_text(status));
    }
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
    while (i < play.event_count && play.events[i].type != type) {
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
        script_check_value("DATA", script_number(play.words[3]), play.data_bytes - play.data_told);
        play.data_told = play.data_bytes;
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
    script_check(play.conn != NULL, "there is no connection");
    weir_tcp_conn_stats(play.tcp, play.conn, &stats);
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

/* --- settings --------------------------------------------------------------------------------- */

static bool set_size(const char *name, uint64_t value)
{
    struct weir_tcp_config *config = &play.config;
    if (strcmp(name, "window") == 0) {
        config->receive_window = (uint32_t)value;
    } else if (strcmp(name, "mtu") == 0) {
        config->mtu_bytes = (uint16_t)value;
    } else if (strcmp(name, "half_open_max") == 0) {
        config->half_open_max = (uint32_t)value;
        config->is_cookie_only = value == 0;
    } else if (strcmp(name, "keepalive_probes") == 0) {
        config->tuning.keepalive_probes = (uint8_t)value;
    } else if (strcmp(name, "send_queue_max") == 0) {
        config->tuning.send_queue_max = (uint32_t)value;
    } else if (strcmp(name, "timestamps") == 0) {
        config->has_timestamps = value != 0;
    } else if (strcmp(name, "ecn") == 0) {
        config->is_ecn = value != 0;
    } else if (strcmp(name, "nodelay") == 0) {
        config->tuning.is_nodelay = value != 0;
    } else if (strcmp(name, "mtu_fixed") == 0) {
        config->is_mtu_fixed = value != 0;
    } else if (strcmp(name, "ip6") == 0) {
        play.is_6 = value != 0;
    } else if (strcmp(name, "joined") == 0) {
        play.is_joined = value != 0;
    } else if (strcmp(name, "peer_number") == 0) {
        play.peer_number = (uint32_t)value;
    } else {
        return false;
    }
    return true;
}

/* In milliseconds. */
static bool set_time(const char *name, uint64_t value)
{
    struct weir_tcp_tuning *tuning = &play.config.tuning;

    const struct {
        const char *name;
        weir_nsec *time;
    } times[] = {{"rto_min", &tuning->rto_min},
                 {"ack_delay", &tuning->ack_delay},
                 {"user_timeout", &tuning->user_timeout},
                 {"connect_timeout", &tuning->connect_timeout},
                 {"fin_timeout", &tuning->fin_timeout},
                 {"time_wait", &tuning->time_wait},
                 {"keepalive", &tuning->keepalive},
                 {"keepalive_interval", &tuning->keepalive_interval},
                 {"sleep_after", &tuning->sleep_after},
                 {"tolerance", &play.tolerance}};

    for (unsigned i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        if (strcmp(times[i].name, name) == 0) {
            *times[i].time = value * WEIR_MSEC;
            return true;
        }
    }
    return false;
}

/* set NAME VALUE, before the first line with a time. */
static void do_set(void)
{
    script_check(play.count == 3, "set NAME VALUE");
    script_check(play.tcp == NULL || strcmp(play.words[1], "tolerance") == 0,
                 "too late to set anything");
    if (strcmp(play.words[1], "cc") == 0) {
        script_check(weir_cc_parse(play.words[2], &play.config.cc) == WEIR_OK,
                     "unknown controller");
        return;
    }
    uint64_t value = script_number(play.words[2]);
    script_check(set_size(play.words[1], value) || set_time(play.words[1], value),
                 "unknown setting");
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

static void do_timed_line(void)
{
    script_check(play.count >= 2, "a line is TIME WHAT ...");
    weir_nsec at = parse_time(play.words[0]);
    const char *what = play.words[1];
    script_check(at >= play.last, "time runs backwards");
    open_endpoint();
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
    check_nothing_left();
    if (strcmp(what, "<") == 0) {
        script_arrival();
    } else if (strcmp(what, "call") == 0) {
        do_call();
    } else if (strcmp(what, "unreached") == 0) {
        script_unreached();
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
        do_set();
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
    play.tolerance = tolerance_default;
    play.peer_number = peer_number_default;
    weir_tcp_config_default(&play.config);
    play.config.connections_max = play.config.connections6_max = 16;
    play.config.receive_window = 65535;
    play.config.cc = WEIR_CC_NEWRENO;
    (void)weir_addr_parse("192.0.2.1:8080", &play.path4.local);
    (void)weir_addr_parse("198.51.100.9:40000", &play.path4.remote);
    (void)weir_addr_parse("[2001:db8::1]:8080", &play.path6.local);
    (void)weir_addr_parse("[2001:db8:1::9]:40000", &play.path6.remote);
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
