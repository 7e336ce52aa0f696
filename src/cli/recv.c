/* SPDX-License-Identifier: MIT */
/*
 * recv.c - weir recv: takes files from weir send.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/crew.h"
#include "cli/incoming.h"
#include "cli/kcp_options.h"

enum {
    TRANSFERS_MAX = 16,
    WINDOW_BYTES = 8 << 20,
    SECONDARY_BYTES = 2 * WINDOW_BYTES, /* of a shard: more transfers in one are rare */
    MESSAGE_BYTES = 128 << 10
};

static const weir_nsec tick_time = 100 * WEIR_MSEC; /* for progress, locks and signals */
static const weir_nsec manifest_wait_max = 30 * WEIR_SEC;

struct options {
    const char *url;
    const char *directory;
    const char *trace;
    weir_nsec timeout;
    enum weir_cc_kind cc;
    struct cli_kcp_options kcp;
    struct cli_net_options net;
    struct cli_crew_options crew;
    bool is_once, is_quiet, is_cc_given;
};

struct receiver;

/* The transfers on one link: all of them, or with --workers those of a shard. */
struct part {
    struct receiver *receiver;
    struct cli_link link;
    struct cli_incoming_set set;
    struct cli_incoming slots[TRANSFERS_MAX];
    bool is_stopping;
    uint32_t is_quiet; /* atomic, stored by the shard: its last words have got through */
    uint8_t piece[CLI_INCOMING_PIECE_BYTES];
};

struct receiver {
    struct cli_incoming_wish wishes[CLI_CREW_SHARDS][TRANSFERS_MAX];
    struct options options;
    struct cli_url url;
    struct part *parts;
    uint32_t part_count;
    struct cli_incoming_all all;
    int root_fd;
    uint32_t
        is_ended; /* atomic, stored by the one shard that has it: --once, and that one is over */
    int result;   /* before is_ended */
};

static const char doc[] =
    "Take files and directories from weir send and put them into a directory."
    "\vURL is the address to listen on: rudp://*:PORT or kcp://*:PORT for all, rudp://ADDRESS:PORT "
    "for one; port 0 "
    "lets the system choose.\n\n"
    "A file is NAME.part until all of it has arrived and its SHA-256 is right. After a break the "
    "next send of the same file continues it. Nothing is ever written outside of DIR: symbolic "
    "links are not followed. Runs until it is interrupted.\n\n"
    "Examples:\n"
    "  weir recv rudp://*:4433 -o inbox\n"
    "  weir recv rudp://[::1]:4433 --once --quiet\n"
    "  weir recv kcp://*:4000 --preset turbo --key @secret\n"
    "  weir recv tcp://*:4433 --driver tun:weir0,10.7.0.2/24 -o inbox\n"
    "  weir recv rudp://*:4433 -o inbox --workers auto\n\n" CLI_KCP_MESSAGES_DOC;

static const struct argp_option option_list[] = {
    {"output", 'o', "DIR", 0, "Directory to write to, made when missing (default: .)", 0},
    {"once", '1', NULL, 0, "End after one transfer; exit 1 if it failed", 0},
    {"timeout", 't', "T", 0, "Give a silent sender up after T, e.g. 10s (default)", 0},
    {"cc", 'c', "NAME", 0,
     "Congestion control: cubic (default of rudp), bbr, newreno, none; kcp: its own", 0},
    {"trace", 'T', "FILE", 0, "Write all packets to FILE (pcapng, for Wireshark)", 0},
    {"quiet", 'q', NULL, 0, "No progress, only what went wrong", 0},
    {0}};

