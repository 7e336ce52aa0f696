/* SPDX-License-Identifier: MIT */
/*
 * smux.c - many streams in one ordered byte stream.
 *
 * Frames other than data are not queued but owed: a flag per stream and kind, so that no peer and
 * no slow carrier makes a queue grow. Their order within a stream is fixed: SYN, UPD, FIN or RST.
 */
#include "cli/smux.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"

enum command {
    COMMAND_SYN = 0,
    COMMAND_FIN = 1,
    COMMAND_PSH = 2,
    COMMAND_NOP = 3,
    COMMAND_UPD = 4,
    COMMAND_RST = 5,   /* version 3 */
    COMMAND_GOAWAY = 6 /* version 3 */
};

enum {
    UPDATE_BYTES = 8,                                           /* consumed u32, window u32 */
    STREAM_OWES_MAX = 3 * CLI_SMUX_HEADER_BYTES + UPDATE_BYTES, /* SYN, UPD, FIN */
    ID_MAX = 0x7ffffffe,
    BUCKETS_MIN = 16
};

struct cli_smux {
    struct cli_smux_config config;
    struct cli_smux_stream **buckets;
    uint32_t buckets_mask;
    uint32_t streams_count;
    uint32_t next_id;
    struct weir_list controls;
    size_t buffered_bytes;
    const char *fault;
    weir_nsec heard, nop_at;
    bool is_nop_owed, is_goaway_owed;

    /* The frame that is being read. */
    uint8_t header[CLI_SMUX_HEADER_BYTES];
    uint32_t header_used;
    uint32_t payload_left;
    struct cli_smux_stream *target; /* of its payload; NULL: nobody wants it */
    bool is_update;
    uint8_t update[UPDATE_BYTES];
};

/* smux counts in little-endian, unlike the rest of the program. */
static uint32_t load_le32(const uint8_t *p)
{
    return __builtin_bswap32(weir_load32(p));
}

static void store_le32(uint8_t *p, uint32_t v)
{
    weir_store32(p, __builtin_bswap32(v));
}

/* --- streams ---------------------------------------------------------------------------------- */

static struct cli_smux_stream **bucket_of(const struct cli_smux *smux, uint32_t id)
{
    return &smux->buckets[weir_hash13_u64(&smux->config.key, id) & smux->buckets_mask];
}

static struct cli_smux_stream *find_stream(const struct cli_smux *smux, uint32_t id)
{
    struct cli_smux_stream *stream = *bucket_of(smux, id);
    while (stream != NULL && stream->id != id) {
        stream = stream->next;
    }
    return stream;
}

static struct cli_smux_stream *add_stream(struct cli_smux *smux, uint32_t id)
{
    if (smux->streams_count >= smux->config.streams_max) {
        return NULL;
    }
    struct cli_smux_stream *stream = cli_heap_take_zeroed(smux->config.heap, sizeof(*stream));
    if (stream == NULL) {
        return NULL;
    }
    struct cli_smux_stream **bucket = bucket_of(smux, id);
    stream->id = id;
    stream->peer_window = CLI_SMUX_WINDOW_FIRST;
    stream->next = *bucket;
    *bucket = stream;
    smux->streams_count++;
    return stream;
}

static void free_stream(struct cli_smux *smux, struct cli_smux_stream *stream)
{
    struct cli_smux_stream **place = bucket_of(smux, stream->id);
    while (*place != stream) {
        place = &(*place)->next;
    }
    *place = stream->next;
    if (weir_link_is_linked(&stream->control)) {
        weir_list_remove(&smux->controls, &stream->control);
    }
    if (smux->target == stream) {
        smux->target = NULL;
    }
    smux->streams_count--;
    cli_heap_give(smux->config.heap, stream, sizeof(*stream));
}

static void owe(struct cli_smux *smux, struct cli_smux_stream *stream)
{
    if (!weir_link_is_linked(&stream->control)) {
        weir_list_append(&smux->controls, &stream->control);
    }
}

