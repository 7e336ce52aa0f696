/* SPDX-License-Identifier: MIT */
/*
 * tunnel_kcp.c - weir tunnel over KCP in stream mode.
 *
 * What is read from TCP lands in a block that KCP sends from until it is acknowledged; short writes
 * are copied, so that they share segments and blocks do not wait for a few bytes each.
 */
#include "cli/cli.h"
#include "cli/tunnel_carrier.h"

enum {
    COPY_BYTES_MAX = 4096,
    BLOCKS_MAX = 1024,      /* 40 MiB, of all sessions of a carrier; of one at most half */
    BLOCKS_MAX_SHARD = 256, /* the same of one of a crew's */
    BLOCKS_OWN = 2          /* that a session gets beyond that */
};

struct block {
    struct weir_parcel parcel;
    struct kcp_conn *owner;
    uint8_t bytes[CLI_CARRIER_ROOM_BYTES];
};

struct kcp_conn {
    struct cli_carrier_conn base;
    struct weir_link starved; /* no block was left */
    struct weir_kcp_conn *conn;
    uint32_t blocks_count;  /* reserved or lent to the engine */
    struct block *reserved; /* handed out, or committed and not taken by the queue yet: */
    size_t waiting_bytes;   /* then so many */
    bool is_finishing;      /* closed once that is out */
};

struct kcp_carrier {
    struct cli_carrier base;
    struct weir_list starved;
    uint32_t blocks_count; /* of all sessions */
    uint32_t blocks_max;
};

static struct kcp_carrier *carrier_of(struct cli_carrier *carrier)
{
    return (struct kcp_carrier *)(void *)carrier;
}

static struct kcp_conn *conn_of(struct cli_carrier_conn *conn)
{
    return (struct kcp_conn *)(void *)conn;
}

/* --- blocks ----------------------------------------------------------------------------------- */

/* A session gets no more than what it leaves to the others, and whatever those that stall hold, it
 * can go on. */
static bool may_take(const struct kcp_carrier *carrier, const struct kcp_conn *conn)
{
    return conn->blocks_count < BLOCKS_OWN ||
           (uint64_t)conn->blocks_count + carrier->blocks_count < carrier->blocks_max;
}

static struct block *take_block(struct kcp_carrier *carrier, struct kcp_conn *owner)
{
    if (!may_take(carrier, owner)) {
        return NULL;
    }
    struct block *block = cli_heap_take(carrier->base.heap, sizeof(*block));
    if (block == NULL) {
        return NULL;
    }
    block->owner = owner;
    owner->blocks_count++;
    carrier->blocks_count++;
    return block;
}

static void give_block(struct kcp_carrier *carrier, struct block *block)
{
    block->owner->blocks_count--;
    carrier->blocks_count--;
    cli_heap_give(carrier->base.heap, block, sizeof(*block));
}

/* --- connections ------------------------------------------------------------------------------ */

static void free_conn(struct kcp_conn *conn)
{
    struct kcp_carrier *carrier = carrier_of(conn->base.carrier);
    if (conn->reserved != NULL) {
        give_block(carrier, conn->reserved);
    }
    if (weir_link_is_linked(&conn->starved)) {
        weir_list_remove(&carrier->starved, &conn->starved);
    }
    cli_carrier_free_conn(&conn->base);
}

static struct cli_carrier_conn *start(struct cli_carrier *carrier, weir_nsec now,
                                      const struct weir_addr *remote, void *session)
{
    struct cli_carrier_conn *base = cli_carrier_add_conn(carrier, session);
    if (base == NULL) {
        return NULL;
    }
    if (weir_kcp_connect(carrier->engine, now, remote, 0, base, &conn_of(base)->conn) != WEIR_OK) {
        cli_carrier_free_conn(base);
        return NULL;
    }
    return base;
}

/* --- out -------------------------------------------------------------------------------------- */

static enum weir_status reserve(struct cli_carrier_conn *base, uint8_t **room)
{
    struct kcp_conn *conn = conn_of(base);
    struct kcp_carrier *carrier = carrier_of(base->carrier);
    if (conn->waiting_bytes > 0) {
        return WEIR_ERR_FULL;
    }
    if (conn->is_finishing) {
        return WEIR_ERR_CLOSED;
    }
    if (conn->reserved == NULL) {
        conn->reserved = take_block(carrier, conn);
    }
    if (conn->reserved == NULL) {
        if (!weir_link_is_linked(&conn->starved)) {
            weir_list_append(&carrier->starved, &conn->starved);
        }
        return WEIR_ERR_FULL;
    }
    *room = conn->reserved->bytes;
    return WEIR_OK;
}

