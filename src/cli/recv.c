/* SPDX-License-Identifier: MIT */
/*
 * recv.c - weir recv: takes files from weir send.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/incoming.h"
#include "cli/kcp_options.h"

enum {
    TRANSFERS_MAX = 16,
    WINDOW_BYTES = 8 << 20,
    MESSAGE_BYTES = 128 << 10
};

static const weir_nsec tick = 100 * WEIR_MSEC; /* for progress, locks and signals */
static const weir_nsec manifest_wait_max = 30 * WEIR_SEC;

struct options {
    const char *url;
    const char *directory;
    const char *trace;
    weir_nsec timeout;
    enum weir_cc_kind cc;
    struct cli_kcp_options kcp;
    struct cli_net_options net;
    bool is_once, is_quiet, is_cc_given;
};

struct receiver {
    struct options options;
    struct cli_link link;
    struct cli_incoming_set set;
    struct cli_incoming slots[TRANSFERS_MAX];
    bool is_ended; /* --once, and that one is over */
    int result;
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
    "  weir recv tcp://*:4433 --driver tun:weir0,10.7.0.2/24 -o inbox\n\n" CLI_KCP_MESSAGES_DOC;

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
    {&cli_net_argp, 0, NULL, 0}, {&cli_kcp_argp, 0, NULL, 0}, {0}};

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

static void on_request(struct receiver *receiver, struct cli_conn *conn, weir_nsec now)
{
    uint32_t slots = receiver->options.is_once ? 1 : TRANSFERS_MAX;
    for (uint32_t i = 0; i < slots && !receiver->is_ended && !cli_is_stopping; i++) {
        struct cli_incoming *in = &receiver->slots[i];
        if (in->stage == CLI_INCOMING_FREE) {
            cli_link_accept(&receiver->link, conn, in);
            cli_incoming_open(in, &receiver->set, conn, now);
            return;
        }
    }
    cli_link_refuse(&receiver->link, conn, CLI_TRANSFER_CODE_BUSY,
                    "the receiver is busy; try again later");
}

static void on_closed(struct receiver *receiver, const struct cli_event *event, weir_nsec now)
{
    struct cli_incoming *in = event->closed.user;
    if (in == NULL || in->stage == CLI_INCOMING_FREE) {
        return;
    }
    bool is_complete = cli_incoming_close(in, event, now);
    if (receiver->options.is_once) {
        receiver->is_ended = true;
        receiver->result = is_complete ? CLI_OK : CLI_FAILED;
    }
}

static void on_events(void *user, weir_nsec now)
{
    struct receiver *receiver = user;
    struct cli_event event;
    while (cli_link_event(&receiver->link, &event) == WEIR_OK) {
        switch (event.type) {
        case CLI_EVENT_REQUEST:
            on_request(receiver, event.conn, now);
            break;
        case CLI_EVENT_MESSAGE:
            cli_incoming_on_message(cli_link_user(&receiver->link, event.conn), event.message.data,
                                    now);
            break;
        case CLI_EVENT_CLOSED:
            on_closed(receiver, &event, now);
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
static bool step_all(struct receiver *receiver, weir_nsec now)
{
    bool is_more = false;
    for (uint32_t i = 0; i < TRANSFERS_MAX; i++) {
        struct cli_incoming *in = &receiver->slots[i];
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
    return is_more;
}

static void stop_all(struct receiver *receiver)
{
    for (uint32_t i = 0; i < TRANSFERS_MAX; i++) {
        struct cli_incoming *in = &receiver->slots[i];
        if (in->stage != CLI_INCOMING_FREE && in->stage != CLI_INCOMING_COMPLETE) {
            cli_incoming_fail(in, CLI_TRANSFER_CODE_STOPPED, CLI_TRANSFER_NO_INDEX,
                              "the receiver was stopped by its user");
        }
    }
}

static int run(struct receiver *receiver)
{
    weir_nsec stop_at = WEIR_NEVER;
    bool is_more = false;
    while (!receiver->is_ended) {
        weir_nsec wait = is_more ? 0 : receiver->set.active > 0 ? tick : WEIR_SEC;
        if (weir_loop_run_once(receiver->link.loop, wait) != WEIR_OK) {
            return cli_fail(CLI_FAILED, "the socket failed: %s",
                            cli_text_errno(receiver->link.driver->error));
        }
        weir_nsec now = weir_loop_now(receiver->link.loop);
        if (cli_is_stopping && stop_at == WEIR_NEVER) {
            stop_at = now + WEIR_SEC; /* for the farewells to get through */
            stop_all(receiver);
        }
        is_more = step_all(receiver, now);
        if (stop_at != WEIR_NEVER && (receiver->set.active == 0 || now >= stop_at)) {
            break;
        }
        if (weir_loop_flush(receiver->link.loop) != WEIR_OK) {
            return cli_fail(CLI_FAILED, "the socket failed: %s",
                            cli_text_errno(receiver->link.driver->error));
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

static bool open_link(struct receiver *receiver, const struct cli_url *url)
{
    const struct options *options = &receiver->options;
    struct cli_link_options link;
    cli_link_options_default(&link);
    link.scheme = url->scheme;
    link.bind = url->addr;
    link.trace_path = options->trace;
    link.is_accepting = true;
    link.connections_max = TRANSFERS_MAX * 2; /* those being refused or ending beside */
    link.awake_max = link.connections_max;
    link.message_bytes_max = MESSAGE_BYTES;
    link.receive_window_bytes = WINDOW_BYTES;
    link.cc = options->cc;
    link.is_cc_given = options->is_cc_given;
    link.kcp = &options->kcp;
    link.net = &options->net;
    cli_link_set_timeout(&link, options->timeout);
    return cli_link_open(&receiver->link, &link, on_events, receiver);
}

static void say_address(const struct receiver *receiver)
{
    char addr[WEIR_ADDR_TEXT_BYTES];
    weir_addr_format(&receiver->link.local, addr);
    if (!receiver->options.is_quiet) {
        (void)fprintf(stderr, "listening on %s://%s, writing to %s\n", receiver->link.ops->scheme,
                      addr, receiver->options.directory);
        (void)fflush(stderr);
    }
}

int cli_recv(int argc, char **argv)
{
    static struct receiver receiver;
    static const struct argp argp = {option_list, parse_option, "URL", doc, children, NULL, NULL};
    struct cli_url url;
    receiver.options = (struct options){.directory = ".", .timeout = 10 * WEIR_SEC};
    if (!cli_read_options(&argp, argc, argv, &receiver.options) ||
        !cli_read_url(receiver.options.url, true, &url) ||
        !cli_link_check_options(url.scheme, &receiver.options.kcp, &receiver.options.net)) {
        return CLI_USAGE;
    }
    int fd = open_directory(receiver.options.directory);
    if (fd < 0) {
        return CLI_FAILED;
    }
    receiver.set = (struct cli_incoming_set){.slots = receiver.slots,
                                             .slots_count = TRANSFERS_MAX,
                                             .link = &receiver.link,
                                             .root_fd = fd,
                                             .is_quiet = receiver.options.is_quiet};
    cli_catch_signals();
    int result = CLI_FAILED;
    if (open_link(&receiver, &url)) {
        say_address(&receiver);
        result = run(&receiver);
        cli_link_close(&receiver.link);
    }
    close(fd);
    return result;
}