struct cli_smux *cli_smux_open(const struct cli_smux_config *config, weir_nsec now)
{
    uint32_t buckets = BUCKETS_MIN;
    while (buckets < config->streams_max && buckets < 4096) {
        buckets *= 2;
    }
    struct cli_smux *smux = cli_heap_take_zeroed(config->heap, sizeof(*smux));
    if (smux == NULL) {
        return NULL;
    }
    smux->buckets = cli_heap_take_zeroed(config->heap, buckets * sizeof(struct cli_smux_stream *));
    if (smux->buckets == NULL) {
        cli_heap_give(config->heap, smux, sizeof(*smux));
        return NULL;
    }
    smux->config = *config;
    smux->buckets_mask = buckets - 1;
    smux->next_id = 3; /* the first that smux uses */
    smux->heard = now;
    smux->nop_at = now + config->keepalive;
    weir_list_init(&smux->controls);
    return smux;
}

void cli_smux_close(struct cli_smux *smux)
{
    struct cli_heap *heap = smux->config.heap;
    for (uint32_t i = 0; i <= smux->buckets_mask; i++) {
        struct cli_smux_stream *stream = smux->buckets[i];
        while (stream != NULL) {
            struct cli_smux_stream *next = stream->next;
            cli_heap_give(heap, stream, sizeof(*stream));
            stream = next;
        }
    }
    cli_heap_give(heap, smux->buckets,
                  ((size_t)smux->buckets_mask + 1) * sizeof(struct cli_smux_stream *));
    cli_heap_give(heap, smux, sizeof(*smux));
}

struct cli_smux_stream *cli_smux_connect(struct cli_smux *smux, void *user)
{
    WEIR_ASSERT(smux->config.is_client);
    if (smux->next_id > ID_MAX) {
        return NULL;
    }
    struct cli_smux_stream *stream = add_stream(smux, smux->next_id);
    if (stream != NULL) {
        smux->next_id += 2;
        stream->user = user;
        stream->is_syn_owed = true;
        owe(smux, stream);
    }
    return stream;
}

void cli_smux_finish(struct cli_smux *smux, struct cli_smux_stream *stream)
{
    if (!stream->is_finished) {
        stream->is_finished = true;
        stream->is_fin_owed = true;
        owe(smux, stream);
    }
}

void cli_smux_release(struct cli_smux *smux, struct cli_smux_stream *stream)
{
    WEIR_ASSERT(!stream->is_released);
    bool is_ended = stream->is_finished && stream->is_peer_finished;
    stream->is_released = true;
    stream->user = NULL;
    stream->is_update_owed = false;
    smux->buffered_bytes -= stream->received - stream->consumed;
    stream->consumed = stream->received;
    if (stream->is_syn_owed) {
        free_stream(smux, stream); /* the peer has never heard of it */
        return;
    }
    if (smux->config.version < CLI_SMUX_VERSION_NATIVE) {
        cli_smux_finish(smux, stream);
    } else if (!is_ended) {
        stream->is_fin_owed = false;
        stream->is_reset_owed = true;
        owe(smux, stream);
    }
    if (!stream->is_fin_owed && !stream->is_reset_owed) {
        free_stream(smux, stream);
    }
}

/* The peer learns what was read when that is half of its window, and at the first read: until then
 * it counts with CLI_SMUX_WINDOW_FIRST. */
void cli_smux_consume(struct cli_smux *smux, struct cli_smux_stream *stream, size_t length)
{
    WEIR_ASSERT(length <= stream->received - stream->consumed);
    bool is_first = stream->consumed == 0 && length > 0;
    stream->consumed += (uint32_t)length;
    smux->buffered_bytes -= length;
    uint32_t untold = stream->consumed - stream->consumed_told;
    bool is_due = is_first || untold >= smux->config.stream_bytes / 2;
    if (smux->config.version >= 2 && is_due && !stream->is_peer_finished) {
        stream->is_update_owed = true;
        owe(smux, stream);
    }
}

bool cli_smux_is_full(const struct cli_smux *smux)
{
    return smux->buffered_bytes >= smux->config.session_bytes;
}

size_t cli_smux_buffered_bytes(const struct cli_smux *smux)
{
    return smux->buffered_bytes;
}

