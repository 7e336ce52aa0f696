/* SPDX-License-Identifier: MIT */
/*
 * door.c - clients of a listening socket: a bounded number, bounded requests, bounded patience.
 */
#include "cli/door.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"

enum {
    DRAIN_BYTES = 4096 /* of what is thrown away, at a time */
};

struct client {
    int fd; /* -1: a free place */
    uint8_t *request;
    size_t used, known;
    struct cli_answer answer;
    size_t written;
    weir_nsec until;
    bool is_ended;   /* it sends no more */
    bool is_leaving; /* the last answer is out: what still comes is thrown away */
};

struct cli_door {
    struct cli_door_config config;
    int fd;
    weir_nsec closed_until; /* the system has no descriptor left: a pause */
    struct client clients[CLI_DOOR_CLIENTS_MAX];
    uint8_t at[CLI_DOOR_FDS_MAX]; /* the client of a pollfd; CLI_DOOR_CLIENTS_MAX: the listener */
};

struct cli_door *cli_door_open(int fd, const struct cli_door_config *config)
{
    struct cli_door *door =
        calloc(1, sizeof(*door) + CLI_DOOR_CLIENTS_MAX * config->request_bytes_max);
    if (door == NULL) {
        (void)close(fd);
        return NULL;
    }
    door->config = *config;
    door->fd = fd;
    uint8_t *requests = (uint8_t *)(door + 1);
    for (size_t i = 0; i < CLI_DOOR_CLIENTS_MAX; i++) {
        door->clients[i].fd = -1;
        door->clients[i].request = requests + i * config->request_bytes_max;
    }
    return door;
}

static void drop(struct client *client)
{
    (void)close(client->fd);
    free(client->answer.text);
    *client = (struct client){.fd = -1, .request = client->request};
}

void cli_door_close(struct cli_door *door)
{
    if (door == NULL) {
        return;
    }
    for (size_t i = 0; i < CLI_DOOR_CLIENTS_MAX; i++) {
        if (door->clients[i].fd >= 0) {
            drop(&door->clients[i]);
        }
    }
    (void)close(door->fd);
    free(door);
}

/* --- what to wait for ------------------------------------------------------------------------- */

uint32_t cli_door_fds(struct cli_door *door, weir_nsec now, struct pollfd fds[CLI_DOOR_FDS_MAX])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < CLI_DOOR_CLIENTS_MAX; i++) {
        const struct client *client = &door->clients[i];
        if (client->fd >= 0) {
            bool is_writing = client->answer.text != NULL;
            fds[count] = (struct pollfd){.fd = client->fd, .events = is_writing ? POLLOUT : POLLIN};
            door->at[count++] = (uint8_t)i;
        }
    }
    if (count < CLI_DOOR_CLIENTS_MAX && now >= door->closed_until) {
        fds[count] = (struct pollfd){.fd = door->fd, .events = POLLIN};
        door->at[count++] = CLI_DOOR_CLIENTS_MAX;
    }
    return count;
}

weir_nsec cli_door_next_timeout(const struct cli_door *door)
{
    weir_nsec next = door->closed_until > 0 ? door->closed_until : WEIR_NEVER;
    for (size_t i = 0; i < CLI_DOOR_CLIENTS_MAX; i++) {
        if (door->clients[i].fd >= 0) {
            next = weir_min_u64(next, door->clients[i].until);
        }
    }
    return next;
}

/* --- clients ---------------------------------------------------------------------------------- */

static void start_leaving(struct cli_door *door, struct client *client, weir_nsec now)
{
    /* A connection that is closed with bytes unread is reset, and the reset may overtake the
     * answer (RFC 9112 9.6). */
    client->is_leaving = true;
    client->used = 0;
    client->until = now + door->config.patience;
    (void)shutdown(client->fd, SHUT_WR);
}

/* False: dropped. */
static bool write_answer(struct cli_door *door, struct client *client, weir_nsec now)
{
    struct cli_answer *answer = &client->answer;
    while (client->written < answer->length) {
        ssize_t sent = send(client->fd, answer->text + client->written,
                            answer->length - client->written, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            if (errno == EAGAIN || errno == EINTR) {
                return true;
            }
            drop(client);
            return false;
        }
        client->written += (size_t)sent;
    }
    bool is_last = answer->is_last;
    free(answer->text);
    *answer = (struct cli_answer){0};
    client->written = 0;
    client->until = now + door->config.patience;
    if (is_last) {
        start_leaving(door, client, now);
    }
    return true;
}

/* Answers what is whole, one request after the other, as far as the answers are taken. */
static void answer_requests(struct cli_door *door, struct client *client, weir_nsec now)
{
    while (client->answer.text == NULL && !client->is_leaving) {
        size_t length = door->config.request_length(client->request, client->used, client->known);
        client->known = client->used;
        if (length == 0 && client->used < door->config.request_bytes_max) {
            break;
        }
        door->config.answer(door->config.user, length > 0 ? client->request : NULL, length,
                            &client->answer);
        if (client->answer.text == NULL) {
            drop(client);
            return;
        }
        client->answer.is_last |= length == 0;
        client->used -= length;
        client->known = 0;
        memmove(client->request, client->request + length, client->used);
        client->until = now + door->config.patience;
        if (!write_answer(door, client, now)) {
            return;
        }
    }
    if (client->is_ended && client->answer.text == NULL) {
        drop(client);
    }
}

static void read_requests(struct cli_door *door, struct client *client, weir_nsec now)
{
    uint8_t waste[DRAIN_BYTES];
    uint8_t *room = client->is_leaving ? waste : client->request + client->used;
    size_t room_bytes =
        client->is_leaving ? sizeof(waste) : door->config.request_bytes_max - client->used;
    ssize_t got = recv(client->fd, room, room_bytes, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got < 0 || (got == 0 && client->is_leaving)) {
        drop(client);
        return;
    }
    if (!client->is_leaving) {
        client->is_ended |= got == 0;
        client->used += (size_t)got;
        answer_requests(door, client, now);
    }
}

static void serve_client(struct cli_door *door, struct client *client, weir_nsec now, short events)
{
    if (client->answer.text == NULL) {
        if (events != 0) {
            read_requests(door, client, now);
        }
    } else if (events != 0 && write_answer(door, client, now)) {
        answer_requests(door, client, now);
    }
    if (client->fd >= 0 && now >= client->until) {
        drop(client);
    }
}

static struct client *free_place(struct cli_door *door)
{
    for (size_t i = 0; i < CLI_DOOR_CLIENTS_MAX; i++) {
        if (door->clients[i].fd < 0) {
            return &door->clients[i];
        }
    }
    return NULL;
}

static void accept_clients(struct cli_door *door, weir_nsec now)
{
    struct client *client = free_place(door);
    while (client != NULL) {
        int fd = accept4(door->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            bool is_short =
                errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS;
            door->closed_until = is_short ? now + WEIR_SEC : 0;
            return;
        }
        if (door->config.is_welcome != NULL && !door->config.is_welcome(fd)) {
            (void)close(fd);
            continue;
        }
        client->fd = fd;
        client->until = now + door->config.patience;
        client = free_place(door);
    }
}

void cli_door_serve(struct cli_door *door, weir_nsec now, const struct pollfd *fds, uint32_t count)
{
    if (now >= door->closed_until) {
        door->closed_until = 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (door->at[i] < CLI_DOOR_CLIENTS_MAX) {
            serve_client(door, &door->clients[door->at[i]], now, fds[i].revents);
        } else if (fds[i].revents != 0) {
            accept_clients(door, now);
        }
    }
}
