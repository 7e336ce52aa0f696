/* SPDX-License-Identifier: MIT */
/*
 * tunnel_session.c - one smux session over one connection of a carrier.
 *
 * What is to be sent is decided when the carrier has room for it, never before: first the frames
 * that smux owes, then one frame of each stream in turn, read from TCP straight into that room.
 */

#include "base/assert.h"
#include "base/bytes.h"
#include "cli/cli.h"
#include "cli/tunnel.h"

enum {
    WRITES_PER_ROUND = 64 /* then others, and the receive side, get their turn */
};

#define BACK_OFF_MIN (200 * WEIR_MSEC)
#define BACK_OFF_MAX (10 * WEIR_SEC)

void cli_tunnel_session_touch(struct cli_tunnel_session *session)
{
    if (!weir_link_is_linked(&session->busy)) {
        weir_list_append(&session->tunnel->busy, &session->busy);
    }
}

struct cli_tunnel_session *cli_tunnel_session_new(struct cli_tunnel *tunnel)
{
    struct cli_tunnel_session *session = cli_heap_take_zeroed(&tunnel->heap, sizeof(*session));
    if (session != NULL) {
        session->tunnel = tunnel;
        session->back_off = BACK_OFF_MIN;
        weir_list_init(&session->streams);
        weir_list_init(&session->ready);
        weir_list_init(&session->dirty);
        weir_list_append(&tunnel->sessions, &session->all);
    }
    return session;
}

/* --- up and down ------------------------------------------------------------------------------ */

static void forget_layers(struct cli_tunnel_session *session)
{
    if (session->smux != NULL) {
        cli_smux_close(session->smux);
        session->smux = NULL;
    }
    cli_snappy_close(&session->tunnel->heap, session->decoder);
    session->decoder = NULL;
    session->conn = NULL;
    session->is_encoding = session->is_full = session->is_paused = false;
    session->is_leaving = session->is_finishing = false;
}

/* The layers over a connection of a carrier. */
static bool open_layers(struct cli_tunnel_session *session)
{
    const struct cli_tunnel_options *options = session->tunnel->options;
    struct cli_smux_config smux = options->smux;
    smux.heap = &session->tunnel->heap;
    session->smux = cli_smux_open(&smux, session->tunnel->now);
    if (options->is_compressed) {
        session->decoder = cli_snappy_open(&session->tunnel->heap);
    }
    return session->smux != NULL && (session->decoder != NULL || !options->is_compressed);
}

/* Those that were part of the session; others wait for the next. */
static void cut_streams(struct cli_tunnel_session *session)
{
    struct weir_link *next = NULL;
    for (struct weir_link *link = weir_list_first(&session->streams); link != NULL; link = next) {
        struct cli_tunnel_stream *stream = WEIR_CONTAINER(link, struct cli_tunnel_stream, all);
        next = weir_list_next(&session->streams, link);
        if (stream->smux != NULL) {
            cli_tunnel_stream_cut(stream);
        }
    }
}

/* Streams are cut before the layers go, for they give back what they hold. */
static void end_session(struct cli_tunnel_session *session)
{
    struct cli_tunnel *tunnel = session->tunnel;
    cut_streams(session);
    forget_layers(session);
    if (tunnel->options->is_client) {
        if (session->carrier != NULL) {
            cli_tunnel_carrier_close(session->carrier);
            session->carrier = NULL;
        }
        session->retry_at = tunnel->now + session->back_off;
        session->back_off = weir_min_u64(2 * session->back_off, BACK_OFF_MAX);
        return;
    }
    if (weir_link_is_linked(&session->busy)) {
        weir_list_remove(&tunnel->busy, &session->busy);
    }
    weir_list_remove(&tunnel->sessions, &session->all);
    weir_list_append(&tunnel->dead_sessions, &session->all);
}

void cli_tunnel_session_down(struct cli_tunnel_session *session, const char *why)
{
    if (session->conn == NULL) {
        return;
    }
    cli_tunnel_complain(session->tunnel, "a tunnel has ended: %s", why);
    session->carrier->carrier->ops->abort(session->conn, why);
    end_session(session);
}

