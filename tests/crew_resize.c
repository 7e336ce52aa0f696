/* SPDX-License-Identifier: MIT */
/*
 * crew_resize.c - thousands of connections on a crew whose number of workers changes: no message is
 * lost, repeated or overtaken, and no packet dropped by the crew; when the kernel steers, fewer
 * than one in 1,000 comes to a wrong worker.
 *
 *   crew_resize CONNECTIONS MESSAGES_PER_SECOND DWELL_MS [steer|hash] [marks] NUMBER...
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crew_load.h"

enum {
    STEERED_PPM_MAX = 1000
};

/* 0 when it is none. */
static uint32_t number_of(const char *text)
{
    unsigned long number = strtoul(text, NULL, 10);
    return number > UINT32_MAX ? 0 : (uint32_t)number;
}

static int usage(void)
{
    (void)fputs("usage: crew_resize CONNECTIONS MESSAGES_PER_SECOND DWELL_MS [steer|hash] [marks] "
                "NUMBER...\n",
                stderr);
    return 2;
}

int main(int argc, char **argv)
{
    static struct crew_load_result result;
    struct crew_load_config config = {.sockets = 8};
    if (argc < 5 || argc > CREW_LOAD_STEPS_MAX) {
        return usage();
    }
    config.connections = number_of(argv[1]);
    config.messages_per_second = number_of(argv[2]);
    config.dwell_ms = number_of(argv[3]);
    for (int i = 4; i < argc; i++) {
        if (strcmp(argv[i], "steer") == 0 || strcmp(argv[i], "hash") == 0) {
            config.is_steered = argv[i][0] == 's';
        } else if (strcmp(argv[i], "marks") == 0) {
            config.are_marks_written = true;
        } else {
            config.plan[config.plan_count] = number_of(argv[i]);
            if (config.plan[config.plan_count++] == 0) {
                return usage();
            }
        }
    }
    if (config.connections == 0 || config.messages_per_second == 0 || config.plan_count == 0) {
        return usage();
    }
    bool is_good = crew_load_run(&config, &result);
    crew_load_print(&config, &result);
    bool is_steered_well = !result.was_steered || crew_load_sent_on_ppm(&result) < STEERED_PPM_MAX;
    if (!is_good || !is_steered_well || result.sum.dropped > 0 || result.sum.shards_gained == 0) {
        (void)puts("FAILED");
        return 1;
    }
    return 0;
}