uint32_t cli_smux_streams(const struct cli_smux *smux)
{
    return smux->streams_count;
}

const char *cli_smux_fault(const struct cli_smux *smux)
{
    return smux->fault;
}

void cli_smux_go_away(struct cli_smux *smux)
{
    smux->is_goaway_owed = smux->config.version >= CLI_SMUX_VERSION_NATIVE;
}

/* --- frames out ------------------------------------------------------------------------------- */

static size_t put_header(const struct cli_smux *smux, uint8_t *room, enum command command,
                         uint32_t id, size_t length)
{
    room[0] = smux->config.version;
    room[1] = (uint8_t)command;
    room[2] = (uint8_t)length;
    room[3] = (uint8_t)(length >> 8);
    store_le32(room + 4, id);
    return CLI_SMUX_HEADER_BYTES;
}

static size_t put_update(struct cli_smux *smux, struct cli_smux_stream *stream, uint8_t *room)
{
    size_t used = put_header(smux, room, COMMAND_UPD, stream->id, UPDATE_BYTES);
    store_le32(room + used, stream->consumed);
    store_le32(room + used + 4, smux->config.stream_bytes);
    stream->consumed_told = stream->consumed;
    return used + UPDATE_BYTES;
}

/* All that one stream owes; frees it when that was the last of it. */
static size_t put_owed(struct cli_smux *smux, struct cli_smux_stream *stream, uint8_t *room)
{
    size_t used = 0;
    if (stream->is_syn_owed) {
        used += put_header(smux, room, COMMAND_SYN, stream->id, 0);
    }
    if (stream->is_update_owed) {
        used += put_update(smux, stream, room + used);
    }
    if (stream->is_reset_owed) {
        used += put_header(smux, room + used, COMMAND_RST, stream->id, 0);
    } else if (stream->is_fin_owed) {
        used += put_header(smux, room + used, COMMAND_FIN, stream->id, 0);
    }
    stream->is_syn_owed = stream->is_update_owed = stream->is_fin_owed = false;
    stream->is_reset_owed = false;
    weir_list_remove(&smux->controls, &stream->control);
    if (stream->is_released) {
        free_stream(smux, stream);
    }
    return used;
}

bool cli_smux_owes(const struct cli_smux *smux)
{
    return smux->is_nop_owed || smux->is_goaway_owed || !weir_list_is_empty(&smux->controls);
}

size_t cli_smux_control(struct cli_smux *smux, uint8_t *room, size_t length)
{
    size_t used = 0;
    WEIR_ASSERT(length >= CLI_SMUX_CONTROL_BYTES_MIN);
    if (smux->is_nop_owed) {
        used += put_header(smux, room, COMMAND_NOP, 0, 0);
    }
    if (smux->is_goaway_owed) {
        used += put_header(smux, room + used, COMMAND_GOAWAY, 0, 0);
    }
    smux->is_nop_owed = smux->is_goaway_owed = false;
    struct weir_link *next = NULL;
    struct weir_link *link = weir_list_first(&smux->controls);
    for (; link != NULL && length - used >= STREAM_OWES_MAX; link = next) {
        next = weir_list_next(&smux->controls, link);
        used += put_owed(smux, WEIR_CONTAINER(link, struct cli_smux_stream, control), room + used);
    }
    return used;
}

size_t cli_smux_sendable(const struct cli_smux *smux, const struct cli_smux_stream *stream)
{
    if (smux->config.version < 2) {
        return CLI_SMUX_DATA_BYTES_MAX;
    }
    /* Modulo 2^32; a window that was made smaller leaves more in flight than it holds. */
    uint32_t in_flight = stream->sent - stream->peer_consumed;
    uint32_t room = in_flight < stream->peer_window ? stream->peer_window - in_flight : 0;
    return room < CLI_SMUX_DATA_BYTES_MAX ? room : CLI_SMUX_DATA_BYTES_MAX;
}

void cli_smux_write_header(struct cli_smux *smux, struct cli_smux_stream *stream, size_t length,
                           uint8_t header[CLI_SMUX_HEADER_BYTES])
{
    WEIR_ASSERT(length > 0 && length <= cli_smux_sendable(smux, stream) && !stream->is_finished);
    WEIR_ASSERT(!stream->is_syn_owed);
    (void)put_header(smux, header, COMMAND_PSH, stream->id, length);
    stream->sent += (uint32_t)length;
}

