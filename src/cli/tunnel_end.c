/* SPDX-License-Identifier: MIT */
/*
 * tunnel_end.c - how a tunnel ends: no new connections, then a while for those there are, then
 * their sessions.
 */
#include "base/bytes.h"
#include "cli/tunnel.h"

void cli_tunnel_for_each_session(struct cli_tunnel *tunnel,
                                 void (*act)(struct cli_tunnel_session *))
{
    struct weir_link *next = NULL;
    for (struct weir_link *link = weir_list_first(&tunnel->sessions); link != NULL; link = next) {
        next = weir_list_next(&tunnel->sessions, link);
        act(WEIR_CONTAINER(link, struct cli_tunnel_session, all));
    }
}

void cli_tunnel_cut_all(struct cli_tunnel_session *session)
{
    while (!weir_list_is_empty(&session->streams)) {
        struct weir_link *link = weir_list_first(&session->streams);
        cli_tunnel_stream_cut(WEIR_CONTAINER(link, struct cli_tunnel_stream, all));
    }
}

static void say_goodbye(struct cli_tunnel_session *session)
{
    if (session->smux != NULL) {
        cli_smux_go_away(session->smux);
        cli_tunnel_session_touch(session);
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

static void set_phase(struct cli_tunnel *tunnel, enum cli_tunnel_phase phase, weir_nsec time)
{
    tunnel->phase_until = tunnel->now + time;
    __atomic_store_n(&tunnel->phase, (uint32_t)phase, __ATOMIC_RELEASE);
}

bool cli_tunnel_is_draining(const struct cli_tunnel *tunnel)
{
    return __atomic_load_n(&tunnel->phase, __ATOMIC_RELAXED) != CLI_TUNNEL_RUNNING;
}

bool cli_tunnel_has_ended(const struct cli_tunnel *tunnel)
{
    return __atomic_load_n(&tunnel->phase, __ATOMIC_ACQUIRE) == CLI_TUNNEL_ENDED;
}

void cli_tunnel_stop(struct cli_tunnel *tunnel)
{
    cli_tunnel_unlisten(tunnel);
    set_phase(tunnel, CLI_TUNNEL_DRAINING, tunnel->options->drain);
    cli_tunnel_for_each_session(tunnel, say_goodbye);
}

/* Time is up, or nothing is left to wait for. */
static void finish(struct cli_tunnel *tunnel)
{
    tunnel->left_count = tunnel->connections;
    cli_tunnel_for_each_session(tunnel, cli_tunnel_cut_all);
    cli_tunnel_pump(tunnel);
    cli_tunnel_for_each_session(tunnel, cli_tunnel_session_finish);
    set_phase(tunnel, CLI_TUNNEL_FINISHING, CLI_TUNNEL_FINISH);
}

void cli_tunnel_end_step(struct cli_tunnel *tunnel)
{
    if (tunnel->phase == CLI_TUNNEL_DRAINING &&
        (tunnel->connections == 0 || tunnel->now >= tunnel->phase_until)) {
        finish(tunnel);
    }
    if (tunnel->phase == CLI_TUNNEL_FINISHING &&
        (!is_any_up(tunnel) || tunnel->now >= tunnel->phase_until)) {
        set_phase(tunnel, CLI_TUNNEL_ENDED, 0);
    }
}
