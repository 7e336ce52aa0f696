/* SPDX-License-Identifier: MIT */
/*
 * send.c - weir send: carries files to weir recv.
 */
#include <argp.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/kcp_options.h"
#include "cli/outgoing.h"

static const weir_nsec tick = 100 * WEIR_MSEC; /* for progress and signals */

struct options {
    char **files; /* arguments; the last one is the URL */
    uint32_t files_count;
    const char *url;
    const char *json;
    const char *trace;
    weir_nsec timeout;
    enum weir_cc_kind cc;
    struct cli_kcp_options kcp;
    struct cli_net_options net;
    bool is_fresh, is_quiet, is_cc_given;
};

struct sender {
    struct options options;
    struct cli_link link;
    struct cli_walk walk;
    struct cli_outgoing out;
    weir_nsec started, ended;
};

enum {
    KEY_RESUME = 0x100,
    KEY_NO_RESUME,
    KEY_JSON
};

static const char doc[] =
    "Send files and directories to weir recv."
    "\vURL is where weir recv listens: rudp://HOST:PORT, or kcp://HOST:PORT with the same --crypt "
    "and --key there. tcp:// is weir's own TCP, over --driver. Directories are sent with all that "
    "is in "
    "them; modes and times are kept; symbolic links in them, sockets and devices are left out with "
    "a warning. Exit 0 means that the receiver has verified the SHA-256 of every file and has it "
    "in place.\n\n"
    "After a break, give the same command again: what the receiver has is not sent again, once its "
    "SHA-256 shows that it is the same.\n\n"
    "Examples:\n"
    "  weir send photo.jpg rudp://192.0.2.7:4433\n"
    "  weir send album/ notes.txt rudp://[2001:db8::7]:4433 --cc bbr\n"
    "  weir send disk.img rudp://host:4433 --timeout 30s --json result.json\n"
    "  weir send disk.img kcp://host:4000 --preset turbo --fec 10,3 --key "
    "@secret\n"
    "  weir send disk.img tcp://10.7.0.2:4433 --driver "
    "tun:weir1,10.8.0.2/24\n\n" CLI_KCP_MESSAGES_DOC;

static const struct argp_option option_list[] = {
    {"timeout", 't', "T", 0, "Give a silent receiver up after T, e.g. 10s (default)", 0},
    {"cc", 'c', "NAME", 0,
     "Congestion control: cubic (default of rudp), bbr, newreno, none; kcp: its own", 0},
    {"resume", KEY_RESUME, NULL, 0, "Continue what was broken off (default)", 0},
    {"no-resume", KEY_NO_RESUME, NULL, 0, "Send everything anew", 0},
    {"json", KEY_JSON, "FILE", 0, "Write the figures to FILE (- for standard output)", 0},
    {"trace", 'T', "FILE", 0, "Write all packets to FILE (pcapng, for Wireshark)", 0},
    {"quiet", 'q', NULL, 0, "No progress, only what went wrong", 0},
    {0}};

static const struct argp_child children[] = {
    {&cli_net_argp, 0, NULL, 0}, {&cli_kcp_argp, 0, NULL, 0}, {0}};

static error_t end_arguments(struct options *options)
{
    if (options->files_count == 0) {
        return cli_fail(EINVAL, "no file and no URL; write weir send FILE rudp://HOST:PORT");
    }
    if (options->files_count == 1) {
        return cli_fail(EINVAL, "a file or the URL is missing; write weir send FILE "
                                "rudp://HOST:PORT");
    }
    options->url = options->files[--options->files_count];
    return 0;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
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
    case KEY_RESUME:
    case KEY_NO_RESUME:
        options->is_fresh = key == KEY_NO_RESUME;
        return 0;
    case KEY_JSON:
        options->json = argument;
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
        options->files[options->files_count++] = argument;
        return 0;
    case ARGP_KEY_END:
        return end_arguments(options);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* --- transfer --------------------------------------------------------------------------------- */

static void on_events(void *user, weir_nsec now)
{
    struct sender *sender = user;
    struct cli_event event;
    while (cli_link_event(&sender->link, &event) == WEIR_OK) {
        cli_outgoing_on_event(&sender->out, &event, now);
    }
}

static bool is_over(const struct sender *sender)
{
    return sender->out.stage == CLI_OUTGOING_COMPLETE || sender->out.stage == CLI_OUTGOING_FAILED;
}

/* Runs until the transfer is over and the farewell is through, or a second has passed for it. */
static void run(struct sender *sender)
{
    struct cli_outgoing *out = &sender->out;
    weir_nsec leave_at = WEIR_NEVER;
    bool is_more = false;
    enum weir_status status = weir_loop_flush(sender->link.loop);
    while (status == WEIR_OK && out->conn != NULL) {
        status = weir_loop_run_once(sender->link.loop, is_more ? 0 : tick);
        weir_nsec now = weir_loop_now(sender->link.loop);
        if (cli_is_stopping && !is_over(sender)) {
            cli_outgoing_fail(out, CLI_TRANSFER_CODE_STOPPED,
                              "stopped; the same command will resume later");
        }
        is_more = cli_outgoing_step(out, now);
        if (is_over(sender) && leave_at == WEIR_NEVER) {
            sender->ended = now;
            leave_at = now + WEIR_SEC;
        }
        if (status == WEIR_OK) {
            status = weir_loop_flush(sender->link.loop);
        }
        if (now >= leave_at) {
            break;
        }
    }
    if (status != WEIR_OK && !is_over(sender)) {
        cli_outgoing_fail(out, CLI_TRANSFER_CODE_STOPPED, "the socket failed: %s",
                          cli_text_errno(sender->link.driver->error));
    }
}

static bool open_link(struct sender *sender, const struct cli_url *url)
{
    const struct options *options = &sender->options;
    struct cli_link_options link;
    cli_link_options_default(&link);
    link.scheme = url->scheme;
    link.bind = cli_client_bind(&url->addr);
    link.trace_path = options->trace;
    link.cc = options->cc;
    link.is_cc_given = options->is_cc_given;
    link.kcp = &options->kcp;
    link.net = &options->net;
    cli_link_set_timeout(&link, options->timeout);
    return cli_link_open(&sender->link, &link, on_events, sender);
}

/* --- figures ---------------------------------------------------------------------------------- */

static void print_hex(const uint8_t *bytes, size_t length, char *text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < length; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * length] = 0;
}

