/* SPDX-License-Identifier: MIT */
/*
 * tunnel.c - the loop of weir tunnel: epoll over TCP sockets and the carriers' UDP sockets.
 *
 *   wait - note what epoll says - accept - run the carriers - pump sessions - flush - free the dead
 */
#include "cli/tunnel.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "cli/cli.h"

enum {
    EVENTS_MAX = 256,
    ACCEPTS_PER_ROUND = 64,
    TRACE_NAME_BYTES = 4096
};

#define SWEEP_INTERVAL WEIR_SEC
#define ACCEPT_PAUSE   (100 * WEIR_MSEC)
/* After a drain: the last frames have to be acknowledged. */
#define FINISH_TIMEOUT (2 * WEIR_SEC)

/* The clock of the carriers' loops; a client has none of them at first. */
static weir_nsec read_clock(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (weir_nsec)time.tv_sec * WEIR_SEC + (weir_nsec)time.tv_nsec;
}

void cli_tunnel_complain(struct cli_tunnel *tunnel, const char *format, ...)
{
    char text[256];
    va_list arguments;
    if (tunnel->options->is_quiet ||
        (tunnel->complained_at != 0 && tunnel->now < tunnel->complained_at + WEIR_SEC)) {
        return;
    }
    tunnel->complained_at = tunnel->now;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    cli_warn("%s", text);
}

/* --- carriers --------------------------------------------------------------------------------- */

static bool poll_carrier(struct cli_tunnel *tunnel, struct cli_tunnel_carrier *carrier,
                         int operation)
{
    uint32_t events = EPOLLIN | (carrier->is_polled_out ? EPOLLOUT : 0U);
    struct epoll_event event = {.events = events, .data.ptr = carrier};
    int fd = weir_loop_fd(carrier->carrier->loop);
    return epoll_ctl(tunnel->epoll_fd, operation, fd, &event) == 0;
}

/* Each socket has a trace of its own: FILE, FILE.2, ... NULL: none is wanted. */
static const char *name_trace(struct cli_tunnel *tunnel, char name[TRACE_NAME_BYTES])
{
    const char *path = tunnel->options->carrier.trace_path;
    uint32_t number = ++tunnel->carriers_opened;
    if (path == NULL || number == 1) {
        return path;
    }
    (void)snprintf(name, TRACE_NAME_BYTES, "%s.%u", path, number);
    return name;
}

struct cli_tunnel_carrier *cli_tunnel_carrier_open(struct cli_tunnel *tunnel)
{
    const struct cli_tunnel_options *options = tunnel->options;
    char trace[TRACE_NAME_BYTES];
    struct cli_carrier_config config = options->carrier;
    struct cli_tunnel_carrier *carrier = calloc(1, sizeof(*carrier));
    config.trace_path = name_trace(tunnel, trace);
    config.is_quiet = options->is_quiet || tunnel->carriers_opened > 1; /* once is enough */
    config.handlers = &cli_tunnel_handlers;
    config.user = tunnel;
    config.is_accepting = !options->is_client;
    config.bind = options->udp;
    if (options->is_client) {
        config.bind = (struct weir_addr){.family = options->udp.family};
    }
    if (carrier == NULL) {
        return NULL;
    }
    carrier->source.kind = CLI_TUNNEL_CARRIER;
    carrier->carrier = options->transport->open(&config);
    if (carrier->carrier == NULL) {
        free(carrier);
        return NULL;
    }
    if (!poll_carrier(tunnel, carrier, EPOLL_CTL_ADD)) {
        carrier->carrier->ops->close(carrier->carrier);
        free(carrier);
        return NULL;
    }
    weir_list_append(&tunnel->carriers, &carrier->all);
    return carrier;
}

void cli_tunnel_carrier_close(struct cli_tunnel_carrier *carrier)
{
    carrier->is_dead = true;
}

/* Not from inside of its own loop. */
static void free_carrier(struct cli_tunnel_carrier *carrier)
{
    (void)weir_loop_flush(carrier->carrier->loop);
    carrier->carrier->ops->close(carrier->carrier);
    free(carrier);
}

