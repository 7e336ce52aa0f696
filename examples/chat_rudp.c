/* SPDX-License-Identifier: MIT */
/*
 * chat_rudp.c - the chat server of docs/tutorial.md: what one says goes to all others, uncopied.
 *
 *   chat_rudp 127.0.0.1:4433
 *   echo_rudp client 127.0.0.1:4433 "hello, all"    says it, prints the first thing it hears
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "weir/weir.h"

enum {
    MEMBERS_MAX = 64,
    TEXT_BYTES = 1000
};

/* Lent to every connection that it is sent on. */
struct line {
    struct weir_parcel parcel;
    uint8_t text[TEXT_BYTES];
};

struct chat {
    struct weir_rudp *endpoint;
    struct weir_rudp_conn *members[MEMBERS_MAX];
    unsigned count;
};

static void must(enum weir_status status, const char *what)
{
    if (status != WEIR_OK) {
        (void)fprintf(stderr, "chat_rudp: %s: %s\n", what, weir_status_text(status));
        _Exit(EXIT_FAILURE);
    }
}

static void on_line_done(struct line *line)
{
    if (line->parcel.references == 0) {
        free(line);
    }
}

/* To everyone but from. Whose queue is full does not keep up, and is put out. */
static void tell(struct chat *chat, const struct weir_rudp_conn *from, struct weir_span text)
{
    const struct weir_rudp_send how = {.guarantee = WEIR_RUDP_DELIVERY};
    struct line *line = malloc(sizeof(*line));
    must(line == NULL ? WEIR_ERR_MEMORY : WEIR_OK, "line");
    memcpy(line->text, text.data, text.length); /* fits: message_bytes_max is TEXT_BYTES */
    line->parcel =
        (struct weir_parcel){.data = line->text, .length = (uint32_t)text.length, .user = line};
    for (unsigned i = 0; i < chat->count; i++) {
        struct weir_rudp_conn *to = chat->members[i];
        if (to != from && weir_rudp_send_parcel(to, &how, &line->parcel) != WEIR_OK) {
            weir_rudp_abort(to, 1, "too slow");
        }
    }
    on_line_done(line);
}

static void leave(struct chat *chat, const struct weir_rudp_conn *conn)
{
    unsigned i = 0;
    while (chat->members[i] != conn) { /* a member since its REQUEST */
        i++;
    }
    chat->members[i] = chat->members[--chat->count];
}

static void on_events(void *user, weir_nsec now)
{
    struct chat *chat = user;
    struct weir_rudp_event event;
    (void)now;
    while (weir_rudp_event(chat->endpoint, &event) == WEIR_OK) {
        if (event.type == WEIR_RUDP_EVENT_REQUEST) { /* never more than connections_max */
            chat->members[chat->count++] = event.conn;
            weir_rudp_accept(event.conn, NULL);
        } else if (event.type == WEIR_RUDP_EVENT_MESSAGE) {
            tell(chat, event.conn, event.message.data);
        } else if (event.type == WEIR_RUDP_EVENT_PARCEL_DONE) {
            on_line_done(event.parcel.parcel->user);
        } else if (event.type == WEIR_RUDP_EVENT_CLOSED) {
            leave(chat, event.conn);
        }
    }
}

static struct weir_loop *open_chat(struct chat *chat, struct weir_udp_config udp)
{
    struct weir_loop_config loops;
    struct weir_loop *loop;
    weir_loop_config_default(&loops);
    must(weir_udp_open(&udp, &loops.driver, NULL, &(int){0}), "socket");
    struct weir_slide_config slides;
    weir_slide_config_default(&slides);
    void *slide_mem = weir_mem_map(weir_slide_mem_size(&slides));
    must(weir_slide_init(slide_mem, &slides, &loops.slide), "slide");
    must(weir_loop_open(&loops, &loop), "loop");
    struct weir_rudp_config config;
    uint8_t seed[32];
    weir_rudp_config_default(&config);
    config.slide = loops.slide;
    config.connections_max = MEMBERS_MAX;
    config.message_bytes_max = TEXT_BYTES;
    config.is_accepting = true;
    must(weir_secret_seed(seed, sizeof(seed)), "seed");
    void *mem = weir_mem_map(weir_rudp_mem_size(&config));
    must(weir_rudp_init(mem, &config, seed, weir_loop_now(loop), &chat->endpoint), "endpoint");
    weir_loop_attach(loop, chat->endpoint, weir_rudp_verbs(), on_events, chat);
    return loop;
}

/* How long epoll_wait may wait: milliseconds, rounded up; -1: for ever. */
static int wait_ms(struct weir_loop *loop)
{
    weir_nsec now = weir_loop_now(loop);
    weir_nsec due = weir_loop_next_timeout(loop);
    weir_nsec left = due > now ? due - now : 0;
    return due == WEIR_NEVER ? -1 : (int)((left + WEIR_MSEC - 1) / WEIR_MSEC);
}

int main(int argc, char **argv)
{
    struct chat chat = {0};
    struct weir_udp_config udp;
    weir_udp_config_default(&udp);
    must(argc == 2 ? weir_addr_parse(argv[1], &udp.bind) : WEIR_ERR_INVALID, "chat_rudp ADDR");
    struct weir_loop *loop = open_chat(&chat, udp);
    struct epoll_event ready;
    struct epoll_event wanted = {.events = EPOLLIN};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int ok = epoll_ctl(epoll, EPOLL_CTL_ADD, weir_loop_fd(loop), &wanted);
    while (ok == 0) {
        (void)epoll_wait(epoll, &ready, 1, wait_ms(loop)); /* other descriptors: here */
        must(weir_loop_run_once(loop, 0), "loop");
        wanted.events = weir_loop_is_blocked(loop) ? EPOLLIN | EPOLLOUT : EPOLLIN;
        ok = epoll_ctl(epoll, EPOLL_CTL_MOD, weir_loop_fd(loop), &wanted);
    }
    must(WEIR_ERR_OS, "epoll");
}