static cJSON *figures(struct sender *sender)
{
    struct cli_outgoing *out = &sender->out;
    const struct cli_manifest *manifest = &sender->walk.manifest;
    double seconds = (double)(sender->ended - sender->started) / (double)WEIR_SEC;
    double moved = (double)(manifest->total_bytes - out->resumed_bytes);
    double resent = (double)out->stats.bytes_resent;
    char hex[2 * CLI_TRANSFER_HASH_BYTES + 1];
    if (manifest->files != 1) {
        sha256_digest(&out->list_hash, sizeof(out->digest), out->digest);
    }
    print_hex(out->digest, sizeof(out->digest), hex);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "bytes", (double)manifest->total_bytes);
    cJSON_AddNumberToObject(json, "seconds", seconds);
    cJSON_AddNumberToObject(json, "goodput_mbit", seconds > 0 ? moved * 8 / seconds / 1e6 : 0);
    cJSON_AddNumberToObject(json, "retransmit_ratio", resent / (double)out->queued_bytes);
    cJSON_AddNumberToObject(json, "resumed_bytes", (double)out->resumed_bytes);
    cJSON_AddNumberToObject(json, "files", (double)manifest->files);
    cJSON_AddStringToObject(json, "sha256", hex);
    return json;
}

static int write_json(struct sender *sender)
{
    const char *path = sender->options.json;
    bool is_stdout = strcmp(path, "-") == 0;
    cJSON *json = figures(sender);
    char *text = cJSON_Print(json);
    FILE *file = is_stdout ? stdout : fopen(path, "we");
    bool is_written = file != NULL && text != NULL && fprintf(file, "%s\n", text) > 0;
    if (file != NULL && (is_stdout ? fflush(file) : fclose(file)) != 0) {
        is_written = false;
    }
    int error = errno;
    cJSON_free(text);
    cJSON_Delete(json);
    if (!is_written) {
        return cli_fail(CLI_FAILED, "all was sent, but '%s' cannot be written: %s", path,
                        cli_text_errno(error));
    }
    return CLI_OK;
}

/* --- start ------------------------------------------------------------------------------------ */

static int transfer(struct sender *sender, const struct cli_url *url)
{
    struct cli_conn *conn = NULL;
    sender->started = weir_loop_now(sender->link.loop);
    sender->out.is_fresh = sender->options.is_fresh;
    sender->out.timeout = sender->options.timeout;
    sender->out.progress.is_quiet = sender->options.is_quiet;
    if (cli_link_connect(&sender->link, &url->addr, NULL, &conn) != WEIR_OK ||
        !cli_outgoing_open(&sender->out, &sender->walk, &sender->link, conn)) {
        return cli_fail(CLI_FAILED, "the connection cannot be started");
    }
    run(sender);
    if (sender->out.stage != CLI_OUTGOING_COMPLETE) {
        return CLI_FAILED;
    }
    char label[64];
    (void)snprintf(label, sizeof(label), "sent %u %s:", sender->walk.manifest.files,
                   sender->walk.manifest.files == 1 ? "file" : "files");
    sender->out.progress.label = label;
    cli_progress_finish(&sender->out.progress, sender->walk.manifest.total_bytes, sender->ended);
    return sender->options.json == NULL ? CLI_OK : write_json(sender);
}

static int send_files(struct sender *sender, const struct cli_url *url)
{
    int result = CLI_FAILED;
    if (cli_walk_open(&sender->walk, sender->options.files, sender->options.files_count) &&
        open_link(sender, url)) {
        result = transfer(sender, url);
        cli_link_close(&sender->link);
        cli_outgoing_close(&sender->out);
    }
    cli_walk_close(&sender->walk);
    return result;
}

int cli_send(int argc, char **argv)
{
    static struct sender sender;
    static const struct argp argp = {option_list, parse_option, "FILE... URL", doc,
                                     children,    NULL,         NULL};
    struct cli_url url;
    int result = CLI_USAGE;
    sender.options.timeout = 10 * WEIR_SEC;
    sender.options.files = calloc((size_t)argc + 1, sizeof(*sender.options.files));
    if (sender.options.files == NULL) {
        return cli_fail(CLI_FAILED, "out of memory");
    }
    if (cli_read_options(&argp, argc, argv, &sender.options) &&
        cli_read_url(sender.options.url, false, &url) &&
        cli_link_check_options(url.scheme, &sender.options.kcp, &sender.options.net)) {
        cli_catch_signals();
        result = send_files(&sender, &url);
    }
    free(sender.options.files);
    return result;
}