/* False while the queue has no room: WRITABLE follows. Any other failure ends in CLOSED. */
static bool ship(struct kcp_conn *conn)
{
    struct block *block = conn->reserved;
    enum weir_status status;
    if (conn->waiting_bytes <= COPY_BYTES_MAX) {
        status = weir_kcp_send(conn->conn, block->bytes, conn->waiting_bytes);
    } else {
        block->parcel = (struct weir_parcel){
            .data = block->bytes, .length = (uint32_t)conn->waiting_bytes, .user = block};
        status = weir_kcp_send_parcel(conn->conn, &block->parcel);
        conn->reserved = status == WEIR_OK ? NULL : block;
    }
    if (status == WEIR_ERR_FULL) {
        return false;
    }
    conn->waiting_bytes = 0;
    if (conn->reserved != NULL) {
        give_block(carrier_of(conn->base.carrier), conn->reserved);
        conn->reserved = NULL;
    }
    if (conn->is_finishing) {
        weir_kcp_close(conn->conn);
    }
    return true;
}

static void commit(struct cli_carrier_conn *base, size_t length)
{
    struct kcp_conn *conn = conn_of(base);
    conn->waiting_bytes = length;
    if (length > 0) {
        (void)ship(conn);
        return;
    }
    give_block(carrier_of(base->carrier), conn->reserved);
    conn->reserved = NULL;
}

static void set_pause(struct cli_carrier_conn *base, bool is_paused)
{
    weir_kcp_pause(conn_of(base)->conn, is_paused);
}

static void finish(struct cli_carrier_conn *base)
{
    struct kcp_conn *conn = conn_of(base);
    conn->is_finishing = true;
    if (conn->waiting_bytes == 0) {
        weir_kcp_close(conn->conn);
    }
}

/* CLOSED follows, and frees conn. KCP has no word for the peer. */
static void cut(struct cli_carrier_conn *base, const char *why)
{
    (void)why;
    base->session = NULL;
    weir_kcp_abort(conn_of(base)->conn);
}

/* --- events ----------------------------------------------------------------------------------- */

static void on_request(struct cli_carrier *carrier, struct weir_kcp_conn *handle)
{
    struct cli_carrier_conn *conn = cli_carrier_add_conn(carrier, NULL);
    if (conn == NULL) {
        weir_kcp_refuse(handle);
        return;
    }
    conn_of(conn)->conn = handle;
    weir_kcp_accept(handle, conn); /* on_request may write at once */
    if (!carrier->handlers->on_request(carrier->user, conn)) {
        weir_kcp_abort(handle);
    }
}

static const char *cause_text(enum weir_kcp_close_cause cause)
{
    static const char *const texts[] = {
        [WEIR_KCP_CAUSE_LOCAL] = "closed here",
        [WEIR_KCP_CAUSE_TIMEOUT] = "the peer does not answer",
        [WEIR_KCP_CAUSE_DEAD_LINK] = "the peer does not acknowledge what is sent",
        [WEIR_KCP_CAUSE_REPLACED] = "the peer began another session",
        [WEIR_KCP_CAUSE_PROTOCOL] = "the peer broke the protocol"};
    size_t index = (size_t)cause;
    bool is_known = index < sizeof(texts) / sizeof(texts[0]) && texts[index] != NULL;
    return is_known ? texts[index] : "closed";
}

static void on_closed(const struct weir_kcp_event *event)
{
    struct kcp_conn *conn = event->closed.user;
    if (conn == NULL) {
        return;
    }
    if (conn->base.session != NULL) {
        conn->base.carrier->handlers->on_closed(conn->base.session,
                                                event->closed.cause != WEIR_KCP_CAUSE_LOCAL,
                                                cause_text(event->closed.cause));
    }
    free_conn(conn);
}

static void wake(struct kcp_carrier *carrier, struct kcp_conn *conn)
{
    weir_list_remove(&carrier->starved, &conn->starved);
    if (conn->base.session != NULL) {
        carrier->base.handlers->on_writable(conn->base.session);
    }
}

