/* SPDX-License-Identifier: MIT */
/*
 * transfer_probe.c - a peer of weir recv that misbehaves, and prints what it is told for it.
 *
 *     transfer_probe PORT later|escape|absolute|twice|setuid|junk|turn|beyond
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/transfer_wire.h"
#include "weir/weir.h"

struct probe {
    struct weir_rudp *endpoint;
    bool is_closed, is_welcome, is_ready;
};

static const struct weir_rudp_send delivery = {.guarantee = WEIR_RUDP_DELIVERY};

static void on_message(struct probe *probe, struct weir_span data)
{
    struct cli_transfer_message message;
    char text[CLI_TRANSFER_TEXT_BYTES_MAX + 1];
    if (cli_transfer_decode(data, &message) != WEIR_OK) {
        return;
    }
    probe->is_welcome |= message.type == CLI_TRANSFER_WELCOME;
    probe->is_ready |= message.type == CLI_TRANSFER_READY;
    if (message.type == CLI_TRANSFER_FAILED) {
        cli_transfer_printable(message.failed.text, text, sizeof(text));
        (void)printf("%u %s\n", message.failed.code, text);
    }
}

static void on_events(void *user, weir_nsec now)
{
    struct probe *probe = user;
    struct weir_rudp_event event;
    (void)now;
    while (weir_rudp_event(probe->endpoint, &event) == WEIR_OK) {
        if (event.type == WEIR_RUDP_EVENT_MESSAGE) {
            on_message(probe, event.message.data);
        }
        probe->is_closed |= event.type == WEIR_RUDP_EVENT_CLOSED;
    }
}

static void check(bool is_good, const char *what)
{
    if (!is_good) {
        (void)fprintf(stderr, "transfer_probe: %s\n", what);
        _Exit(2);
    }
}

static struct weir_loop *open_loop(struct probe *probe, struct weir_driver **driver)
{
    struct weir_slide_config slide_config;
    struct weir_rudp_config config;
    struct weir_loop_config loop_config;
    struct weir_udp_config udp;
    struct weir_loop *loop = NULL;
    const uint8_t seed[32] = {1};
    int error;
    weir_slide_config_default(&slide_config);
    weir_rudp_config_default(&config);
    weir_loop_config_default(&loop_config);
    weir_udp_config_default(&udp);
    udp.bind = (struct weir_addr){.family = WEIR_ADDR_IP4};
    config.connections_max = 1;
    config.awake_max = 1;
    void *slide_mem = weir_mem_map(weir_slide_mem_size(&slide_config));
    check(slide_mem != NULL && weir_slide_init(slide_mem, &slide_config, &config.slide) == WEIR_OK,
          "no slide");
    check(weir_udp_open(&udp, &loop_config.driver, NULL, &error) == WEIR_OK, "no socket");
    *driver = loop_config.driver;
    loop_config.slide = config.slide;
    check(weir_loop_open(&loop_config, &loop) == WEIR_OK, "no loop");
    void *mem = weir_mem_map(weir_rudp_mem_size(&config));
    check(mem != NULL &&
              weir_rudp_init(mem, &config, seed, weir_loop_now(loop), &probe->endpoint) == WEIR_OK,
          "no endpoint");
    weir_loop_attach(loop, probe->endpoint, weir_rudp_verbs(), on_events, probe);
    return loop;
}

static void run_until(struct probe *probe, struct weir_loop *loop, const bool *is_done)
{
    weir_nsec end = weir_loop_now(loop) + 20 * WEIR_SEC;
    while (!*is_done && !probe->is_closed) {
        check(weir_loop_run_once(loop, 100 * WEIR_MSEC) == WEIR_OK, "the loop failed");
        check(weir_loop_now(loop) < end, "nothing happened for 20 s");
    }
}

static void send_message(struct weir_rudp_conn *conn, const struct cli_transfer_message *message,
                         struct weir_span tail)
{
    static uint8_t bytes[CLI_TRANSFER_CHUNK_BYTES_MAX];
    size_t length = cli_transfer_encode(message, bytes);
    check(tail.length <= sizeof(bytes) - length, "too long");
    if (tail.length > 0) {
        memcpy(bytes + length, tail.data, tail.length);
    }
    check(weir_rudp_send(conn, &delivery, bytes, length + tail.length) == WEIR_OK, "no send");
}

static void send_manifest(struct weir_rudp_conn *conn, const char *path, uint16_t mode,
                          uint32_t repeat)
{
    uint8_t entries[2048];
    size_t used = 0;
    struct cli_transfer_message message = {.type = CLI_TRANSFER_MANIFEST,
                                           .manifest = {.is_last = true}};
    struct cli_transfer_entry entry = {.kind = CLI_TRANSFER_KIND_FILE,
                                       .mode = mode,
                                       .size = 4,
                                       .path = weir_span_of(path, strlen(path))};
    for (uint32_t i = 0; i < repeat; i++) {
        used += cli_transfer_encode_entry(&entry, entries + used, sizeof(entries) - used);
    }
    send_message(conn, &message, weir_span_of(entries, used));
}

/* After an honest HELLO. */
static void misbehave(struct probe *probe, struct weir_loop *loop, struct weir_rudp_conn *conn,
                      const char *how)
{
    static const uint8_t five[5] = {1, 2, 3, 4, 5};
    struct cli_transfer_message file = {.type = CLI_TRANSFER_FILE};
    struct cli_transfer_message data = {.type = CLI_TRANSFER_DATA};
    if (strcmp(how, "escape") == 0) {
        send_manifest(conn, "../escaped", 0644, 1);
    } else if (strcmp(how, "absolute") == 0) {
        send_manifest(conn, "/tmp/escaped", 0644, 1);
    } else if (strcmp(how, "twice") == 0) {
        send_manifest(conn, "same", 0644, 2);
    } else if (strcmp(how, "setuid") == 0) {
        send_manifest(conn, "tool", 04755, 1);
    } else if (strcmp(how, "turn") == 0) {
        send_message(conn, &data, weir_span_of(five, 4));
    } else if (strcmp(how, "beyond") == 0) { /* five bytes of a file of four */
        send_manifest(conn, "short", 0644, 1);
        run_until(probe, loop, &probe->is_ready);
        send_message(conn, &file, weir_span_of(NULL, 0));
        send_message(conn, &data, weir_span_of(five, 5));
    } else {
        check(false, "no such misbehaviour");
    }
}