static const struct argp_child children[] = {
    {&cli_net_argp, 0, NULL, 0}, {&cli_kcp_argp, 0, NULL, 0}, {&cli_crew_argp, 0, NULL, 0}, {0}};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case 'o':
        options->directory = argument;
        return 0;
    case '1':
        options->is_once = true;
        return 0;
    case 't':
        if (!cli_read_duration(argument, &options->timeout) || options->timeout < 100 * WEIR_MSEC) {
            return cli_fail(EINVAL, "--timeout '%s' is not a time of at least 100ms; write 10s",
                            argument);
        }
        return 0;
    case 'c':
        if (weir_cc_parse(argument, &options->cc) != WEIR_OK) {
            return cli_fail(EINVAL, "--cc '%s': there are cubic, bbr, newreno and none", argument);
        }
        options->is_cc_given = true;
        return 0;
    case 'T':
        options->trace = argument;
        return 0;
    case 'q':
        options->is_quiet = true;
        return 0;
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->net;
        state->child_inputs[1] = &options->kcp;
        state->child_inputs[2] = &options->crew;
        return 0;
    case ARGP_KEY_ARG:
        if (options->url != NULL) {
            return cli_fail(EINVAL, "one URL only; '%s' is too much", argument);
        }
        options->url = argument;
        return 0;
    case ARGP_KEY_END:
        if (options->url == NULL) {
            return cli_fail(EINVAL, "no URL; write weir recv rudp://*:PORT");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* --- connections ------------------------------------------------------------------------------ */

static bool has_ended(const struct receiver *receiver)
{
    return __atomic_load_n(&receiver->is_ended, __ATOMIC_ACQUIRE) != 0;
}

/* NULL: no place. */
static struct cli_incoming *take_slot(struct part *part)
{
    struct receiver *receiver = part->receiver;
    const uint32_t max = receiver->options.is_once ? 1 : TRANSFERS_MAX;
    /* In this order: with --once the end of the first is seen by whoever gets its place. A claim
     * that comes after it is nobody's. */
    if (part->is_stopping || !cli_incoming_claim(&receiver->all, max) || has_ended(receiver)) {
        return NULL;
    }
    uint32_t i = 0;
    while (part->slots[i].stage != CLI_INCOMING_FREE) {
        i++; /* as many as may be claimed */
    }
    return &part->slots[i];
}

static void on_request(struct part *part, struct cli_conn *conn, weir_nsec now)
{
    struct cli_incoming *in = take_slot(part);
    if (in == NULL) {
        cli_link_refuse(&part->link, conn, CLI_TRANSFER_CODE_BUSY,
                        "the receiver is busy; try again later");
        return;
    }
    cli_link_accept(&part->link, conn, in);
    cli_incoming_open(in, &part->set, conn, now);
}

static void on_closed(struct part *part, const struct cli_event *event, weir_nsec now)
{
    struct receiver *receiver = part->receiver;
    struct cli_incoming *in = event->closed.user;
    if (in == NULL || in->stage == CLI_INCOMING_FREE) {
        return;
    }
    if (receiver->options.is_once) {
        /* Before its place is free: nobody else is to begin. */
        receiver->result = in->stage == CLI_INCOMING_COMPLETE ? CLI_OK : CLI_FAILED;
        __atomic_store_n(&receiver->is_ended, 1, __ATOMIC_RELEASE);
    }
    (void)cli_incoming_close(in, event, now);
}

static void on_events(void *user, weir_nsec now)
{
    struct part *part = user;
    struct cli_event event;
    while (cli_link_event(&part->link, &event) == WEIR_OK) {
        switch (event.type) {
        case CLI_EVENT_REQUEST:
            on_request(part, event.conn, now);
            break;
        case CLI_EVENT_MESSAGE:
            cli_incoming_on_message(cli_link_user(&part->link, event.conn), event.message.data,
                                    now);
            break;
        case CLI_EVENT_CLOSED:
            on_closed(part, &event, now);
            break;
        case CLI_EVENT_OPENED:
        case CLI_EVENT_PARCEL_DONE:
        case CLI_EVENT_WRITABLE:
        default:
            break;
        }
    }
}

/* One round of work for every transfer; true when there is more to do at once. */
static bool step_all(struct part *part, weir_nsec now)
{
    bool is_more = false;
    for (uint32_t i = 0; i < TRANSFERS_MAX; i++) {
        struct cli_incoming *in = &part->slots[i];
        if (in->stage == CLI_INCOMING_FREE) {
            continue;
        }
        is_more |= cli_incoming_step(in, now);
        bool is_before_list = in->stage == CLI_INCOMING_HELLO || in->stage == CLI_INCOMING_MANIFEST;
        if (is_before_list && now > in->last_message &&
            now - in->last_message > manifest_wait_max) {
            cli_incoming_fail(in, CLI_TRANSFER_CODE_PROTOCOL, CLI_TRANSFER_NO_INDEX,
                              "the sender says nothing");
        }
    }
    cli_incoming_heed(&part->set, now);
    return is_more;
}

static void stop_all(struct part *part)
{
    part->is_stopping = true;
    for (uint32_t i = 0; i < TRANSFERS_MAX; i++) {
        struct cli_incoming *in = &part->slots[i];
        if (in->stage != CLI_INCOMING_FREE && in->stage != CLI_INCOMING_COMPLETE) {
            cli_incoming_fail(in, CLI_TRANSFER_CODE_STOPPED, CLI_TRANSFER_NO_INDEX,
                              "the receiver was stopped by its user");
        }
    }
}

static int run(struct part *part)
{
    const struct receiver *receiver = part->receiver;
    weir_nsec stop_at = WEIR_NEVER;
    bool is_more = false;
    while (!has_ended(receiver)) {
        weir_nsec wait = is_more ? 0 : part->set.active > 0 ? tick_time : WEIR_SEC;
        if (weir_loop_run_once(part->link.loop, wait) != WEIR_OK) {
            return cli_fail(CLI_FAILED, "the socket failed: %s",
                            cli_text_errno(part->link.driver->error));
        }
        weir_nsec now = weir_loop_now(part->link.loop);
        if (cli_is_stopping && stop_at == WEIR_NEVER) {
            stop_at = now + WEIR_SEC; /* for the farewells to get through */
            stop_all(part);
        }
        is_more = step_all(part, now);
        if (stop_at != WEIR_NEVER && (part->set.active == 0 || now >= stop_at)) {
            break;
        }
        if (weir_loop_flush(part->link.loop) != WEIR_OK) {
            return cli_fail(CLI_FAILED, "the socket failed: %s",
                            cli_text_errno(part->link.driver->error));
        }
    }
    return receiver->result;
}

/* --- start ------------------------------------------------------------------------------------ */

static int open_directory(const char *path)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        cli_fail(CLI_FAILED, "cannot make the directory '%s': %s", path, cli_text_errno(errno));
        return -1;
    }
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        cli_fail(CLI_FAILED, "cannot open the directory '%s': %s", path, cli_text_errno(errno));
        return -1;
    }
    if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) != 0) {
        cli_fail(CLI_FAILED, "cannot write to the directory '%s': %s", path, cli_text_errno(errno));
        close(fd);
        return -1;
    }
    return fd;
}

