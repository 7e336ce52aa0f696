/* SPDX-License-Identifier: MIT */
/*
 * flood.c - the device that the packets of weir flood go out on and come back by, and whose memory
 * they cost.
 */
#include "cli/flood.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "cli/cli.h"
#include "wire/ip4.h"

enum {
    ROOM_BYTES = 1 << 20,
    QUEUE_FRAMES = 10000,
    PACKETS_MAX = 256
};

static uint8_t room[ROOM_BYTES];
static struct weir_packet packets[PACKETS_MAX];

/* --- the device ------------------------------------------------------------------------------- */

bool cli_flood_open(struct cli_flood *flood, const struct cli_flood_options *options)
{
    struct weir_tun_config config;
    char problem[WEIR_PROBLEM_BYTES];
    *flood = (struct cli_flood){.options = options};
    weir_prng_init(&flood->prng, options->seed);
    /* Behind the network's own address and the host's. */
    flood->source_first =
        (weir_load32(options->from.ip) & UINT32_MAX << (32U - options->from_prefix)) + 2;
    flood->sources = (1U << (32U - options->from_prefix)) - 3;
    weir_tun_config_default(&config);
    memcpy(config.name, options->device, sizeof(config.name));
    config.is_offload_disabled = true;
    config.queue_frames = QUEUE_FRAMES;
    config.host = (struct weir_addr){.family = WEIR_ADDR_IP4};
    weir_store32(config.host.ip, flood->source_first - 1);
    config.host_prefix = options->from_prefix;
    if (weir_tun_open(&config, &flood->driver, problem) != WEIR_OK) {
        (void)cli_fail(CLI_FAILED, "%s: %s", options->device, problem);
        return false;
    }
    if (!cli_flood_set_kernel(options->device)) {
        cli_flood_close(flood);
        return false;
    }
    flood->started = cli_clock();
    return true;
}

void cli_flood_close(struct cli_flood *flood)
{
    flood->driver->ops->close(flood->driver);
}

static bool fail_device(const struct cli_flood *flood)
{
    (void)cli_fail(CLI_FAILED, "%s: %s", flood->options->device,
                   cli_text_errno(flood->driver->error));
    return false;
}

struct weir_addr cli_flood_source(const struct cli_flood *flood, uint32_t index, uint16_t port)
{
    struct weir_addr addr = {.family = WEIR_ADDR_IP4, .port = port};
    weir_store32(addr.ip, flood->source_first + index);
    return addr;
}

bool cli_flood_flush(struct cli_flood *flood)
{
    uint32_t done = 0;
    while (done < flood->queued) {
        uint32_t sent = 0;
        enum weir_status status = flood->driver->ops->send(
            flood->driver, 0, flood->transmits + done, flood->queued - done, &sent);
        if (status == WEIR_ERR_OS) {
            return fail_device(flood);
        }
        done += sent;
        if (status == WEIR_AGAIN) {
            struct pollfd set = {.fd = flood->driver->ops->fd(flood->driver), .events = POLLOUT};
            (void)poll(&set, 1, 10);
        }
    }
    flood->sent += flood->queued;
    flood->queued = 0;
    return true;
}

bool cli_flood_put(struct cli_flood *flood, const struct weir_addr *source,
                   struct weir_tcp_segment *segment)
{
    const struct weir_path path = {.local = *source, .remote = flood->options->target};
    uint8_t *frame = flood->frames[flood->queued];
    uint8_t *at = frame + WEIR_IP4_HEADER_BYTES;
    segment->source = source->port;
    segment->target = flood->options->target.port;
    uint32_t length = weir_tcp_encode(at, segment);
    if (segment->data.length > 0) {
        memcpy(at + length, segment->data.data, segment->data.length);
        length += (uint32_t)segment->data.length;
    }
    weir_tcp_seal(at, length, &path);
    struct weir_ip4 ip4 = {.total_bytes = (uint16_t)(WEIR_IP4_HEADER_BYTES + length),
                           .id = flood->id++,
                           .header_bytes = WEIR_IP4_HEADER_BYTES,
                           .ttl = 64,
                           .protocol = WEIR_IP_TCP,
                           .is_kept_whole = true};
    memcpy(ip4.source, source->ip, sizeof(ip4.source));
    memcpy(ip4.destination, path.remote.ip, sizeof(ip4.destination));
    weir_ip4_encode(frame, &ip4);
    flood->transmits[flood->queued++] = (struct weir_transmit){.data = frame,
                                                               .length = ip4.total_bytes,
                                                               .segment_bytes = ip4.total_bytes,
                                                               .protocol = WEIR_PROTOCOL_FRAME};
    return flood->queued < CLI_FLOOD_BATCH || cli_flood_flush(flood);
}

/* False for what is not TCP from the target. */
static bool read_frame(const struct cli_flood *flood, const struct weir_packet *packet,
                       uint32_t *address, struct weir_tcp_segment *segment)
{
    struct weir_ip4 ip4;
    const struct weir_addr *target = &flood->options->target;
    if (!weir_ip4_decode(packet->data, packet->length, &ip4) || ip4.protocol != WEIR_IP_TCP ||
        memcmp(ip4.source, target->ip, sizeof(ip4.source)) != 0) {
        return false;
    }
    *address = weir_load32(ip4.destination);
    return weir_tcp_decode(weir_span_of(packet->data + ip4.header_bytes,
                                        (size_t)ip4.total_bytes - ip4.header_bytes),
                           segment) &&
           segment->source == target->port;
}

bool cli_flood_receive(struct cli_flood *flood, weir_nsec wait,
                       bool (*take)(struct cli_flood *flood, uint32_t address,
                                    const struct weir_tcp_segment *segment, void *user),
                       void *user)
{
    struct pollfd set = {.fd = flood->driver->ops->fd(flood->driver), .events = POLLIN};
    const struct timespec time = {.tv_sec = (time_t)(wait / WEIR_SEC),
                                  .tv_nsec = (long)(wait % WEIR_SEC)};
    uint32_t count = 0;
    if (ppoll(&set, 1, &time, NULL) <= 0) {
        return true;
    }
    do {
        struct weir_mut_span span = {.data = room, .length = sizeof(room)};
        if (flood->driver->ops->receive(flood->driver, 0, span, packets, PACKETS_MAX, &count) !=
            WEIR_OK) {
            return fail_device(flood);
        }
        for (uint32_t i = 0; i < count; i++) {
            struct weir_tcp_segment segment;
            uint32_t address = 0;
            if (!read_frame(flood, &packets[i], &address, &segment)) {
                continue;
            }
            flood->received++;
            flood->resets += (segment.flags & WEIR_TCP_RST) != 0;
            if (!take(flood, address, &segment, user)) {
                return false;
            }
        }
    } while (flood->driver->is_rx_full);
    return cli_flood_flush(flood);
}

/* --- what is told ----------------------------------------------------------------------------- */

uint64_t cli_flood_rss_bytes(const struct cli_flood *flood)
{
    /* "total resident ...", in pages */
    char path[64];
    char line[128];
    if (flood->options->pid == 0) {
        return 0;
    }
    (void)snprintf(path, sizeof(path), "/proc/%llu/statm", (unsigned long long)flood->options->pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return 0;
    }
    const char *resident = fgets(line, sizeof(line), file) == NULL ? NULL : strchr(line, ' ');
    (void)fclose(file);
    return resident == NULL ? 0 : strtoull(resident, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}