int main(int argc, char **argv)
{
    struct probe probe = {0};
    struct weir_rudp_conn *conn = NULL;
    struct weir_addr remote;
    char text[32];
    check(argc == 3, "usage: transfer_probe PORT HOW");
    (void)snprintf(text, sizeof(text), "127.0.0.1:%s", argv[1]);
    check(weir_addr_parse(text, &remote) == WEIR_OK, "no such port");
    struct weir_driver *driver;
    struct weir_loop *loop = open_loop(&probe, &driver);
    check(weir_rudp_connect(probe.endpoint, weir_loop_now(loop), &remote, NULL, &conn) == WEIR_OK,
          "no connection");
    bool is_later = strcmp(argv[2], "later") == 0;
    uint16_t version = is_later ? CLI_TRANSFER_VERSION + 1 : CLI_TRANSFER_VERSION;
    struct cli_transfer_message hello = {.type = CLI_TRANSFER_HELLO,
                                         .hello = {.version_min = version, .version_max = version}};
    if (strcmp(argv[2], "junk") == 0) {
        check(weir_rudp_send(conn, &delivery, "GET / HTTP/1.1", 14) == WEIR_OK, "no send");
    } else {
        send_message(conn, &hello, weir_span_of(NULL, 0));
        if (!is_later) {
            run_until(&probe, loop, &probe.is_welcome);
            misbehave(&probe, loop, conn, argv[2]);
        }
    }
    run_until(&probe, loop, &probe.is_closed);
    weir_loop_close(loop);
    driver->ops->close(driver);
    return 0;
}