void cli_tunnel_session_finish(struct cli_tunnel_session *session)
{
    if (session->conn != NULL && !session->is_finishing) {
        session->is_finishing = true;
        session->carrier->carrier->ops->finish(session->conn);
    }
}

/* A client's session that somebody waits for. */
static void come_up(struct cli_tunnel_session *session)
{
    struct cli_tunnel *tunnel = session->tunnel;
    session->carrier = cli_tunnel_carrier_open(tunnel);
    if (session->carrier != NULL) {
        session->conn = session->carrier->carrier->ops->connect(
            session->carrier->carrier, tunnel->now, &tunnel->options->udp, session);
    }
    if (session->conn == NULL || !open_layers(session)) {
        cli_tunnel_complain(tunnel, "a tunnel cannot be opened; it is tried again");
        if (session->conn != NULL) {
            session->carrier->carrier->ops->abort(session->conn, "out of memory");
        }
        end_session(session);
        return;
    }
    struct weir_link *next = NULL;
    for (struct weir_link *link = weir_list_first(&session->streams); link != NULL; link = next) {
        struct cli_tunnel_stream *stream = WEIR_CONTAINER(link, struct cli_tunnel_stream, all);
        next = weir_list_next(&session->streams, link);
        if (!cli_tunnel_session_attach(session, stream)) {
            cli_tunnel_stream_cut(stream);
        }
    }
    cli_tunnel_session_touch(session);
}

bool cli_tunnel_session_attach(struct cli_tunnel_session *session, struct cli_tunnel_stream *stream)
{
    if (session->smux == NULL || session->is_leaving || session->is_finishing) {
        return true; /* it waits */
    }
    stream->smux = cli_smux_connect(session->smux, stream);
    if (stream->smux == NULL) {
        return false;
    }
    stream->give_up_at = WEIR_NEVER;
    if (!weir_link_is_linked(&stream->ready)) {
        weir_list_append(&session->ready, &stream->ready); /* what epoll said while it waited */
    }
    cli_tunnel_session_touch(session);
    return true;
}

/* --- in --------------------------------------------------------------------------------------- */

static void on_stream_opened(struct cli_tunnel_session *session, struct cli_smux_stream *smux)
{
    struct cli_tunnel *tunnel = session->tunnel;
    struct cli_tunnel_stream *stream = NULL;
    if (cli_tunnel_connections(tunnel) >= tunnel->options->connections_max) {
        cli_tunnel_complain(tunnel, "more than %u connections at once; one is refused",
                            tunnel->options->connections_max);
    } else if (!cli_tunnel_is_draining(tunnel)) {
        stream = cli_tunnel_stream_dial(session);
    }
    if (stream == NULL) {
        cli_smux_release(session->smux, smux);
        return;
    }
    stream->smux = smux;
    smux->user = stream;
}

static void on_smux_event(struct cli_tunnel_session *session, const struct cli_smux_event *event)
{
    cli_tunnel_session_touch(session);
    if (event->type == CLI_SMUX_GOAWAY) {
        session->is_leaving = true;
        return;
    }
    struct cli_tunnel_stream *stream = event->stream->user;
    switch (event->type) {
    case CLI_SMUX_OPENED:
        on_stream_opened(session, event->stream);
        break;
    case CLI_SMUX_DATA:
        cli_tunnel_stream_put(stream, event->data);
        break;
    case CLI_SMUX_FINISHED:
        cli_tunnel_stream_on_finished(stream);
        break;
    case CLI_SMUX_RESET:
        cli_tunnel_stream_cut(stream);
        break;
    case CLI_SMUX_WRITABLE:
        if (!stream->is_read_ended && !weir_link_is_linked(&stream->ready)) {
            weir_list_append(&session->ready, &stream->ready);
        }
        break;
    case CLI_SMUX_GOAWAY:
    default:
        break;
    }
}

static void set_pause(struct cli_tunnel_session *session)
{
    bool is_paused = cli_smux_is_full(session->smux);
    if (is_paused != session->is_paused) {
        session->is_paused = is_paused;
        session->carrier->carrier->ops->pause(session->conn, is_paused);
    }
}

