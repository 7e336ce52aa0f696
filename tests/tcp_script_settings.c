/* SPDX-License-Identifier: MIT */
/*
 * tcp_script_settings.c - what a script sets before it begins and tunes later, and the figures that
 * it looks at.
 */
#include <stdlib.h>
#include <string.h>

#include "tcp_script.h"
#include "tcp_script_play.h"

static const weir_nsec tolerance_default = 2 * WEIR_MSEC;

enum {
    PEER_NUMBER_DEFAULT = 1000000,
    SLIDE_DEFAULT = 1 << 20
};

void script_settings_default(void)
{
    play.tolerance = tolerance_default;
    play.peer_number = PEER_NUMBER_DEFAULT;
    play.slide_size = SLIDE_DEFAULT;
    weir_tcp_config_default(&play.config);
    play.config.connections_max = play.config.connections6_max = 16;
    play.config.receive_window = 65535;
    play.config.cc = WEIR_CC_NEWRENO;
    (void)weir_addr_parse("192.0.2.1:8080", &play.path4.local);
    (void)weir_addr_parse("198.51.100.9:40000", &play.path4.remote);
    (void)weir_addr_parse("[2001:db8::1]:8080", &play.path6.local);
    (void)weir_addr_parse("[2001:db8:1::9]:40000", &play.path6.remote);
}

/* --- set -------------------------------------------------------------------------------------- */

static bool set_bound(const char *name, uint64_t value)
{
    struct weir_tcp_config *config = &play.config;

    const struct {
        const char *name;
        uint32_t *bound;
    } bounds[] = {{"window", &config->receive_window},
                  {"connections_max", &config->connections_max},
                  {"awake_max", &config->awake_max},
                  {"segments_max", &config->segments_max},
                  {"held_max", &config->held_max},
                  {"reordering_max", &config->reordering_max},
                  {"send_queue_max", &config->tuning.send_queue_max},
                  {"challenges_max", &config->tuning.challenges_max},
                  {"peer_number", &play.peer_number}};

    for (unsigned i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
        if (strcmp(bounds[i].name, name) == 0) {
            *bounds[i].bound = (uint32_t)value;
            return true;
        }
    }
    return false;
}

static bool set_switch(const char *name, uint64_t value)
{
    struct weir_tcp_config *config = &play.config;

    const struct {
        const char *name;
        bool *is_set;
    } switches[] = {{"timestamps", &config->has_timestamps},
                    {"ecn", &config->is_ecn},
                    {"nodelay", &config->tuning.is_nodelay},
                    {"mtu_fixed", &config->is_mtu_fixed},
                    {"fast_open", &config->is_fast_open},
                    {"user_timeout_advertised", &config->tuning.is_user_timeout_advertised},
                    {"user_timeout_fixed", &config->tuning.is_user_timeout_fixed},
                    {"ip6", &play.is_6},
                    {"joined", &play.is_joined}};

    for (unsigned i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
        if (strcmp(switches[i].name, name) == 0) {
            *switches[i].is_set = value != 0;
            return true;
        }
    }
    return false;
}

static bool set_other(const char *name, uint64_t value)
{
    struct weir_tcp_config *config = &play.config;
    if (strcmp(name, "mtu") == 0) {
        config->mtu_bytes = (uint16_t)value;
    } else if (strcmp(name, "fast_open_max") == 0) {
        config->fast_open_max = (uint16_t)value;
    } else if (strcmp(name, "half_open_max") == 0) {
        config->half_open_max = (uint32_t)value;
        config->is_cookie_only = value == 0;
    } else if (strcmp(name, "keepalive_probes") == 0) {
        config->tuning.keepalive_probes = (uint8_t)value;
    } else if (strcmp(name, "send_bytes") == 0) {
        config->send_bytes = (size_t)value;
    } else if (strcmp(name, "own_number") == 0) {
        play.own_number_wanted = (uint32_t)value;
        play.is_own_number_wanted = true;
    } else if (strcmp(name, "slide") == 0) {
        play.slide_size = value;
    } else if (strcmp(name, "clock") == 0) {
        play.start = play.now = play.last = value * WEIR_SEC;
    } else {
        return false;
    }
    return true;
}