static void configure(const struct receiver *receiver, struct cli_link_options *link)
{
    const struct options *options = &receiver->options;
    cli_link_options_default(link);
    link->scheme = receiver->url.scheme;
    link->bind = receiver->url.addr;
    link->trace_path = options->trace;
    link->is_accepting = true;
    link->connections_max = TRANSFERS_MAX * 2; /* those being refused or ending beside */
    link->awake_max = link->connections_max;
    link->message_bytes_max = MESSAGE_BYTES;
    link->receive_window_bytes = WINDOW_BYTES;
    link->cc = options->cc;
    link->is_cc_given = options->is_cc_given;
    link->kcp = &options->kcp;
    link->net = &options->net;
    cli_link_set_timeout(link, options->timeout);
}

static void say_address(const struct receiver *receiver, const struct weir_addr *local)
{
    char addr[WEIR_ADDR_TEXT_BYTES];
    weir_addr_format(local, addr);
    if (!receiver->options.is_quiet) {
        (void)fprintf(stderr, "listening on %s://%s, writing to %s\n", receiver->url.scheme, addr,
                      receiver->options.directory);
        (void)fflush(stderr);
    }
}

static int run_alone(struct receiver *receiver)
{
    struct part *part = &receiver->parts[0];
    struct cli_link_options options;
    configure(receiver, &options);
    if (!cli_link_open(&part->link, &options, on_events, part)) {
        return CLI_FAILED;
    }
    say_address(receiver, &part->link.local);
    int code = run(part);
    cli_link_close(&part->link);
    return code;
}

/* --- with workers ----------------------------------------------------------------------------- */

/* After every round of the shard. Steps are as far apart as without a crew, unless there is more to
 * do at once. */
static weir_nsec tick(void *user, weir_nsec now)
{
    struct part *part = user;
    const bool is_more = step_all(part, now);
    const bool is_quiet = part->set.active == 0 && cli_link_is_quiet(&part->link);
    __atomic_store_n(&part->is_quiet, is_quiet, __ATOMIC_RELEASE);
    return is_more ? now : part->set.active > 0 ? now + tick_time : WEIR_NEVER;
}