static void on_smux_bytes(struct cli_tunnel_session *session, struct weir_span bytes)
{
    struct cli_smux_event event;
    enum weir_status status = WEIR_OK;
    while (status == WEIR_OK) {
        status = cli_smux_next(session->smux, session->tunnel->now, &bytes, &event);
        if (status == WEIR_OK) {
            on_smux_event(session, &event);
        }
    }
    if (status == WEIR_ERR_MALFORMED) {
        cli_tunnel_session_down(session, cli_smux_fault(session->smux));
        return;
    }
    set_pause(session); /* now, for the carrier has more of what may unpack to 20 times as much */
}

static void on_bytes(void *user, struct weir_span bytes)
{
    struct cli_tunnel_session *session = user;
    struct weir_span data;
    if (session->decoder == NULL) {
        on_smux_bytes(session, bytes);
        return;
    }
    enum weir_status status = WEIR_OK;
    while (status == WEIR_OK && session->conn != NULL) {
        status = cli_snappy_next(session->decoder, &bytes, &data);
        if (status == WEIR_OK) {
            on_smux_bytes(session, data);
        }
    }
    if (status == WEIR_ERR_MALFORMED && session->conn != NULL) {
        cli_tunnel_session_down(session, "the peer does not compress as this end does; use --nocomp"
                                         " at both ends or at none");
    }
}

/* --- out -------------------------------------------------------------------------------------- */

/* Frames are written here first when they are compressed on their way into the carrier's room. */
static uint8_t *frame_room(struct cli_tunnel_session *session, uint8_t *room)
{
    return session->tunnel->options->is_compressed ? session->tunnel->scratch : room;
}

static void ship(struct cli_tunnel_session *session, uint8_t *room, size_t length)
{
    if (length > 0 && session->tunnel->options->is_compressed) {
        length = cli_snappy_encode(weir_span_of(session->tunnel->scratch, length),
                                   !session->is_encoding, room);
        session->is_encoding = true;
    }
    session->carrier->carrier->ops->commit(session->conn, length);
}

/* One frame of the stream that waits longest. Returns its length with header, 0 for none. */
static size_t fill_data(struct cli_tunnel_session *session, uint8_t *frame)
{
    struct weir_link *link = weir_list_first(&session->ready);
    struct cli_tunnel_stream *stream = WEIR_CONTAINER(link, struct cli_tunnel_stream, ready);
    size_t length = 0;
    weir_list_remove(&session->ready, link);
    if (stream->smux == NULL) {
        return 0; /* it waits for the next session */
    }
    bool is_thrown_away = stream->smux->is_finished;
    size_t room =
        is_thrown_away ? CLI_SMUX_DATA_BYTES_MAX : cli_smux_sendable(session->smux, stream->smux);
    if (room == 0) {
        return 0; /* WRITABLE brings it back */
    }
    enum cli_tunnel_read read =
        cli_tunnel_stream_read(stream, frame + CLI_SMUX_HEADER_BYTES, room, &length);
    if (read == CLI_TUNNEL_READ_MORE) {
        weir_list_append(&session->ready, &stream->ready);
    }
    if (length == 0 || is_thrown_away) {
        return 0;
    }
    cli_smux_write_header(session->smux, stream->smux, length, frame);
    return CLI_SMUX_HEADER_BYTES + length;
}

/* One write. False: there is nothing more to send, or no room. */
static bool send_one(struct cli_tunnel_session *session)
{
    uint8_t *room = NULL;
    bool owes = cli_smux_owes(session->smux);
    if (!owes && weir_list_is_empty(&session->ready)) {
        return false;
    }
    enum weir_status status = session->carrier->carrier->ops->reserve(session->conn, &room);
    if (status != WEIR_OK) {
        session->is_full = status == WEIR_ERR_FULL;
        return false;
    }
    uint8_t *frame = frame_room(session, room);
    size_t length = owes ? cli_smux_control(session->smux, frame, CLI_SMUX_DATA_BYTES_MAX)
                         : fill_data(session, frame);
    ship(session, room, length);
    return true;
}