static bool run_carrier(struct cli_tunnel *tunnel, struct cli_tunnel_carrier *carrier)
{
    struct weir_loop *loop = carrier->carrier->loop;
    bool is_due = carrier->is_readable || weir_loop_next_timeout(loop) <= weir_loop_now(loop);
    enum weir_status status = is_due ? weir_loop_run_once(loop, 0) : weir_loop_flush(loop);
    carrier->is_readable = false;
    if (status != WEIR_OK) {
        cli_fail(CLI_FAILED, "the socket failed: %s",
                 cli_text_errno(carrier->carrier->driver->error));
        tunnel->result = CLI_FAILED;
        return false;
    }
    if (weir_loop_is_blocked(loop) != carrier->is_polled_out) {
        carrier->is_polled_out = weir_loop_is_blocked(loop);
        (void)poll_carrier(tunnel, carrier, EPOLL_CTL_MOD);
    }
    return true;
}

static bool run_carriers(struct cli_tunnel *tunnel)
{
    struct weir_link *next = NULL;
    for (struct weir_link *link = weir_list_first(&tunnel->carriers); link != NULL; link = next) {
        struct cli_tunnel_carrier *carrier = WEIR_CONTAINER(link, struct cli_tunnel_carrier, all);
        next = weir_list_next(&tunnel->carriers, link);
        if (!carrier->is_dead && !run_carrier(tunnel, carrier)) {
            return false;
        }
    }
    return true;
}

/* --- accepting -------------------------------------------------------------------------------- */

static void set_listening(struct cli_tunnel *tunnel, bool is_listening)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &tunnel->listener};
    if (tunnel->listen_fd >= 0 && is_listening != tunnel->is_listening) {
        (void)epoll_ctl(tunnel->epoll_fd, is_listening ? EPOLL_CTL_ADD : EPOLL_CTL_DEL,
                        tunnel->listen_fd, &event);
        tunnel->is_listening = is_listening;
    }
}

static struct cli_tunnel_session *choose_session(struct cli_tunnel *tunnel)
{
    struct cli_tunnel_session *session = tunnel->next_session;
    struct weir_link *next = weir_list_next(&tunnel->sessions, &session->all);
    next = next != NULL ? next : weir_list_first(&tunnel->sessions);
    tunnel->next_session = WEIR_CONTAINER(next, struct cli_tunnel_session, all);
    return session;
}

/* False: enough for now. */
static bool accept_one(struct cli_tunnel *tunnel)
{
    int fd = cli_tcp_accept(tunnel->listen_fd);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            cli_tunnel_complain(tunnel, "a connection has to wait: %s", cli_text_errno(errno));
            tunnel->accept_again_at = tunnel->now + ACCEPT_PAUSE;
            return false;
        }
        return errno == ECONNABORTED || errno == EINTR;
    }
    struct cli_tunnel_session *session = choose_session(tunnel);
    struct cli_tunnel_stream *stream = cli_tunnel_stream_accept(session, fd);
    if (stream != NULL && !cli_tunnel_session_attach(session, stream)) {
        cli_tunnel_stream_cut(stream);
    }
    return true;
}

static bool may_accept(const struct cli_tunnel *tunnel)
{
    return tunnel->listen_fd >= 0 && tunnel->connections < tunnel->options->connections_max &&
           tunnel->now >= tunnel->accept_again_at;
}

static void accept_all(struct cli_tunnel *tunnel)
{
    for (int i = 0; i < ACCEPTS_PER_ROUND && may_accept(tunnel) && accept_one(tunnel); i++) {
    }
}

/* --- waiting ---------------------------------------------------------------------------------- */

