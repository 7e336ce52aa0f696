/* SPDX-License-Identifier: MIT */
/*
 * echo_rudp.c - an echo server and its client in one program, with the public headers only.
 *
 *   echo_rudp server 127.0.0.1:4433         answers every message with itself, until interrupted
 *   echo_rudp client 127.0.0.1:4433 text    sends text, prints the answer
 *
 * What every user of the engine does is here: memory for the slide buffer and the endpoint, a
 * driver, a loop over both, and a function that pulls the events.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/weir.h"

struct echo {
    struct weir_rudp *endpoint;
    struct weir_rudp_conn *client; /* NULL in the server and when closed */
    const char *text;              /* what the client sends */
    int result;
};

static const struct weir_rudp_send reliably = {.guarantee = WEIR_RUDP_DELIVERY};

static void die(const char *what, enum weir_status status)
{
    (void)fprintf(stderr, "echo_rudp: %s: %s\n", what, weir_status_text(status));
    _Exit(EXIT_FAILURE);
}

/* Data of a message is borrowed until the next event: sent back (copied) or printed at once. */
static void on_message(struct echo *echo, const struct weir_rudp_event *event)
{
    struct weir_span data = event->message.data;
    if (echo->text == NULL) {
        enum weir_status status = weir_rudp_send(event->conn, &reliably, data.data, data.length);
        if (status != WEIR_OK) {
            weir_rudp_abort(event->conn, 1, weir_status_text(status));
        }
        return;
    }
    (void)printf("%.*s\n", (int)data.length, (const char *)data.data);
    echo->result = EXIT_SUCCESS;
    weir_rudp_close(event->conn, 0, "thank you");
}

static void on_events(void *user, weir_nsec now)
{
    struct echo *echo = user;
    struct weir_rudp_event event;
    (void)now;
    while (weir_rudp_event(echo->endpoint, &event) == WEIR_OK) {
        if (event.type == WEIR_RUDP_EVENT_REQUEST) {
            weir_rudp_accept(event.conn, NULL);
        } else if (event.type == WEIR_RUDP_EVENT_MESSAGE) {
            on_message(echo, &event);
        } else if (event.type == WEIR_RUDP_EVENT_CLOSED) {
            (void)fprintf(stderr, "closed: %s\n", event.closed.text);
            echo->client = NULL;
        }
    }
}

/* Slide buffer, endpoint and loop. A program that ends with them need not free them. */
static struct weir_loop *open_endpoint(struct echo *echo, struct weir_driver *driver)
{
    struct weir_slide_config slide_config;
    struct weir_rudp_config config;
    struct weir_loop_config loop_config;
    struct weir_loop *loop = NULL;
    uint8_t seed[32];
    weir_slide_config_default(&slide_config);
    weir_rudp_config_default(&config);
    weir_loop_config_default(&loop_config);
    void *slide_mem = weir_mem_map(weir_slide_mem_size(&slide_config));
    if (slide_mem == NULL || weir_slide_init(slide_mem, &slide_config, &config.slide) != WEIR_OK) {
        die("slide", WEIR_ERR_MEMORY);
    }
    config.is_accepting = echo->text == NULL;
    loop_config.driver = driver;
    loop_config.slide = config.slide;
    void *mem = weir_mem_map(weir_rudp_mem_size(&config));
    if (mem == NULL) {
        die("endpoint", WEIR_ERR_MEMORY);
    }
    enum weir_status status = weir_loop_open(&loop_config, &loop);
    if (status != WEIR_OK || (status = weir_secret_seed(seed, sizeof(seed))) != WEIR_OK ||
        (status = weir_rudp_init(mem, &config, seed, weir_loop_now(loop), &echo->endpoint)) !=
            WEIR_OK) {
        die("set-up", status);
    }
    weir_loop_attach(loop, echo->endpoint, weir_rudp_verbs(), on_events, echo);
    return loop;
}

/* Messages may be queued before the connection is open. */
static void start_client(struct echo *echo, struct weir_loop *loop, const struct weir_addr *remote)
{
    enum weir_status status =
        weir_rudp_connect(echo->endpoint, weir_loop_now(loop), remote, NULL, &echo->client);
    if (status == WEIR_OK) {
        status = weir_rudp_send(echo->client, &reliably, echo->text, strlen(echo->text));
    }
    if (status != WEIR_OK) {
        die("connect", status);
    }
}

int main(int argc, char **argv)
{
    struct echo echo = {.result = EXIT_FAILURE};
    struct weir_udp_config udp;
    struct weir_driver *driver = NULL;
    struct weir_addr addr;
    int os_error = 0;
    bool is_client = argc == 4 && strcmp(argv[1], "client") == 0;
    if (!is_client && !(argc == 3 && strcmp(argv[1], "server") == 0)) {
        (void)fprintf(stderr, "usage: echo_rudp server ADDR | echo_rudp client ADDR TEXT\n");
        return 2;
    }
    enum weir_status status = weir_addr_parse(argv[2], &addr);
    weir_udp_config_default(&udp);
    udp.bind = is_client ? (struct weir_addr){.family = addr.family} : addr;
    echo.text = is_client ? argv[3] : NULL;
    if (status != WEIR_OK || (status = weir_udp_open(&udp, &driver, NULL, &os_error)) != WEIR_OK) {
        die(argv[2], status);
    }
    struct weir_loop *loop = open_endpoint(&echo, driver);
    if (is_client) {
        start_client(&echo, loop, &addr);
    }
    while ((!is_client || echo.client != NULL) && status == WEIR_OK) {
        status = weir_loop_run_once(loop, WEIR_SEC);
    }
    return echo.result;
}