/* --- frames in -------------------------------------------------------------------------------- */

static enum weir_status fail(struct cli_smux *smux, const char *fault)
{
    smux->fault = fault;
    return WEIR_ERR_MALFORMED;
}

static enum weir_status on_syn(struct cli_smux *smux, uint32_t id, struct cli_smux_event *event)
{
    if (smux->config.is_client) {
        return fail(smux, "it opens a stream towards the end that opens them");
    }
    if (find_stream(smux, id) != NULL) {
        return WEIR_AGAIN; /* as smux: a second SYN says nothing new */
    }
    struct cli_smux_stream *stream = add_stream(smux, id);
    if (stream == NULL) {
        return fail(smux, "it opens more streams than there is room for");
    }
    *event = (struct cli_smux_event){.type = CLI_SMUX_OPENED, .stream = stream};
    return WEIR_OK;
}

static enum weir_status on_end(struct cli_smux_stream *stream, enum cli_smux_event_type type,
                               struct cli_smux_event *event)
{
    if (stream == NULL || stream->is_released) {
        return WEIR_AGAIN;
    }
    if (type == CLI_SMUX_RESET) {
        stream->is_finished = true;
        stream->is_fin_owed = false;
    } else if (stream->is_peer_finished) {
        return WEIR_AGAIN;
    }
    stream->is_peer_finished = true;
    stream->is_update_owed = false;
    *event = (struct cli_smux_event){.type = type, .stream = stream};
    return WEIR_OK;
}

/* A frame with payload: its bytes follow. */
static enum weir_status on_payload(struct cli_smux *smux, uint32_t id, uint32_t length,
                                   bool is_update)
{
    struct cli_smux_stream *stream = find_stream(smux, id);
    smux->payload_left = length;
    smux->is_update = is_update;
    smux->target = NULL;
    if (stream == NULL || stream->is_released) {
        return WEIR_AGAIN; /* on its way when we let go of the stream */
    }
    /* smux may write once more after its FIN; nobody reads that. */
    smux->target = is_update || !stream->is_peer_finished ? stream : NULL;
    if (is_update || smux->config.version < 2 || smux->target == NULL) {
        return WEIR_AGAIN;
    }
    /* Before it knows ours a peer counts with the first window, though ours may be smaller. */
    uint64_t window = weir_max_u64(CLI_SMUX_WINDOW_FIRST, smux->config.stream_bytes);
    if ((uint64_t)(stream->received - stream->consumed_told) + length > window) {
        return fail(smux, "it sends more than a stream's window holds");
    }
    return WEIR_AGAIN;
}

/* One whole header. WEIR_AGAIN: no event came of it. */
static enum weir_status on_header(struct cli_smux *smux, struct cli_smux_event *event)
{
    const uint8_t *header = smux->header;
    uint32_t length = (uint32_t)header[2] | (uint32_t)header[3] << 8;
    uint32_t id = load_le32(header + 4);
    uint8_t version = smux->config.version;
    if (header[0] != version) {
        return fail(smux, "it speaks another version of smux, or with other options than here");
    }
    if (header[1] == COMMAND_PSH) {
        return on_payload(smux, id, length, false);
    }
    if (header[1] == COMMAND_UPD && version >= 2) {
        return length == UPDATE_BYTES ? on_payload(smux, id, length, true)
                                      : fail(smux, "its window update has another length");
    }
    if (length != 0) {
        return fail(smux, "a frame without data has a length");
    }
    if (header[1] == COMMAND_SYN) {
        return on_syn(smux, id, event);
    }
    if (header[1] == COMMAND_FIN) {
        return on_end(find_stream(smux, id), CLI_SMUX_FINISHED, event);
    }
    if (header[1] == COMMAND_NOP) {
        return WEIR_AGAIN;
    }
    if (version >= CLI_SMUX_VERSION_NATIVE && header[1] == COMMAND_RST) {
        return on_end(find_stream(smux, id), CLI_SMUX_RESET, event);
    }
    if (version >= CLI_SMUX_VERSION_NATIVE && header[1] == COMMAND_GOAWAY) {
        *event = (struct cli_smux_event){.type = CLI_SMUX_GOAWAY};
        return WEIR_OK;
    }
    return fail(smux, "it sends a command that does not exist");
}