static weir_nsec next_timeout(const struct cli_tunnel *tunnel)
{
    weir_nsec next = tunnel->sweep_at;
    if (!weir_list_is_empty(&tunnel->busy)) {
        return tunnel->now;
    }
    if (tunnel->accept_again_at > tunnel->now) {
        next = weir_min_u64(next, tunnel->accept_again_at);
    }
    struct weir_link *link = weir_list_first(&tunnel->carriers);
    for (; link != NULL; link = weir_list_next(&tunnel->carriers, link)) {
        struct cli_tunnel_carrier *carrier = WEIR_CONTAINER(link, struct cli_tunnel_carrier, all);
        next = weir_min_u64(next, weir_loop_next_timeout(carrier->carrier->loop));
    }
    link = weir_list_first(&tunnel->sessions);
    for (; link != NULL; link = weir_list_next(&tunnel->sessions, link)) {
        struct cli_tunnel_session *session = WEIR_CONTAINER(link, struct cli_tunnel_session, all);
        next = weir_min_u64(next, cli_tunnel_session_next_timeout(session));
    }
    return next;
}

static void note_event(struct cli_tunnel *tunnel, const struct epoll_event *event)
{
    struct cli_tunnel_source *source = event->data.ptr;
    if (source->kind == CLI_TUNNEL_LISTENER) {
        accept_all(tunnel);
    } else if (source->kind == CLI_TUNNEL_CARRIER) {
        struct cli_tunnel_carrier *carrier = event->data.ptr;
        carrier->is_readable |= (event->events & ~(uint32_t)EPOLLOUT) != 0;
    } else {
        cli_tunnel_stream_on_events(event->data.ptr, event->events);
    }
}

/* Timers of KCP and RUDP are finer than the milliseconds of epoll_wait. Before Linux 5.11 it takes
 * two calls. */
static int wait_on_epoll(struct cli_tunnel *tunnel, struct epoll_event events[EVENTS_MAX],
                         const struct timespec *timeout)
{
    if (!tunnel->is_wait_coarse) {
        int count = epoll_pwait2(tunnel->epoll_fd, events, EVENTS_MAX, timeout, NULL);
        tunnel->is_wait_coarse = count < 0 && errno != EINTR;
        return count;
    }
    struct pollfd wait = {.fd = tunnel->epoll_fd, .events = POLLIN};
    int count = ppoll(&wait, 1, timeout, NULL);
    return count > 0 ? epoll_wait(tunnel->epoll_fd, events, EVENTS_MAX, 0) : count;
}

static void wait_for_events(struct cli_tunnel *tunnel)
{
    struct epoll_event events[EVENTS_MAX];
    weir_nsec next = next_timeout(tunnel);
    weir_nsec wait = next <= tunnel->now ? 0 : next - tunnel->now;
    struct timespec timeout = {.tv_sec = (time_t)(wait / WEIR_SEC),
                               .tv_nsec = (long)(wait % WEIR_SEC)};
    int count = wait_on_epoll(tunnel, events, &timeout);
    tunnel->now = read_clock();
    for (int i = 0; i < count; i++) {
        note_event(tunnel, &events[i]);
    }
}

/* --- rounds ----------------------------------------------------------------------------------- */

static void free_dead(struct cli_tunnel *tunnel)
{
    struct weir_list *list = &tunnel->dead_streams;
    struct weir_link *next = NULL;
    for (struct weir_link *link = weir_list_first(list); link != NULL; link = next) {
        next = weir_list_next(list, link);
        cli_tunnel_stream_free(WEIR_CONTAINER(link, struct cli_tunnel_stream, all));
    }
    weir_list_init(list);
    list = &tunnel->dead_sessions;
    for (struct weir_link *link = weir_list_first(list); link != NULL; link = next) {
        next = weir_list_next(list, link);
        free(WEIR_CONTAINER(link, struct cli_tunnel_session, all));
    }
    weir_list_init(list);
    list = &tunnel->carriers;
    for (struct weir_link *link = weir_list_first(list); link != NULL; link = next) {
        struct cli_tunnel_carrier *carrier = WEIR_CONTAINER(link, struct cli_tunnel_carrier, all);
        next = weir_list_next(list, link);
        if (carrier->is_dead) {
            weir_list_remove(list, link);
            free_carrier(carrier);
        }
    }
}

static void sweep(struct cli_tunnel *tunnel, struct cli_tunnel_session *session)
{
    struct weir_link *next = NULL;
    (void)tunnel;
    for (struct weir_link *link = weir_list_first(&session->streams); link != NULL; link = next) {
        next = weir_list_next(&session->streams, link);
        cli_tunnel_stream_sweep(WEIR_CONTAINER(link, struct cli_tunnel_stream, all));
    }
}

