/* SPDX-License-Identifier: MIT */
/*
 * tcp_echo.c - an echo server on weir's own TCP and IP, over a tun device.
 *
 *   tcp_echo weir0 10.7.0.2:7      the device is made; the kernel's end of it is 10.7.0.1
 *
 * Then, in another terminal: nc 10.7.0.2 7. Takes CAP_NET_ADMIN.
 *
 * A connection that keeps up costs nothing here. One whose queue is full is paused, and what could
 * not be sent is held where it was received until there is room.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/weir.h"

struct echo {
    struct weir_slide *slide;
    struct weir_tcp *tcp;
};

/* What is still to be sent back on a connection: its weir_tcp_user. */
struct backlog {
    struct weir_hold hold;
};

static void die(const char *what, const char *about)
{
    (void)fprintf(stderr, "tcp_echo: %s: %s\n", what, about);
    _Exit(EXIT_FAILURE);
}

static void must(enum weir_status status, const char *what)
{
    if (status != WEIR_OK) {
        die(what, weir_status_text(status));
    }
}

static void on_data(void *user, struct weir_tcp_conn *conn, struct weir_span span)
{
    struct echo *echo = user;
    enum weir_status status = weir_tcp_send(echo->tcp, conn, span.data, span.length);
    if (status != WEIR_ERR_FULL) {
        return; /* sent, or the connection is over */
    }
    struct backlog *backlog = malloc(sizeof(*backlog));
    if (backlog == NULL || weir_slide_hold(echo->slide, &backlog->hold, span) != WEIR_OK) {
        free(backlog);
        (void)weir_tcp_abort(echo->tcp, conn);
        return;
    }
    weir_tcp_set_user(echo->tcp, conn, backlog);
    (void)weir_tcp_pause(echo->tcp, conn, true);
}

static void on_writable(void *user, struct weir_tcp_conn *conn)
{
    struct echo *echo = user;
    struct backlog *backlog = weir_tcp_user(echo->tcp, conn);
    if (backlog == NULL || weir_tcp_send(echo->tcp, conn, backlog->hold.span.data,
                                         backlog->hold.span.length) == WEIR_ERR_FULL) {
        return;
    }
    weir_slide_drop(echo->slide, &backlog->hold);
    free(backlog);
    weir_tcp_set_user(echo->tcp, conn, NULL);
    (void)weir_tcp_pause(echo->tcp, conn, false);
}

static void on_closed(void *user, struct weir_tcp_conn *conn, enum weir_tcp_close_cause cause,
                      void *conn_user)
{
    struct echo *echo = user;
    struct backlog *backlog = conn_user;
    (void)conn;
    (void)cause;
    if (backlog != NULL) {
        weir_slide_drop(echo->slide, &backlog->hold);
        free(backlog);
    }
}

/* Our IP on a tun device; the kernel gets the first other address of the /24. */
static struct weir_driver *open_driver(const char *name, const struct weir_addr *addr)
{
    char problem[WEIR_PROBLEM_BYTES];
    struct weir_tun_config tun;
    struct weir_inet_config inet;
    struct weir_driver *driver = NULL;
    weir_tun_config_default(&tun);
    (void)snprintf(tun.name, sizeof(tun.name), "%s", name);
    tun.host = *addr;
    tun.host.ip[3] = addr->ip[3] == 1 ? 2 : 1;
    tun.host_prefix = 24;
    if (weir_tun_open(&tun, &driver, problem) != WEIR_OK) {
        die(name, problem);
    }
    weir_inet_config_default(&inet, weir_tun_interface(driver));
    inet.ip.addresses[0] = (struct weir_ip_address){.addr = *addr, .prefix = 24};
    inet.ip.address_count = 1;
    must(weir_inet_open(driver, &inet, &driver), "IP");
    return driver;
}

static void *map(size_t bytes)
{
    void *mem = weir_mem_map(bytes);
    must(mem != NULL ? WEIR_OK : WEIR_ERR_MEMORY, "memory");
    return mem;
}

int main(int argc, char **argv)
{
    struct echo echo;
    struct weir_addr addr;
    struct weir_slide_config slide;
    struct weir_tcp_config tcp;
    struct weir_loop_config loop_config;
    struct weir_loop *loop;
    uint8_t seed[32];
    int listener;
    if (argc != 3 || weir_addr_parse(argv[2], &addr) != WEIR_OK || addr.family != WEIR_ADDR_IP4) {
        (void)fprintf(stderr, "usage: tcp_echo DEVICE ADDR:PORT\n");
        return 2;
    }
    weir_slide_config_default(&slide);
    weir_tcp_config_default(&tcp);
    weir_loop_config_default(&loop_config);
    must(weir_slide_init(map(weir_slide_mem_size(&slide)), &slide, &echo.slide), "slide");
    tcp.slide = loop_config.slide = echo.slide;
    tcp.has_users = true;
    loop_config.driver = open_driver(argv[1], &addr);
    must(weir_loop_open(&loop_config, &loop), "loop");
    must(weir_secret_seed(seed, sizeof(seed)), "seed");
    must(weir_tcp_init(map(weir_tcp_mem_size(&tcp)), &tcp, seed, weir_loop_now(loop), &echo.tcp),
         "TCP");
    must(weir_tcp_listen(echo.tcp, &addr, &listener), "listen");
    /* Without on_peer_closed our side ends when the client's does, behind what is queued. */
    struct weir_tcp_callbacks callbacks = {.endpoint = echo.tcp,
                                           .user = &echo,
                                           .on_data = on_data,
                                           .on_writable = on_writable,
                                           .on_closed = on_closed};
    weir_loop_attach(loop, echo.tcp, weir_tcp_verbs(), weir_tcp_callbacks_run, &callbacks);
    (void)fprintf(stderr, "ready\n");
    for (;;) {
        must(weir_loop_run_once(loop, WEIR_SEC), "loop");
    }
}