static struct weir_span take_front(struct weir_span *input, size_t length)
{
    struct weir_span front = weir_span_of(input->data, length);
    input->data += length;
    input->length -= length;
    return front;
}

static enum weir_status read_header(struct cli_smux *smux, struct weir_span *input,
                                    struct cli_smux_event *event)
{
    size_t wanted = CLI_SMUX_HEADER_BYTES - smux->header_used;
    struct weir_span part = take_front(input, weir_min_u64(wanted, input->length));
    memcpy(smux->header + smux->header_used, part.data, part.length);
    smux->header_used += (uint32_t)part.length;
    if (smux->header_used < CLI_SMUX_HEADER_BYTES) {
        return WEIR_AGAIN;
    }
    smux->header_used = 0;
    return on_header(smux, event);
}

static enum weir_status on_update(struct cli_smux *smux, struct cli_smux_event *event)
{
    struct cli_smux_stream *stream = smux->target;
    if (stream == NULL || stream->is_released) {
        return WEIR_AGAIN;
    }
    uint32_t consumed = load_le32(smux->update);
    if (stream->sent - consumed > stream->sent - stream->peer_consumed) {
        return fail(smux, "it has read bytes that were never sent");
    }
    bool was_shut = cli_smux_sendable(smux, stream) == 0;
    stream->peer_consumed = consumed;
    stream->peer_window = load_le32(smux->update + 4);
    if (!was_shut || cli_smux_sendable(smux, stream) == 0) {
        return WEIR_AGAIN;
    }
    *event = (struct cli_smux_event){.type = CLI_SMUX_WRITABLE, .stream = stream};
    return WEIR_OK;
}

static enum weir_status read_payload(struct cli_smux *smux, struct weir_span *input,
                                     struct cli_smux_event *event)
{
    struct weir_span part = take_front(input, weir_min_u64(smux->payload_left, input->length));
    if (smux->is_update) {
        memcpy(smux->update + UPDATE_BYTES - smux->payload_left, part.data, part.length);
        smux->payload_left -= (uint32_t)part.length;
        return smux->payload_left == 0 ? on_update(smux, event) : WEIR_AGAIN;
    }
    smux->payload_left -= (uint32_t)part.length;
    if (smux->target == NULL || smux->target->is_released) {
        return WEIR_AGAIN;
    }
    smux->target->received += (uint32_t)part.length;
    smux->buffered_bytes += part.length;
    *event = (struct cli_smux_event){.type = CLI_SMUX_DATA, .stream = smux->target, .data = part};
    return WEIR_OK;
}

enum weir_status cli_smux_next(struct cli_smux *smux, weir_nsec now, struct weir_span *input,
                               struct cli_smux_event *event)
{
    enum weir_status status = smux->fault == NULL ? WEIR_AGAIN : WEIR_ERR_MALFORMED;
    smux->heard = now;
    while (status == WEIR_AGAIN && input->length > 0) {
        status = smux->payload_left > 0 ? read_payload(smux, input, event)
                                        : read_header(smux, input, event);
    }
    return status;
}

/* --- time ------------------------------------------------------------------------------------- */

enum weir_status cli_smux_timeout(struct cli_smux *smux, weir_nsec now)
{
    if (now >= smux->nop_at) {
        smux->is_nop_owed = true;
        smux->nop_at = now + smux->config.keepalive;
    }
    if (cli_smux_is_full(smux)) {
        smux->heard = now; /* it is us who do not listen */
    }
    return now - smux->heard >= smux->config.timeout ? WEIR_ERR_CLOSED : WEIR_OK;
}

weir_nsec cli_smux_next_timeout(const struct cli_smux *smux)
{
    return weir_min_u64(smux->nop_at, smux->heard + smux->config.timeout);
}
