/* SPDX-License-Identifier: MIT */
/*
 * status.c - the words for each status.
 */
#include "weir/status.h"

const char *weir_status_text(enum weir_status status)
{
    switch (status) {
    case WEIR_OK:
        return "success";
    case WEIR_AGAIN:
        return "nothing to do now";
    case WEIR_ERR_FULL:
        return "a configured bound is reached";
    case WEIR_ERR_CLOSED:
        return "the connection is closed";
    case WEIR_ERR_INVALID:
        return "invalid argument";
    case WEIR_ERR_TOO_LARGE:
        return "too large";
    case WEIR_ERR_MEMORY:
        return "out of memory";
    case WEIR_ERR_UNSUPPORTED:
        return "not supported here";
    case WEIR_ERR_OS:
        return "a system call failed";
    case WEIR_ERR_MALFORMED:
        return "malformed data";
    case WEIR_ERR_TIMEOUT:
        return "the time is up";
    default:
        return "unknown status";
    }
}
