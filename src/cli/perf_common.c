/* SPDX-License-Identifier: MIT */
/*
 * perf_common.c - what both ends of "weir perf" share: control messages, figures of this process.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/bytes.h"
#include "cli/perf.h"

enum {
    CONTROL_HEADER_BYTES = 16,
    AWAKE_MIN = 512, /* enough for the handshakes under way at once */
    AWAKE_MAX = 2048,
    IDLE_PER_AWAKE = 16,
    WINDOW_BYTES = 8 << 20
};

/* "weirperf"; a test's payload never begins with it. */
#define CONTROL_MAGIC 0x7765697270657266u

const char *cli_perf_mode_text(enum cli_perf_mode mode)
{
    static const char *const texts[] = {"bulk", "message", "latency", "idle"};
    return texts[mode];
}

const char *cli_perf_guarantee_text(enum weir_rudp_guarantee guarantee)
{
    static const char *const texts[] = {"none", "order", "delivery"};
    return texts[guarantee];
}

size_t cli_perf_encode(const struct cli_perf_control *control,
                       uint8_t bytes[CLI_PERF_CONTROL_BYTES_MAX])
{
    weir_store64(bytes, CONTROL_MAGIC);
    weir_store64(bytes + 8, control->kind);
    for (uint32_t i = 0; i < control->fields_count; i++) {
        weir_store64(bytes + CONTROL_HEADER_BYTES + 8 * (size_t)i, control->fields[i]);
    }
    return CONTROL_HEADER_BYTES + 8 * (size_t)control->fields_count;
}

bool cli_perf_decode(struct weir_span data, struct cli_perf_control *control)
{
    if (data.length < CONTROL_HEADER_BYTES || data.length > CLI_PERF_CONTROL_BYTES_MAX ||
        weir_load64(data.data) != CONTROL_MAGIC) {
        return false;
    }
    uint64_t kind = weir_load64(data.data + 8);
    if (kind < CLI_PERF_BEGIN || kind > CLI_PERF_KEEP) {
        return false;
    }
    *control = (struct cli_perf_control){.kind = (enum cli_perf_kind)kind,
                                         .fields_count =
                                             (uint32_t)((data.length - CONTROL_HEADER_BYTES) / 8)};
    for (uint32_t i = 0; i < control->fields_count; i++) {
        control->fields[i] = weir_load64(data.data + CONTROL_HEADER_BYTES + 8 * (size_t)i);
    }
    return true;
}

enum weir_status cli_perf_send_control(struct cli_link *link, struct cli_conn *conn,
                                       const struct cli_perf_control *control)
{
    struct weir_rudp_send how = {.guarantee = WEIR_RUDP_DELIVERY,
                                 .priority = WEIR_RUDP_PRIORITY_URGENT};
    uint8_t bytes[CLI_PERF_CONTROL_BYTES_MAX];
    size_t length = cli_perf_encode(control, bytes);
    return cli_link_send(link, conn, &how, bytes, length);
}

static uint64_t ns_of(struct timeval time)
{
    return (uint64_t)time.tv_sec * WEIR_SEC + (uint64_t)time.tv_usec * WEIR_USEC;
}

uint64_t cli_perf_cpu_ns(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) {
        return 0;
    }
    return ns_of(usage.ru_utime) + ns_of(usage.ru_stime);
}

uint64_t cli_perf_rss_bytes(void)
{
    /* "total resident ...", in pages. No stdio: it is asked on workers. */
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t length = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    text[length > 0 ? length : 0] = 0;
    const char *resident = strchr(text, ' ');
    return resident == NULL ? 0 : strtoull(resident, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Idle connections sleep: what they need awake is shared by many. */
static uint32_t awake_max(uint32_t connections_max)
{
    uint32_t count = connections_max / IDLE_PER_AWAKE;
    count = count < AWAKE_MIN ? AWAKE_MIN : count;
    count = count > AWAKE_MAX ? AWAKE_MAX : count;
    return count < connections_max ? count : connections_max;
}

void cli_perf_configure(const struct cli_perf_options *options, struct cli_link_options *link)
{
    struct weir_rudp_config config;
    weir_rudp_config_default(&config);
    cli_link_options_default(link);
    link->scheme = options->scheme;
    link->connections_max = (uint32_t)options->connections + CLI_PERF_SPARE;
    link->awake_max = awake_max(link->connections_max);
    link->message_bytes_max = config.message_bytes_max;
    if (options->size > link->message_bytes_max) {
        link->message_bytes_max = (uint32_t)options->size;
    }
    link->receive_window_bytes = WINDOW_BYTES + link->message_bytes_max;
    link->send_queue_bytes = config.send_queue_bytes;
    link->cc = options->cc;
    link->is_cc_given = options->is_cc_given;
    link->kcp = &options->kcp;
    link->net = &options->net;
}
