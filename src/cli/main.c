/* SPDX-License-Identifier: MIT */
/*
 * main.c - the weir program: finds the command and runs it.
 */
#include <argp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *full_name; /* what messages and --help call it */
    const char *summary;
};

static const struct command commands[] = {
    {"send", cli_send, "weir send", "send files and directories"},
    {"recv", cli_recv, "weir recv", "receive files and directories"},
    {"pipe", cli_pipe, "weir pipe", "connect standard input and output to a peer"},
    {"tunnel", cli_tunnel, "weir tunnel", "carry TCP connections over KCP, RUDP or weir's own TCP"},
    {"serve", cli_serve, "weir serve", "serve a directory over HTTP/1.1, on weir's own TCP"},
    {"relay", cli_relay, "weir relay", "stand between two UDP programs as a bad network"},
    {"perf", cli_perf, "weir perf", "measure throughput, latency and cost"},
    {"top", cli_top, "weir top", "watch a running weir: workers, shards, rates, drops"},
    {"ctl", cli_ctl, "weir ctl", "ask a running weir, change the number of its workers"},
    {"sim", cli_sim, "weir sim", "run a whole exchange in virtual time, from one seed"},
    {"flood", cli_flood, "weir flood", "try a TCP server in a namespace made for it"},
};

enum {
    COMMANDS_COUNT = sizeof(commands) / sizeof(commands[0])
};

static int print_help(void)
{
    printf("Usage: weir COMMAND [OPTION...]\n"
           "Transports in user space: RUDP, with a guarantee per message, KCP and TCP.\n\n"
           "Commands:\n");
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        printf("  %-8s%s\n", commands[i].name, commands[i].summary);
    }
    printf("\nAddresses are URLs: rudp://host:port, rudp://[v6]:port, rudp://*:port to listen;\n"
           "kcp:// and tcp:// alike.\n"
           "\"weir help COMMAND\" or \"weir COMMAND --help\" explains one, with examples.\n\n"
           "Examples:\n"
           "  weir recv rudp://*:4433 -o inbox\n"
           "  weir send photo.jpg album/ rudp://192.0.2.7:4433\n\n"
           "Exit codes: 0 done, 1 it failed on the way, 2 wrong use.\n");
    return fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    cli_fail(CLI_USAGE, "unknown command '%s'; see weir --help", name);
    return NULL;
}

/* argp and cli_fail name the program by argv[0]. */
static int run_command(const struct command *command, int argc, char **argv)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "%s", command->full_name);
    argv[0] = name;
    cli_set_command(command->full_name);
    return command->run(argc, argv);
}

static int help_command(const char *name)
{
    const struct command *command = find_command(name);
    if (command == NULL) {
        return CLI_USAGE;
    }
    char help[] = "--help";
    char *argv[] = {NULL, help, NULL};
    return run_command(command, 2, argv);
}

int main(int argc, char **argv)
{
    argp_program_version = "weir " WEIR_VERSION;
    argp_err_exit_status = CLI_USAGE;
    /* A closed pipe is an error of write, not a silent end. */
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* likewise a file over the limit of its size */
    if (argc < 2) {
        return cli_fail(CLI_USAGE, "no command; see weir --help");
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        printf("%s\n", argp_program_version);
        return fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "-?") == 0) {
        return print_help();
    }
    if (strcmp(name, "help") == 0) {
        return argc > 2 ? help_command(argv[2]) : print_help();
    }
    const struct command *command = find_command(name);
    return command == NULL ? CLI_USAGE : run_command(command, argc - 1, argv + 1);
}