static void run_timers(struct cli_tunnel *tunnel)
{
    bool is_sweeping = tunnel->now >= tunnel->sweep_at;
    struct weir_link *next = NULL;
    for (struct weir_link *link = weir_list_first(&tunnel->sessions); link != NULL; link = next) {
        struct cli_tunnel_session *session = WEIR_CONTAINER(link, struct cli_tunnel_session, all);
        next = weir_list_next(&tunnel->sessions, link);
        if (is_sweeping) {
            sweep(tunnel, session);
        }
        cli_tunnel_session_timeout(session);
    }
    if (is_sweeping) {
        tunnel->sweep_at = tunnel->now + SWEEP_INTERVAL;
    }
}

/* False: the socket failed. */
static bool run_round(struct cli_tunnel *tunnel)
{
    wait_for_events(tunnel);
    run_timers(tunnel);
    cli_tunnel_pump(tunnel);
    bool is_good = run_carriers(tunnel);
    free_dead(tunnel);
    set_listening(tunnel, may_accept(tunnel));
    return is_good;
}

/* --- the end ---------------------------------------------------------------------------------- */

static void for_each_session(struct cli_tunnel *tunnel, void (*act)(struct cli_tunnel_session *))
{
    struct weir_link *next = NULL;
    for (struct weir_link *link = weir_list_first(&tunnel->sessions); link != NULL; link = next) {
        next = weir_list_next(&tunnel->sessions, link);
        act(WEIR_CONTAINER(link, struct cli_tunnel_session, all));
    }
}

static void say_goodbye(struct cli_tunnel_session *session)
{
    if (session->smux != NULL) {
        cli_smux_go_away(session->smux);
        cli_tunnel_session_touch(session);
    }
}

static void cut_all(struct cli_tunnel_session *session)
{
    while (!weir_list_is_empty(&session->streams)) {
        struct weir_link *link = weir_list_first(&session->streams);
        cli_tunnel_stream_cut(WEIR_CONTAINER(link, struct cli_tunnel_stream, all));
    }
}

static bool is_any_up(const struct cli_tunnel *tunnel)
{
    struct weir_link *link = weir_list_first(&tunnel->sessions);
    for (; link != NULL; link = weir_list_next(&tunnel->sessions, link)) {
        if (WEIR_CONTAINER(link, struct cli_tunnel_session, all)->conn != NULL) {
            return true;
        }
    }
    return false;
}

/* No new connections; those there are may end by themselves, for a while. */
static void drain(struct cli_tunnel *tunnel)
{
    set_listening(tunnel, false);
    if (tunnel->listen_fd >= 0) {
        close(tunnel->listen_fd);
        tunnel->listen_fd = -1;
    }
    tunnel->is_draining = true;
    for_each_session(tunnel, say_goodbye);
    weir_nsec until = tunnel->now + tunnel->options->drain;
    tunnel->sweep_at = weir_min_u64(tunnel->sweep_at, until);
    while (tunnel->connections > 0 && tunnel->now < until && run_round(tunnel)) {
        tunnel->sweep_at = weir_min_u64(tunnel->sweep_at, until);
    }
    if (tunnel->connections > 0) {
        cli_warn("%u connections were still open and are cut", tunnel->connections);
        tunnel->result = CLI_FAILED;
        for_each_session(tunnel, cut_all);
    }
    cli_tunnel_pump(tunnel);
    for_each_session(tunnel, cli_tunnel_session_finish);
    until = tunnel->now + FINISH_TIMEOUT;
    while (is_any_up(tunnel) && tunnel->now < until && run_round(tunnel)) {
        tunnel->sweep_at = weir_min_u64(tunnel->sweep_at, until);
    }
}

static void say_figures(const struct cli_tunnel *tunnel)
{
    char in[32];
    char out[32];
    if (!tunnel->options->is_quiet) {
        (void)fprintf(stderr, "%llu connections, %s from tcp, %s to tcp, %u cut\n",
                      (unsigned long long)tunnel->connections_total,
                      cli_text_bytes(tunnel->bytes_in, in), cli_text_bytes(tunnel->bytes_out, out),
                      tunnel->cut_count);
    }
}