static void send_all(struct cli_tunnel_session *session)
{
    for (int i = 0; i < WRITES_PER_ROUND; i++) {
        if (!send_one(session)) {
            return;
        }
    }
    cli_tunnel_session_touch(session);
}

static void flush_streams(struct cli_tunnel_session *session)
{
    while (!weir_list_is_empty(&session->dirty)) {
        struct weir_link *link = weir_list_first(&session->dirty);
        weir_list_remove(&session->dirty, link);
        cli_tunnel_stream_flush(WEIR_CONTAINER(link, struct cli_tunnel_stream, dirty));
    }
}

static void pump(struct cli_tunnel_session *session)
{
    if (session->conn == NULL) {
        return;
    }
    flush_streams(session);
    set_pause(session);
    if (!session->is_full && !session->is_finishing) {
        send_all(session);
    }
    if (session->is_leaving && cli_smux_streams(session->smux) == 0) {
        cli_tunnel_session_finish(session);
    }
}

void cli_tunnel_pump(struct cli_tunnel *tunnel)
{
    /* Those that are touched meanwhile have their turn in the next round. */
    for (uint32_t count = tunnel->busy.count; count > 0 && tunnel->busy.count > 0; count--) {
        struct weir_link *link = weir_list_first(&tunnel->busy);
        weir_list_remove(&tunnel->busy, link);
        pump(WEIR_CONTAINER(link, struct cli_tunnel_session, busy));
    }
}

/* --- time ------------------------------------------------------------------------------------- */

static bool is_wanted(const struct cli_tunnel_session *session)
{
    return session->conn == NULL && !weir_list_is_empty(&session->streams) &&
           !cli_tunnel_is_draining(session->tunnel);
}

void cli_tunnel_session_timeout(struct cli_tunnel_session *session)
{
    struct cli_tunnel *tunnel = session->tunnel;
    if (is_wanted(session) && tunnel->now >= session->retry_at) {
        come_up(session);
    }
    if (session->smux == NULL || tunnel->now < cli_smux_next_timeout(session->smux)) {
        return;
    }
    if (cli_smux_timeout(session->smux, tunnel->now) != WEIR_OK) {
        cli_tunnel_session_down(session, "the peer is silent");
        return;
    }
    cli_tunnel_session_touch(session);
}

weir_nsec cli_tunnel_session_next_timeout(const struct cli_tunnel_session *session)
{
    if (session->smux != NULL) {
        return cli_smux_next_timeout(session->smux);
    }
    return is_wanted(session) ? session->retry_at : WEIR_NEVER;
}

/* --- the carrier's calls ---------------------------------------------------------------------- */

static bool on_request(void *user, struct cli_carrier_conn *conn)
{
    struct cli_tunnel *tunnel = user;
    struct weir_link *link = weir_list_first(&tunnel->carriers);
    if (cli_tunnel_is_draining(tunnel)) {
        return false;
    }
    struct cli_tunnel_session *session = cli_tunnel_session_new(tunnel);
    if (session == NULL) {
        return false;
    }
    session->carrier = WEIR_CONTAINER(link, struct cli_tunnel_carrier, all);
    session->conn = conn;
    if (!open_layers(session)) {
        end_session(session);
        return false;
    }
    conn->session = session;
    return true;
}

static void on_opened(void *user)
{
    struct cli_tunnel_session *session = user;
    session->back_off = BACK_OFF_MIN;
}

static void on_writable(void *user)
{
    struct cli_tunnel_session *session = user;
    session->is_full = false;
    cli_tunnel_session_touch(session);
}

static void on_closed(void *user, bool is_failure, const char *why)
{
    struct cli_tunnel_session *session = user;
    if (is_failure) {
        cli_tunnel_complain(session->tunnel, "a tunnel has ended: %s", why);
    }
    end_session(session);
}

static void on_round(void *user)
{
    cli_tunnel_pump(user);
}

const struct cli_carrier_handlers cli_tunnel_handlers = {.on_request = on_request,
                                                         .on_opened = on_opened,
                                                         .on_bytes = on_bytes,
                                                         .on_writable = on_writable,
                                                         .on_closed = on_closed,
                                                         .on_round = on_round};