/* In milliseconds. */
static bool set_time(struct weir_tcp_tuning *tuning, const char *name, uint64_t value)
{
    const struct {
        const char *name;
        weir_nsec *time;
    } times[] = {{"rto_min", &tuning->rto_min},
                 {"ack_delay", &tuning->ack_delay},
                 {"user_timeout", &tuning->user_timeout},
                 {"persist_timeout", &tuning->persist_timeout},
                 {"connect_timeout", &tuning->connect_timeout},
                 {"user_timeout_min", &tuning->user_timeout_min},
                 {"user_timeout_max", &tuning->user_timeout_max},
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

static bool set_address(const char *name, const char *text)
{
    struct weir_path *path = play.is_6 ? &play.path6 : &play.path4;
    struct weir_addr *addr = strcmp(name, "local") == 0 ? &path->local : &path->remote;
    if (strcmp(name, "local") != 0 && strcmp(name, "remote") != 0) {
        return false;
    }
    script_check(weir_addr_parse(text, addr) == WEIR_OK, "no address");
    return true;
}

/* set NAME VALUE, before the first line with a time. */
void script_set(void)
{
    script_check(play.count == 3, "set NAME VALUE");
    const char *name = play.words[1];
    script_check(play.tcp == NULL || strcmp(name, "tolerance") == 0, "too late to set anything");
    if (strcmp(name, "cc") == 0) {
        script_check(weir_cc_parse(play.words[2], &play.config.cc) == WEIR_OK,
                     "unknown controller");
        return;
    }
    if (set_address(name, play.words[2])) {
        return;
    }
    uint64_t value = script_number(play.words[2]);
    script_check(set_bound(name, value) || set_switch(name, value) || set_other(name, value) ||
                     set_time(&play.config.tuning, name, value),
                 "unknown setting");
}

void script_tune(void)
{
    struct weir_tcp_tuning tuning = play.config.tuning;
    script_check(play.count >= 4, "tune NAME MILLISECONDS");
    script_check(set_time(&tuning, play.words[2], script_number(play.words[3])), "unknown setting");
    bool is_right = weir_tcp_tune(play.tcp, &tuning) == WEIR_OK;
    bool is_wanted = play.count == 4 || strcmp(play.words[4], "INVALID") != 0;
    script_check(is_right == is_wanted, is_right ? "it was taken" : "it was refused");
    if (is_right) {
        play.config.tuning = tuning;
    }
    script_settle();
}

/* --- figure ----------------------------------------------------------------------------------- */

struct figure {
    const char *name;
    uint64_t value;
};

static const struct figure *find_figure(const struct figure *figures, size_t count,
                                        const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(figures[i].name, name) == 0) {
            return &figures[i];
        }
    }
    return NULL;
}

static bool check_endpoint_figure(const char *name, uint64_t wanted)
{
    const struct weir_tcp_stats *stats = weir_tcp_stats(play.tcp);
    const struct figure figures[] = {
        {"number_apart",
         (uint32_t)(play.peers[0].own_number - play.peers[1].own_number) > UINT16_MAX},
        {"connections", stats->connections},
        {"awake", stats->awake},
        {"half_open", stats->half_open},
        {"time_wait", stats->time_wait},
        {"challenges", stats->challenges_sent},
        {"cookies_sent", stats->cookies_sent},
        {"cookies_accepted", stats->cookies_accepted},
        {"resets_sent", stats->resets_sent},
        {"resets_received", stats->resets_received},
        {"recoveries", stats->recoveries},
        {"spurious_timeouts", stats->spurious_timeouts},
        {"spurious_losses", stats->spurious_losses},
        {"mtu_reductions", stats->mtu_reductions},
        {"opened_active", stats->opened_active},
        {"opened_passive", stats->opened_passive}};
    const struct figure *figure = find_figure(figures, sizeof(figures) / sizeof(figures[0]), name);
    if (figure != NULL) {
        script_check_value(name, wanted, figure->value);
    }
    return figure != NULL;
}

/* TIME figure NAME NUMBER: of the endpoint or of the connection; times in milliseconds. */
void script_figure(void)
{
    struct weir_tcp_conn_stats stats;
    script_check(play.count == 4, "figure NAME NUMBER");
    const char *name = play.words[2];
    uint64_t wanted = script_number(play.words[3]);
    if (check_endpoint_figure(name, wanted)) {
        return;
    }
    script_check(play.peer->conn != NULL, "there is no connection, or no such figure");
    weir_tcp_conn_stats(play.tcp, play.peer->conn, &stats);
    const struct figure figures[] = {
        {"number_step", (uint32_t)(play.peer->own_number - play.peer->own_before)},
        {"rtt", stats.rtt / WEIR_MSEC},
        {"rto", stats.rto / WEIR_MSEC},
        {"mss", stats.mss},
        {"peer_window", stats.peer_window},
        {"receive_window", stats.receive_window},
        {"cwnd", stats.congestion_window},
        {"in_flight", stats.in_flight},
        {"queued", stats.queued},
        {"held", stats.held},
        {"resent", stats.resent_segments},
        {"timeouts", stats.timeouts},
        {"is_awake", stats.is_awake},
        {"urgent", play.peer->urgent_bytes}};
    const struct figure *figure = find_figure(figures, sizeof(figures) / sizeof(figures[0]), name);
    if (figure == NULL) {
        script_fail("unknown figure");
    }
    script_check_value(name, wanted, figure->value);
}