/* Its owner may go on, for it holds one less, and whoever waits longest. */
static void on_parcel_done(struct kcp_carrier *carrier, struct weir_parcel *parcel)
{
    struct block *block = parcel->user;
    struct kcp_conn *owner = block->owner;
    give_block(carrier, block);
    if (weir_link_is_linked(&owner->starved)) {
        wake(carrier, owner);
    }
    struct weir_link *link = weir_list_first(&carrier->starved);
    if (link != NULL) {
        wake(carrier, WEIR_CONTAINER(link, struct kcp_conn, starved));
    }
}

static void on_message(struct kcp_conn *conn, const struct weir_kcp_event *event)
{
    for (uint32_t i = 0; i < event->message.span_count && conn->base.session != NULL; i++) {
        conn->base.carrier->handlers->on_bytes(conn->base.session, event->message.spans[i]);
    }
}

static void on_event(struct kcp_carrier *carrier, const struct weir_kcp_event *event)
{
    const struct cli_carrier_handlers *handlers = carrier->base.handlers;
    if (event->type == WEIR_KCP_EVENT_REQUEST) {
        on_request(&carrier->base, event->conn);
        return;
    }
    if (event->type == WEIR_KCP_EVENT_CLOSED) {
        on_closed(event);
        return;
    }
    if (event->type == WEIR_KCP_EVENT_PARCEL_DONE) {
        on_parcel_done(carrier, event->parcel.parcel);
        return;
    }
    struct kcp_conn *conn = weir_kcp_user(event->conn);
    if (conn == NULL || conn->base.session == NULL) {
        return;
    }
    if (event->type == WEIR_KCP_EVENT_OPENED) {
        handlers->on_opened(conn->base.session);
    } else if (event->type == WEIR_KCP_EVENT_MESSAGE) {
        on_message(conn, event);
    } else if (event->type == WEIR_KCP_EVENT_WRITABLE && (conn->waiting_bytes == 0 || ship(conn))) {
        handlers->on_writable(conn->base.session);
    }
}

static void on_events(void *user, weir_nsec now)
{
    struct kcp_carrier *carrier = user;
    struct weir_kcp_event event;
    (void)now;
    while (weir_kcp_event(carrier->base.engine, &event) == WEIR_OK) {
        on_event(carrier, &event);
    }
    carrier->base.handlers->on_round(carrier->base.user);
}

/* --- the engine ------------------------------------------------------------------------------- */

/* Blocks in flight come back as PARCEL_DONE. */
static void fini(struct cli_carrier *carrier)
{
    struct weir_kcp_event event;
    struct weir_link *link = weir_list_first(&carrier->conns);
    for (; link != NULL; link = weir_list_next(&carrier->conns, link)) {
        struct cli_carrier_conn *conn = WEIR_CONTAINER(link, struct cli_carrier_conn, link);
        conn->session = NULL;
        weir_kcp_abort(conn_of(conn)->conn);
    }
    while (weir_kcp_event(carrier->engine, &event) == WEIR_OK) {
        if (event.type != WEIR_KCP_EVENT_REQUEST) {
            on_event(carrier_of(carrier), &event);
        }
    }
    weir_kcp_fini(carrier->engine);
}

static size_t configure(const struct cli_carrier *carrier, struct cli_carrier_config *config)
{
    config->kcp.slide = carrier->slide;
    config->kcp.is_accepting = config->is_accepting;
    return weir_kcp_mem_size(&config->kcp);
}

static enum weir_status init(struct cli_carrier *base, const struct cli_carrier_config *config,
                             const uint8_t seed[32], weir_nsec now)
{
    struct kcp_carrier *carrier = carrier_of(base);
    struct weir_kcp *kcp = NULL;
    weir_list_init(&carrier->starved);
    carrier->blocks_max = config->crew == NULL ? BLOCKS_MAX : BLOCKS_MAX_SHARD;
    enum weir_status status = weir_kcp_init(base->engine_mem, &config->kcp, seed, now, &kcp);
    base->engine = kcp;
    return status;
}

const struct cli_carrier_ops cli_carrier_kcp = {.scheme = "kcp",
                                                .carrier_bytes = sizeof(struct kcp_carrier),
                                                .conn_bytes = sizeof(struct kcp_conn),
                                                .verbs = weir_kcp_verbs,
                                                .configure = configure,
                                                .init = init,
                                                .fini = fini,
                                                .on_events = on_events,
                                                .connect = start,
                                                .reserve = reserve,
                                                .commit = commit,
                                                .pause = set_pause,
                                                .finish = finish,
                                                .abort = cut};