static void drop_session(struct cli_tunnel_session *session)
{
    struct cli_tunnel *tunnel = session->tunnel;
    cut_all(session);
    if (session->smux != NULL) {
        cli_smux_close(session->smux);
        cli_snappy_close(session->decoder);
    }
    if (weir_link_is_linked(&session->busy)) {
        weir_list_remove(&tunnel->busy, &session->busy);
    }
    weir_list_remove(&tunnel->sessions, &session->all);
    weir_list_append(&tunnel->dead_sessions, &session->all);
}

static void close_all(struct cli_tunnel *tunnel)
{
    for_each_session(tunnel, drop_session);
    struct weir_link *link = weir_list_first(&tunnel->carriers);
    for (; link != NULL; link = weir_list_next(&tunnel->carriers, link)) {
        cli_tunnel_carrier_close(WEIR_CONTAINER(link, struct cli_tunnel_carrier, all));
    }
    free_dead(tunnel);
    if (tunnel->listen_fd >= 0) {
        close(tunnel->listen_fd);
    }
    close(tunnel->epoll_fd);
}

/* --- open and run ----------------------------------------------------------------------------- */

/* With port 0 nobody else knows where it listens. */
static void say_address(const struct cli_tunnel *tunnel, const char *scheme,
                        const struct weir_addr *addr)
{
    char text[WEIR_ADDR_TEXT_BYTES];
    weir_addr_format(addr, text);
    if (!tunnel->options->is_quiet) {
        (void)fprintf(stderr, "listening on %s://%s\n", scheme, text);
    }
}

static bool open_client(struct cli_tunnel *tunnel)
{
    struct weir_addr addr = tunnel->options->tcp;
    for (uint32_t i = 0; i < tunnel->options->conns; i++) {
        tunnel->next_session = cli_tunnel_session_new(tunnel);
        if (tunnel->next_session == NULL) {
            cli_fail(CLI_FAILED, "out of memory");
            return false;
        }
    }
    tunnel->listen_fd = cli_tcp_listen(&addr);
    if (tunnel->listen_fd < 0) {
        return false;
    }
    say_address(tunnel, "tcp", &addr);
    return true;
}

static bool open_server(struct cli_tunnel *tunnel)
{
    const struct cli_tunnel_carrier *carrier = cli_tunnel_carrier_open(tunnel);
    if (carrier == NULL) {
        return false;
    }
    say_address(tunnel, tunnel->options->transport->scheme, &carrier->carrier->local);
    return true;
}

static void init(struct cli_tunnel *tunnel, const struct cli_tunnel_options *options)
{
    *tunnel = (struct cli_tunnel){.options = options, .listen_fd = -1, .now = read_clock()};
    tunnel->listener.kind = CLI_TUNNEL_LISTENER;
    tunnel->sweep_at = tunnel->now + SWEEP_INTERVAL;
    weir_list_init(&tunnel->sessions);
    weir_list_init(&tunnel->carriers);
    weir_list_init(&tunnel->busy);
    weir_list_init(&tunnel->dead_streams);
    weir_list_init(&tunnel->dead_sessions);
    tunnel->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
}

int cli_tunnel_run(const struct cli_tunnel_options *options)
{
    static struct cli_tunnel tunnel;
    init(&tunnel, options);
    if (tunnel.epoll_fd < 0) {
        return cli_fail(CLI_FAILED, "cannot use epoll: %s", cli_text_errno(errno));
    }
    cli_tcp_raise_limit();
    if (options->is_client ? !open_client(&tunnel) : !open_server(&tunnel)) {
        close_all(&tunnel);
        return CLI_FAILED;
    }
    set_listening(&tunnel, true);
    while (!cli_is_stopping && run_round(&tunnel)) {
    }
    if (cli_is_stopping) {
        drain(&tunnel);
    }
    say_figures(&tunnel);
    close_all(&tunnel);
    return tunnel.result;
}