static bool open_part(void *user, struct cli_crew *crew, uint32_t shard)
{
    struct receiver *receiver = user;
    struct part *part = &receiver->parts[shard];
    struct cli_link_options options;
    configure(receiver, &options);
    return cli_link_open_in(&part->link, &options, crew, shard, on_events, tick, part);
}

static void close_part(void *user, struct cli_crew *crew, uint32_t shard)
{
    const struct receiver *receiver = user;
    (void)crew;
    cli_link_close(&receiver->parts[shard].link);
}

static void stop_part(void *shard_user, weir_nsec now)
{
    (void)now;
    stop_all(shard_user);
}

static bool is_done(void *user)
{
    return has_ended(user);
}

static bool is_all_quiet(void *user)
{
    const struct receiver *receiver = user;
    for (uint32_t i = 0; i < receiver->part_count; i++) {
        if (__atomic_load_n(&receiver->parts[i].is_quiet, __ATOMIC_ACQUIRE) == 0) {
            return false;
        }
    }
    return true;
}

static int run_crew(struct receiver *receiver)
{
    static struct cli_crew crew;
    static const struct cli_crew_command command = {.open = open_part,
                                                    .close = close_part,
                                                    .stop = stop_part,
                                                    .is_done = is_done,
                                                    .has_ended = is_all_quiet};
    const struct cli_crew_config config = {.options = &receiver->options.crew,
                                           .net = &receiver->options.net,
                                           .scheme = receiver->url.scheme,
                                           .bind = receiver->url.addr,
                                           .trace_path = receiver->options.trace,
                                           .shard_secondary_bytes = SECONDARY_BYTES,
                                           .is_quiet = receiver->options.is_quiet,
                                           .has_queues = true,
                                           .command = &command,
                                           .user = receiver};
    if (!cli_crew_open(&crew, &config)) {
        return CLI_FAILED;
    }
    say_address(receiver, &crew.local);
    int code = cli_crew_run(&crew);
    cli_crew_close(&crew);
    return code != CLI_OK ? code : receiver->result;
}

static bool open_parts(struct receiver *receiver)
{
    receiver->part_count = receiver->options.crew.is_given ? CLI_CREW_SHARDS : 1;
    receiver->all = (struct cli_incoming_all){.wishes_count = receiver->part_count * TRANSFERS_MAX,
                                              .wishes = receiver->wishes[0]};
    receiver->parts = calloc(receiver->part_count, sizeof(*receiver->parts));
    if (receiver->parts == NULL) {
        cli_fail(CLI_FAILED, "the system gave no memory");
        return false;
    }
    for (uint32_t i = 0; i < receiver->part_count; i++) {
        struct part *part = &receiver->parts[i];
        part->receiver = receiver;
        part->set = (struct cli_incoming_set){.all = &receiver->all,
                                              .wishes = receiver->wishes[i],
                                              .slots = part->slots,
                                              .slots_count = TRANSFERS_MAX,
                                              .link = &part->link,
                                              .root_fd = receiver->root_fd,
                                              .piece = part->piece,
                                              .is_quiet = receiver->options.is_quiet};
    }
    return true;
}

int cli_recv(int argc, char **argv)
{
    static struct receiver receiver;
    static const struct argp argp = {option_list, parse_option, "URL", doc, children, NULL, NULL};
    receiver.options = (struct options){.directory = ".", .timeout = 10 * WEIR_SEC};
    if (!cli_read_options(&argp, argc, argv, &receiver.options) ||
        !cli_read_url(receiver.options.url, true, &receiver.url) ||
        !cli_crew_check(&receiver.options.crew, &receiver.options.net) ||
        !cli_link_check_options(receiver.url.scheme, &receiver.options.kcp,
                                &receiver.options.net)) {
        return CLI_USAGE;
    }
    receiver.root_fd = open_directory(receiver.options.directory);
    if (receiver.root_fd < 0) {
        return CLI_FAILED;
    }
    cli_catch_signals();
    int result = CLI_FAILED;
    if (open_parts(&receiver)) {
        result = receiver.options.crew.is_given ? run_crew(&receiver) : run_alone(&receiver);
    }
    free(receiver.parts);
    close(receiver.root_fd);
    return result;
}
