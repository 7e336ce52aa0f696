/* SPDX-License-Identifier: MIT */
/*
 * udp.c - a command's UDP socket, with or without a trace.
 */
#include "cli/udp.h"

#include <errno.h>

#include "cli/cli.h"

static struct weir_driver *open_trace(struct weir_driver *driver, const char *path)
{
    struct weir_driver *traced = NULL;
    int error = 0;
    if (weir_trace_open(driver, path, &traced, &error) != WEIR_OK) {
        cli_fail(CLI_FAILED, "cannot write the trace '%s': %s", path, cli_text_errno(error));
        driver->ops->close(driver);
        return NULL;
    }
    return traced;
}

static struct weir_driver *open_socket(const struct weir_addr *bind, bool is_shared, bool is_quiet)
{
    struct weir_driver *driver = NULL;
    struct weir_udp_config config;
    struct weir_udp_notice notice;
    char text[240];
    int error = 0;
    weir_udp_config_default(&config);
    config.bind = *bind;
    config.is_port_reused = is_shared;
    enum weir_status status = weir_udp_open(&config, &driver, &notice, &error);
    if (status != WEIR_OK) {
        char addr[WEIR_ADDR_TEXT_BYTES];
        weir_addr_format(bind, addr);
        cli_fail(CLI_FAILED, "cannot open %s: %s%s", addr,
                 error != 0 ? cli_text_errno(error) : weir_status_text(status),
                 error == EADDRINUSE ? "; stop the program there or choose another port" : "");
        return NULL;
    }
    weir_udp_notice_text(&notice, &config, text);
    if (text[0] != 0 && !is_quiet) {
        cli_warn("%s", text);
    }
    return driver;
}

struct weir_driver *cli_udp_open(const struct weir_addr *bind, const char *trace_path,
                                 bool is_quiet)
{
    struct weir_driver *driver = open_socket(bind, false, is_quiet);
    return driver == NULL || trace_path == NULL ? driver : open_trace(driver, trace_path);
}

struct weir_driver *cli_udp_open_shared(const struct weir_addr *bind, bool is_quiet)
{
    return open_socket(bind, true, is_quiet);
}

void cli_udp_close(struct weir_driver *driver)
{
    int error = weir_trace_flush(driver);
    if (error != 0) {
        cli_warn("the trace is cut short: %s", cli_text_errno(error));
    }
    driver->ops->close(driver);
}
