/* SPDX-License-Identifier: MIT */
/*
 * tunnel.c - the loop of weir tunnel: epoll over TCP sockets and the carriers' UDP sockets.
 *
 *   wait - note what epoll says - accept - run the carriers - pump sessions - flush - free the dead
 *
 * A server's shard in a crew has its packets from there; then epoll has TCP sockets only.
 */
#include "cli/tunnel.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
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
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): clang-tidy 14 misses va_start */
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
    if (carrier->carrier->loop == NULL) {
        return true;
    }
    int fd = weir_loop_fd(carrier->carrier->loop);
    return epoll_ctl(tunnel->epoll_fd, operation, fd, &event) == 0;
}

/* Each socket has a trace of its own: FILE, FILE.2, ... NULL: none is wanted. Shards take turns. */
static const char *name_trace(struct cli_tunnel *tunnel, char name[TRACE_NAME_BYTES])
{
    const char *path = tunnel->options->carrier.trace_path;
    uint32_t number = tunnel->carriers_opened++ * tunnel->team->count + tunnel->shard + 1;
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
    struct cli_tunnel_carrier *carrier = cli_heap_take_zeroed(&tunnel->heap, sizeof(*carrier));
    config.trace_path = name_trace(tunnel, trace);
    /* Once is enough. */
    config.is_quiet = options->is_quiet || tunnel->carriers_opened > 1 || tunnel->shard > 0;
    config.heap = &tunnel->heap;
    config.shard = tunnel->shard;
    config.handlers = &cli_tunnel_handlers;
    config.user = tunnel;
    config.is_accepting = !options->is_client;
    config.bind = options->udp;
    if (options->is_client) {
        config.bind = (struct weir_addr){.family = options->udp.family};
    } else if (tunnel->crew != NULL) {
        config.crew = tunnel->crew;
        cli_carrier_share(&config);
    }
    if (carrier == NULL) {
        return NULL;
    }
    carrier->source.kind = CLI_TUNNEL_CARRIER;
    carrier->carrier = cli_carrier_open(options->transport, &config);
    if (carrier->carrier != NULL && !poll_carrier(tunnel, carrier, EPOLL_CTL_ADD)) {
        cli_carrier_close(carrier->carrier);
        carrier->carrier = NULL;
    }
    if (carrier->carrier == NULL) {
        cli_heap_give(&tunnel->heap, carrier, sizeof(*carrier));
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
static void free_carrier(struct cli_tunnel *tunnel, struct cli_tunnel_carrier *carrier)
{
    if (carrier->carrier->loop != NULL) {
        (void)weir_loop_flush(carrier->carrier->loop);
    }
    cli_carrier_close(carrier->carrier);
    cli_heap_give(&tunnel->heap, carrier, sizeof(*carrier));
}

static bool run_carrier(struct cli_tunnel *tunnel, struct cli_tunnel_carrier *carrier)
{
    struct weir_loop *loop = carrier->carrier->loop;
    bool is_due = carrier->is_readable || weir_loop_next_timeout(loop) <= weir_loop_now(loop);
    enum weir_status status = is_due ? weir_loop_run_once(loop, 0) : weir_loop_flush(loop);
    carrier->is_readable = false;
    if (status != WEIR_OK) {
        /* One line of the first, whoever else fails before all of them have ended. */
        if (__atomic_exchange_n(&tunnel->team->has_failed, 1, __ATOMIC_ACQ_REL) == 0) {
            cli_fail(CLI_FAILED, "the socket failed: %s",
                     cli_text_errno(carrier->carrier->driver->error));
        }
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
        bool is_run_here = carrier->carrier->loop != NULL && !carrier->is_dead;
        if (is_run_here && !run_carrier(tunnel, carrier)) {
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

void cli_tunnel_listen(struct cli_tunnel *tunnel, int fd)
{
    tunnel->listen_fd = fd;
    set_listening(tunnel, true);
}

void cli_tunnel_unlisten(struct cli_tunnel *tunnel)
{
    set_listening(tunnel, false);
    if (tunnel->listen_fd >= 0) {
        close(tunnel->listen_fd);
        tunnel->listen_fd = -1;
    }
}

bool cli_tunnel_has_failed(const struct cli_tunnel *tunnel)
{
    return __atomic_load_n(&tunnel->team->has_failed, __ATOMIC_ACQUIRE) != 0;
}

uint32_t cli_tunnel_connections(const struct cli_tunnel *tunnel)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < tunnel->team->count; i++) {
        sum += __atomic_load_n(&tunnel->team->connections[i], __ATOMIC_RELAXED);
    }
    return sum;
}

void cli_tunnel_count(struct cli_tunnel *tunnel, int more)
{
    tunnel->connections += (uint32_t)more;
    __atomic_store_n(&tunnel->team->connections[tunnel->shard], tunnel->connections,
                     __ATOMIC_RELAXED);
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
    return tunnel->listen_fd >= 0 &&
           cli_tunnel_connections(tunnel) < tunnel->options->connections_max &&
           tunnel->now >= tunnel->accept_again_at;
}

static void accept_all(struct cli_tunnel *tunnel)
{
    for (int i = 0; i < ACCEPTS_PER_ROUND && may_accept(tunnel) && accept_one(tunnel); i++) {
    }
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* Only its own rounds tell a shard that others have room for a connection again. */
static weir_nsec next_accept(const struct cli_tunnel *tunnel)
{
    if (tunnel->accept_again_at > tunnel->now) {
        return tunnel->accept_again_at;
    }
    bool is_full = tunnel->listen_fd >= 0 && !tunnel->is_listening;
    return is_full && tunnel->team->count > 1 ? tunnel->now + ACCEPT_PAUSE : WEIR_NEVER;
}

weir_nsec cli_tunnel_next_timeout(const struct cli_tunnel *tunnel)
{
    weir_nsec next = weir_min_u64(tunnel->sweep_at, next_accept(tunnel));
    if (!weir_list_is_empty(&tunnel->busy)) {
        return tunnel->now;
    }
    if (cli_tunnel_is_draining(tunnel) && !cli_tunnel_has_ended(tunnel)) {
        next = weir_min_u64(next, tunnel->phase_until);
    }
    struct weir_link *link = weir_list_first(&tunnel->carriers);
    for (; link != NULL; link = weir_list_next(&tunnel->carriers, link)) {
        const struct cli_tunnel_carrier *carrier =
            WEIR_CONTAINER(link, struct cli_tunnel_carrier, all);
        if (carrier->carrier->loop != NULL) {
            next = weir_min_u64(next, weir_loop_next_timeout(carrier->carrier->loop));
        }
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

static int wait_for_events(struct cli_tunnel *tunnel, struct epoll_event events[EVENTS_MAX])
{
    weir_nsec next = cli_tunnel_next_timeout(tunnel);
    weir_nsec wait = next <= tunnel->now ? 0 : next - tunnel->now;
    struct timespec timeout = {.tv_sec = (time_t)(wait / WEIR_SEC),
                               .tv_nsec = (long)(wait % WEIR_SEC)};
    int count = wait_on_epoll(tunnel, events, &timeout);
    tunnel->now = cli_clock();
    return count;
}

static void take_events(struct cli_tunnel *tunnel, bool may_wait)
{
    struct epoll_event events[EVENTS_MAX];
    int count = may_wait ? wait_for_events(tunnel, events)
                         : epoll_wait(tunnel->epoll_fd, events, EVENTS_MAX, 0);
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
        cli_tunnel_stream_free(tunnel, WEIR_CONTAINER(link, struct cli_tunnel_stream, all));
    }
    weir_list_init(list);
    list = &tunnel->dead_sessions;
    for (struct weir_link *link = weir_list_first(list); link != NULL; link = next) {
        next = weir_list_next(list, link);
        cli_heap_give(&tunnel->heap, WEIR_CONTAINER(link, struct cli_tunnel_session, all),
                      sizeof(struct cli_tunnel_session));
    }
    weir_list_init(list);
    list = &tunnel->carriers;
    for (struct weir_link *link = weir_list_first(list); link != NULL; link = next) {
        struct cli_tunnel_carrier *carrier = WEIR_CONTAINER(link, struct cli_tunnel_carrier, all);
        next = weir_list_next(list, link);
        if (carrier->is_dead) {
            weir_list_remove(list, link);
            free_carrier(tunnel, carrier);
        }
    }
}

static void sweep(struct cli_tunnel_session *session)
{
    struct weir_link *next = NULL;
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
            sweep(session);
        }
        cli_tunnel_session_timeout(session);
    }
    if (is_sweeping) {
        tunnel->sweep_at = tunnel->now + SWEEP_INTERVAL;
    }
}

bool cli_tunnel_round(struct cli_tunnel *tunnel, bool may_wait)
{
    take_events(tunnel, may_wait);
    run_timers(tunnel);
    cli_tunnel_end_step(tunnel);
    cli_tunnel_pump(tunnel);
    bool is_good = run_carriers(tunnel);
    free_dead(tunnel);
    set_listening(tunnel, may_accept(tunnel));
    return is_good;
}

/* --- life ------------------------------------------------------------------------------------- */

bool cli_tunnel_init(struct cli_tunnel *tunnel, const struct cli_tunnel_options *options,
                     const struct cli_crew *crew, uint32_t shard, struct cli_tunnel_team *team)
{
    *tunnel = (struct cli_tunnel){.options = options,
                                  .crew = crew,
                                  .shard = shard,
                                  .team = team,
                                  .listen_fd = -1,
                                  .now = cli_clock()};
    tunnel->listener.kind = CLI_TUNNEL_LISTENER;
    tunnel->sweep_at = tunnel->now + SWEEP_INTERVAL;
    weir_list_init(&tunnel->sessions);
    weir_list_init(&tunnel->carriers);
    weir_list_init(&tunnel->busy);
    weir_list_init(&tunnel->dead_streams);
    weir_list_init(&tunnel->dead_sessions);
    tunnel->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (tunnel->epoll_fd < 0) {
        cli_fail(CLI_FAILED, "cannot use epoll: %s", cli_text_errno(errno));
        return false;
    }
    return true;
}

static void drop_session(struct cli_tunnel_session *session)
{
    struct cli_tunnel *tunnel = session->tunnel;
    cli_tunnel_cut_all(session);
    if (session->smux != NULL) {
        cli_smux_close(session->smux);
        cli_snappy_close(&tunnel->heap, session->decoder);
    }
    if (weir_link_is_linked(&session->busy)) {
        weir_list_remove(&tunnel->busy, &session->busy);
    }
    weir_list_remove(&tunnel->sessions, &session->all);
    weir_list_append(&tunnel->dead_sessions, &session->all);
}

void cli_tunnel_close(struct cli_tunnel *tunnel)
{
    cli_tunnel_for_each_session(tunnel, drop_session);
    struct weir_link *link = weir_list_first(&tunnel->carriers);
    for (; link != NULL; link = weir_list_next(&tunnel->carriers, link)) {
        cli_tunnel_carrier_close(WEIR_CONTAINER(link, struct cli_tunnel_carrier, all));
    }
    free_dead(tunnel);
    cli_tunnel_unlisten(tunnel);
    if (tunnel->epoll_fd >= 0) {
        close(tunnel->epoll_fd);
    }
    cli_heap_fini(&tunnel->heap);
}
