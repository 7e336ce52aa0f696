/* SPDX-License-Identifier: MIT */
/*
 * pipe.c - weir pipe: standard input goes to the peer, what the peer sends to standard output.
 *
 * Spec: docs/file-transfer.md, "weir pipe": a hello, then messages of bytes; an empty one is the
 * end of that direction.
 */
#include "cli/pipe.h"

#include <argp.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"

enum {
    HELLO_BYTES = 10,
    KEY_RAW = 0x100,
    VERSION = 1
};

/* A bare stream: the peer's silence after which this end's work is taken for done. */
static const weir_nsec raw_silence = 500 * WEIR_MSEC;
static const weir_nsec raw_tick = 50 * WEIR_MSEC;

static const uint8_t magic[8] = {'w', 'e', 'i', 'r', 'p', 'i', 'p', 'e'};
static const struct weir_rudp_send delivery = {.guarantee = WEIR_RUDP_DELIVERY};

static const char doc[] =
    "Connect standard input and output to a peer, each way in order and without loss."
    "\vWith -l, weir pipe waits for one peer at URL; without, it connects to one. The end of input "
    "is passed on; weir pipe ends when both directions have ended.\n\n"
    "Examples:\n"
    "  weir pipe -l rudp://*:4433 > copy.tar\n"
    "  tar c album | weir pipe rudp://192.0.2.7:4433\n"
    "  weir pipe --raw kcp://192.0.2.7:4000 --crypt salsa20 --key @secret < "
    "request\n"
    "  weir pipe --raw tcp://10.7.0.1:7 --driver tun:weir0,10.7.0.2/24\n\n" CLI_KCP_MESSAGES_DOC
    " tcp:// is weir's own TCP, over --driver; with --raw the peer may be any TCP program, and "
    "both "
    "ends of a connection end by themselves. With kcp:// and --raw it is a stream, to which KCP "
    "knows no end: an end that has sent something closes "
    "once its input has ended, all is acknowledged and the peer has been silent for half a second; "
    "any other end takes silence of --timeout for the peer's end.";

static const struct argp_option option_list[] = {
    {"listen", 'l', NULL, 0, "Wait for a peer instead of connecting to one", 0},
    {"timeout", 't', "T", 0, "Give a silent peer up after T, e.g. 10s (default)", 0},
    {"cc", 'c', "NAME", 0,
     "Congestion control: cubic (default of rudp), bbr, newreno, none; kcp: its own", 0},
    {"raw", KEY_RAW, NULL, 0,
     "kcp: the bare bytes of a stream, to or from any KCP program (kcp-go); tcp: to or from any "
     "TCP "
     "program",
     0},
    {"trace", 'T', "FILE", 0, "Write all packets to FILE (pcapng, for Wireshark)", 0},
    {0}};

