/* SPDX-License-Identifier: MIT */
/*
 * info.c - TCP_INFO: the engine's figures in the kernel's struct.
 *
 * What the engine does not count stays 0; docs/packetdrill.md lists what is there.
 */
#include <linux/tcp.h>
#include <string.h>

#include "packetdrill/drill.h"

/* The kernel's numbers of states, which its headers for programs do not have beside this struct. */
static uint8_t state_number(enum weir_tcp_state state)
{
    static const uint8_t numbers[] = {
        [WEIR_TCP_STATE_CLOSED] = 7,       [WEIR_TCP_STATE_SYN_SENT] = 2,
        [WEIR_TCP_STATE_SYN_RECEIVED] = 3, [WEIR_TCP_STATE_ESTABLISHED] = 1,
        [WEIR_TCP_STATE_FIN_WAIT_1] = 4,   [WEIR_TCP_STATE_FIN_WAIT_2] = 5,
        [WEIR_TCP_STATE_CLOSE_WAIT] = 8,   [WEIR_TCP_STATE_CLOSING] = 11,
        [WEIR_TCP_STATE_LAST_ACK] = 9,     [WEIR_TCP_STATE_TIME_WAIT] = 6};
    return state < sizeof(numbers) ? numbers[state] : 0;
}

enum {
    STATE_CLOSE = 7,
    STATE_LISTEN = 10,
    NO_THRESHOLD = 0x7fffffff /* the kernel's word for: none yet */
};

static uint32_t to_us(weir_nsec time)
{
    return (uint32_t)(time / WEIR_USEC);
}

static uint32_t to_segments(uint64_t bytes, uint32_t mss)
{
    return mss > 0 ? (uint32_t)((bytes + mss - 1) / mss) : 0;
}

static void fill_connection(const struct weir_tcp_conn_stats *stats, struct tcp_info *info)
{
    info->tcpi_state = state_number(stats->state);
    info->tcpi_options =
        (uint8_t)((stats->has_timestamps ? TCPI_OPT_TIMESTAMPS : 0) |
                  (stats->has_sack ? TCPI_OPT_SACK : 0) | (stats->has_ecn ? TCPI_OPT_ECN : 0));
    info->tcpi_rto = to_us(stats->rto);
    info->tcpi_rtt = to_us(stats->rtt);
    info->tcpi_rttvar = to_us(stats->rtt_variance);
    info->tcpi_min_rtt = to_us(stats->rtt_min);
    info->tcpi_snd_mss = stats->mss;
    info->tcpi_unacked = to_segments(stats->in_flight, stats->mss);
    info->tcpi_snd_cwnd = stats->mss > 0 ? (uint32_t)(stats->congestion_window / stats->mss) : 0;
    info->tcpi_snd_ssthresh = NO_THRESHOLD;
    info->tcpi_total_retrans = stats->resent_segments;
    info->tcpi_pacing_rate = stats->pacing_rate == 0 ? UINT64_MAX : stats->pacing_rate;
    info->tcpi_max_pacing_rate = UINT64_MAX;
    info->tcpi_notsent_bytes = stats->queued;
    info->tcpi_rcv_space = stats->receive_window;
    info->tcpi_snd_wnd = stats->peer_window;
}

size_t weir_drill_fill_info(const struct weir_drill *drill, const struct weir_drill_socket *socket,
                            void *info, size_t room)
{
    struct tcp_info filled = {.tcpi_state = socket->state == WEIR_DRILL_LISTENING ? STATE_LISTEN
                                                                                  : STATE_CLOSE,
                              .tcpi_pmtu = drill->ip.mtu_bytes};
    if (socket->conn != NULL) {
        struct weir_tcp_conn_stats stats;
        weir_tcp_conn_stats(drill->tcp, socket->conn, &stats);
        fill_connection(&stats, &filled);
    }
    if (room > sizeof(filled)) {
        room = sizeof(filled);
    }
    memcpy(info, &filled, room);
    return room;
}
