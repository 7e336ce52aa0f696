/* SPDX-License-Identifier: MIT */
/*
 * flags.c - the text of --so_flags: how the engine under packetdrill is configured.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "packetdrill/drill.h"

enum {
    FLAG_BYTES_MAX = 128
};

static bool read_number(const char *text, uint64_t max, uint64_t *number)
{
    char *end = NULL;
    *number = strtoull(text, &end, 0);
    return end != text && *end == '\0' && *text != '-' && *number <= max;
}

static bool read_size(struct weir_drill *drill, const char *name, const char *value, bool *is_right)
{
    struct weir_tcp_config *config = &drill->config;

    const struct {
        const char *name;
        uint32_t *size;
    } sizes[] = {{"mtu", &drill->ip.mtu_bytes},
                 {"window", &config->receive_window},
                 {"send_queue", &config->tuning.send_queue_max}};

    const struct {
        const char *name;
        bool *is_set;
    } switches[] = {{"timestamps", &config->has_timestamps},
                    {"ecn", &config->is_ecn},
                    {"mtu_fixed", &config->is_mtu_fixed}};

    uint64_t number = 0;
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        if (strcmp(name, sizes[i].name) == 0) {
            *is_right = read_number(value, INT32_MAX, &number);
            *sizes[i].size = (uint32_t)number;
            return true;
        }
    }
    for (unsigned i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
        if (strcmp(name, switches[i].name) == 0) {
            *is_right = read_number(value, 1, &number);
            *switches[i].is_set = number != 0;
            return true;
        }
    }
    return false;
}

/* In milliseconds. */
static bool read_time(struct weir_drill *drill, const char *name, const char *value, bool *is_right)
{
    struct weir_tcp_tuning *tuning = &drill->config.tuning;

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
                 {"keepalive_interval", &tuning->keepalive_interval}};

    uint64_t number = 0;
    for (unsigned i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        if (strcmp(name, times[i].name) == 0) {
            *is_right = read_number(value, UINT32_MAX, &number);
            *times[i].time = number * WEIR_MSEC;
            return true;
        }
    }
    return false;
}

/* local=ADDRESS, with IPv6 in brackets; said several times for several. */
static bool read_local(struct weir_drill *drill, const char *value)
{
    char text[FLAG_BYTES_MAX + 8];
    struct weir_addr addr;
    (void)snprintf(text, sizeof(text), "%s:0", value);
    return weir_addr_parse(text, &addr) == WEIR_OK && weir_drill_net_add(drill, &addr);
}

static bool read_flag(struct weir_drill *drill, const char *name, const char *value)
{
    bool is_right = false;
    if (strcmp(name, "local") == 0) {
        return read_local(drill, value);
    }
    if (strcmp(name, "cc") == 0) {
        return weir_cc_parse(value, &drill->config.cc) == WEIR_OK;
    }
    return (read_size(drill, name, value, &is_right) || read_time(drill, name, value, &is_right)) &&
           is_right;
}

bool weir_drill_read_flags(struct weir_drill *drill, const char *flags)
{
    while (flags != NULL && *flags != '\0') {
        char flag[FLAG_BYTES_MAX] = "";
        const size_t length = strcspn(flags, ",");
        if (length < sizeof(flag)) {
            memcpy(flag, flags, length);
        }
        char *value = strchr(flag, '=');
        if (value != NULL) {
            *value++ = '\0';
        }
        if (value == NULL || !read_flag(drill, flag, value)) {
            (void)fprintf(stderr, "libweir-packetdrill: so_flags: '%.*s' is not understood\n",
                          (int)length, flags);
            return false;
        }
        flags += length + (flags[length] == ',');
    }
    return true;
}