static const struct argp_child children[] = {
    {&cli_net_argp, 0, NULL, 0}, {&cli_kcp_argp, 0, NULL, 0}, {0}};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct cli_pipe_options *options = state->input;
    switch (key) {
    case 'l':
        options->is_listening = true;
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
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->net;
        state->child_inputs[1] = &options->kcp;
        return 0;
    case KEY_RAW:
        options->is_raw = true;
        return 0;
    case ARGP_KEY_ARG:
        if (options->url != NULL) {
            return cli_fail(EINVAL, "one URL only; '%s' is too much", argument);
        }
        options->url = argument;
        return 0;
    case ARGP_KEY_END:
        return options->url == NULL ? cli_fail(EINVAL, "no URL; write weir pipe rudp://HOST:PORT")
                                    : 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* --- events ----------------------------------------------------------------------------------- */

static void say_hello(struct cli_pipe *pipe)
{
    uint8_t hello[HELLO_BYTES];
    memcpy(hello, magic, sizeof(magic));
    weir_store16(hello + sizeof(magic), VERSION);
    pipe->is_opened = true;
    if (pipe->options.is_raw) {
        return;
    }
    if (cli_link_send(&pipe->link, pipe->conn, &delivery, hello, sizeof(hello)) != WEIR_OK) {
        cli_fail(CLI_FAILED, "the connection cannot be used");
        cli_pipe_give_up(pipe, "");
    }
}

static void on_hello(struct cli_pipe *pipe, struct weir_span data)
{
    if (data.length < HELLO_BYTES || memcmp(data.data, magic, sizeof(magic)) != 0) {
        cli_fail(CLI_FAILED, "the peer is not weir pipe");
        cli_pipe_give_up(pipe, "this end is weir pipe");
        return;
    }
    uint16_t version = weir_load16(data.data + sizeof(magic));
    if (version != VERSION) {
        cli_fail(CLI_FAILED, "the peer speaks version %u of weir pipe, this program %d", version,
                 VERSION);
        cli_pipe_give_up(pipe, "another version of weir pipe");
        return;
    }
    pipe->is_peer_known = true;
}

/* Of no bytes: the peer's direction has ended. */
static void on_raw_bytes(struct cli_pipe *pipe, struct weir_span data)
{
    pipe->is_out_done = pipe->is_stream && data.length == 0;
    pipe->is_heard = true;
    pipe->heard_at = weir_loop_now(pipe->link.loop);
    cli_pipe_put(pipe, data);
    cli_pipe_set_pause(pipe);
}

static void on_message(struct cli_pipe *pipe, struct weir_span data, uint8_t channel)
{
    if (pipe->options.is_raw) {
        on_raw_bytes(pipe, data);
    } else if (channel == CLI_PIPE_SIDE_CHANNEL) {
        pipe->is_written_there = true;
    } else if (!pipe->is_peer_known) {
        on_hello(pipe, data);
    } else if (data.length == 0) {
        pipe->is_out_done = true;
    } else if (!pipe->is_out_done) {
        cli_pipe_put(pipe, data);
        cli_pipe_set_pause(pipe); /* before more window is granted for what is not written yet */
    }
}

static void on_writable(struct cli_pipe *pipe)
{
    pipe->is_full = false;
    if (pipe->inbox_used > 0) {
        cli_pipe_ship(pipe);
    }
    if (!pipe->is_full && pipe->is_in_ended && !pipe->is_in_done) {
        cli_pipe_ship_end(pipe);
    }
}

static void on_request(struct cli_pipe *pipe, struct cli_conn *conn)
{
    if (pipe->conn != NULL || pipe->is_opened) {
        cli_link_refuse(&pipe->link, conn, 1, "it has its one peer already");
        return;
    }
    cli_link_accept(&pipe->link, conn, NULL);
    pipe->conn = conn;
}

/* What helps when nobody answered at all. */
static const char *hint_of(const struct cli_pipe *pipe, const struct cli_event *event)
{
    bool is_unheard = event->closed.cause == CLI_CAUSE_TIMEOUT && !pipe->is_opened;
    return is_unheard && pipe->link.hint[0] != 0 ? "; is it running there, with the same --crypt "
                                                   "and --key?"
                                                 : "";
}

/* A bare stream ends with silence: an end that has nothing left to send takes it for the peer's
 * end. */
static void on_raw_closed(struct cli_pipe *pipe, const struct cli_event *event)
{
    char text[CLI_CLOSED_TEXT_BYTES];
    bool is_silence = event->closed.cause == CLI_CAUSE_TIMEOUT && pipe->is_heard &&
                      pipe->is_all_acked && pipe->inbox_used == 0 && !pipe->is_stream;
    if (event->closed.cause != CLI_CAUSE_LOCAL && !is_silence) {
        cli_fail(CLI_FAILED, "%s%s", cli_text_closed(event, text), hint_of(pipe, event));
        pipe->result = CLI_FAILED;
    }
}

static void on_closed(struct cli_pipe *pipe, const struct cli_event *event)
{
    char text[CLI_CLOSED_TEXT_BYTES];
    pipe->conn = NULL;
    bool is_failure =
        event->closed.cause != CLI_CAUSE_LOCAL && event->closed.cause != CLI_CAUSE_PEER;
    if (pipe->options.is_raw) {
        on_raw_closed(pipe, event);
    } else if (!pipe->is_in_done || !pipe->is_out_done || !pipe->is_written_there || is_failure) {
        cli_fail(CLI_FAILED, "%s%s", cli_text_closed(event, text), hint_of(pipe, event));
        pipe->result = CLI_FAILED;
    }
    pipe->is_closing = true; /* what came is still written out */
}

static void on_events(void *user, weir_nsec now)
{
    struct cli_pipe *pipe = user;
    struct cli_event event;
    (void)now;
    while (cli_link_event(&pipe->link, &event) == WEIR_OK) {
        if (event.type == CLI_EVENT_REQUEST) {
            on_request(pipe, event.conn);
        }
        if (event.conn != pipe->conn || pipe->conn == NULL) {
            continue;
        }
        switch (event.type) {
        case CLI_EVENT_OPENED:
            say_hello(pipe);
            break;
        case CLI_EVENT_MESSAGE:
            on_message(pipe, event.message.data, event.message.channel);
            break;
        case CLI_EVENT_WRITABLE:
            on_writable(pipe);
            break;
        case CLI_EVENT_CLOSED:
            on_closed(pipe, &event);
            break;
        case CLI_EVENT_REQUEST:
        case CLI_EVENT_PARCEL_DONE:
        default:
            break;
        }
    }
}

/* --- run -------------------------------------------------------------------------------------- */

/* Waits until something can be done and does what concerns stdin and stdout. */
static void wait_and_pump(struct cli_pipe *pipe)
{
    struct weir_loop *loop = pipe->link.loop;
    weir_nsec next = weir_loop_next_timeout(loop);
    weir_nsec now = weir_loop_now(loop);
    weir_nsec wait = next <= now ? 0 : next - now;
    weir_nsec most =
        pipe->options.is_raw ? raw_tick : WEIR_SEC; /* a signal may come before ppoll */
    wait = wait < most ? wait : most;
    struct timespec timeout = {.tv_sec = (time_t)(wait / WEIR_SEC),
                               .tv_nsec = (long)(wait % WEIR_SEC)};
    struct pollfd fds[3] = {
        {.fd = weir_loop_fd(loop),
         .events = (short)(weir_loop_is_blocked(loop) ? POLLIN | POLLOUT : POLLIN)},
        {.fd = cli_pipe_wants_input(pipe) ? STDIN_FILENO : -1, .events = POLLIN},
        {.fd = pipe->outbox_used > 0 ? STDOUT_FILENO : -1, .events = POLLOUT}};
    if (ppoll(fds, 3, &timeout, NULL) <= 0) {
        return;
    }
    if (fds[1].revents != 0) {
        cli_pipe_pump_input(pipe);
    }
    if (fds[2].revents != 0) {
        cli_pipe_pump_output(pipe);
    }
}

/* A bare stream: what finish_if_done is for messages. */
static void finish_raw(struct cli_pipe *pipe)
{
    struct cli_conn_stats stats;
    if (pipe->is_stream && pipe->is_out_done && !pipe->is_stdout_shut) {
        cli_pipe_shut_output(pipe);
    }
    if (pipe->conn == NULL) {
        pipe->is_over |= pipe->is_closing;
        return;
    }
    if (pipe->is_stream) {
        return; /* CLOSED follows once both ends have closed */
    }
    cli_link_conn_stats(&pipe->link, pipe->conn, &stats);
    weir_nsec now = weir_loop_now(pipe->link.loop);
    bool is_acked = stats.queued_bytes == 0;
    if (is_acked && !pipe->is_all_acked && pipe->is_anything_sent) {
        pipe->is_heard = true;
        pipe->heard_at = now;
    }
    pipe->is_all_acked = is_acked;
    if (pipe->is_in_done && pipe->is_anything_sent && is_acked && !pipe->is_closing &&
        now - pipe->heard_at >= raw_silence) {
        pipe->is_closing = true;
        cli_link_end(&pipe->link, pipe->conn, 0, "");
    }
}

/* Ends the connection once both directions have ended, and the program once that is through. */
static void finish_if_done(struct cli_pipe *pipe)
{
    if (pipe->outbox_used > 0 || pipe->is_over) {
        return;
    }
    if (pipe->options.is_raw) {
        finish_raw(pipe);
        return;
    }
    if (pipe->is_out_done && !pipe->is_stdout_shut) {
        cli_pipe_shut_output(pipe);
    }
    if (pipe->is_over || pipe->conn == NULL) {
        pipe->is_over |= pipe->is_closing;
        return;
    }
    if (pipe->is_stdout_shut && !pipe->is_written_told) {
        cli_pipe_tell_written(pipe);
    }
    if (pipe->is_in_done && pipe->is_written_told && pipe->is_written_there && !pipe->is_closing) {
        pipe->is_closing = true;
        cli_link_end(&pipe->link, pipe->conn, 0, "");
    }
}

static int run(struct cli_pipe *pipe)
{
    enum weir_status status = weir_loop_flush(pipe->link.loop);
    while (status == WEIR_OK && !pipe->is_over) {
        wait_and_pump(pipe);
        status = weir_loop_run_once(pipe->link.loop, 0);
        cli_pipe_pump_output(pipe);
        cli_pipe_set_pause(pipe);
        finish_if_done(pipe);
        if (cli_is_stopping && !pipe->is_over) {
            cli_pipe_give_up(pipe, "stopped by its user");
        }
        if (status == WEIR_OK) {
            status = weir_loop_flush(pipe->link.loop);
        }
    }
    if (status != WEIR_OK) {
        return cli_fail(CLI_FAILED, "the socket failed: %s",
                        cli_text_errno(pipe->link.driver->error));
    }
    return pipe->result;
}

static bool open_link(struct cli_pipe *pipe, const struct cli_url *url)
{
    const struct cli_pipe_options *options = &pipe->options;
    struct cli_link_options link;
    struct stat stat;
    cli_link_options_default(&link);
    link.scheme = url->scheme;
    link.bind = options->is_listening ? url->addr : cli_client_bind(&url->addr);
    link.trace_path = options->trace;
    link.is_accepting = options->is_listening;
    link.is_raw = options->is_raw;
    link.connections_max = options->is_listening ? 8 : 1; /* strangers to refuse */
    link.awake_max = link.connections_max;
    link.channels_max = 2;
    link.message_bytes_max = CLI_PIPE_MESSAGE_BYTES_MAX;
    link.receive_window_bytes = CLI_PIPE_WINDOW_BYTES;
    link.cc = options->cc;
    link.is_cc_given = options->is_cc_given;
    link.kcp = &options->kcp;
    link.net = &options->net;
    cli_link_set_timeout(&link, options->timeout);
    pipe->is_stdout_plain = fstat(STDOUT_FILENO, &stat) == 0 && S_ISREG(stat.st_mode);
    pipe->outbox = malloc(CLI_PIPE_OUTBOX_BYTES);
    if (pipe->outbox == NULL) {
        cli_fail(CLI_FAILED, "out of memory");
        return false;
    }
    if (!cli_link_open(&pipe->link, &link, on_events, pipe)) {
        return false;
    }
    size_t most = pipe->link.message_bytes_max;
    pipe->read_bytes = pipe->piece_bytes = most < CLI_PIPE_READ_BYTES ? most : CLI_PIPE_READ_BYTES;
    return true;
}

/* Says where it listens: with port 0 nobody else knows. */
static void say_address(const struct cli_pipe *pipe)
{
    char addr[WEIR_ADDR_TEXT_BYTES];
    weir_addr_format(&pipe->link.local, addr);
    (void)fprintf(stderr, "listening on %s://%s\n", pipe->link.ops->scheme, addr);
}

static bool is_raw_possible(const struct cli_pipe *pipe, const struct cli_url *url)
{
    if (pipe->options.is_raw && strcmp(url->scheme, "rudp") == 0) {
        cli_fail(CLI_USAGE, "--raw is for kcp:// and tcp:// alone, the URL is of %s://",
                 url->scheme);
        return false;
    }
    return true;
}

int cli_pipe(int argc, char **argv)
{
    static struct cli_pipe pipe;
    static const struct argp argp = {option_list, parse_option, "URL", doc, children, NULL, NULL};
    struct cli_url url;
    pipe.options.timeout = 10 * WEIR_SEC;
    if (!cli_read_options(&argp, argc, argv, &pipe.options) ||
        !cli_read_url(pipe.options.url, pipe.options.is_listening, &url) ||
        !cli_link_check_options(url.scheme, &pipe.options.kcp, &pipe.options.net) ||
        !is_raw_possible(&pipe, &url)) {
        return CLI_USAGE;
    }
    cli_catch_signals();
    pipe.is_stream = pipe.options.is_raw && strcmp(url.scheme, "tcp") == 0;
    int result = CLI_FAILED;
    if (open_link(&pipe, &url)) {
        if (pipe.options.is_listening) {
            say_address(&pipe);
            result = run(&pipe);
        } else if (cli_link_connect(&pipe.link, &url.addr, NULL, &pipe.conn) == WEIR_OK) {
            /* KCP: nothing is heard before something is sent. */
            pipe.is_opened = pipe.options.is_raw && !pipe.is_stream;
            result = run(&pipe);
        } else {
            result = cli_fail(CLI_FAILED, "the connection cannot be started");
        }
        cli_link_close(&pipe.link);
    }
    free(pipe.outbox);
    return result;
}
