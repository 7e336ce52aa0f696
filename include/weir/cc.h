/* SPDX-License-Identifier: MIT */
/*
 * cc.h - the names of the congestion controllers.
 */
#ifndef WEIR_CC_H
#define WEIR_CC_H

#include "weir/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum weir_cc_kind {
    WEIR_CC_CUBIC = 0, /* RFC 9438, the default */
    WEIR_CC_BBR,       /* draft-ietf-ccwg-bbr */
    WEIR_CC_NEWRENO,   /* RFC 9002 section 7 */
    WEIR_CC_NONE       /* no window and no pacing: only for paths that are yours alone */
};

/* "cubic", "bbr", "newreno", "none"; static storage. kind must be one of the enum. */
WEIR_API const char *weir_cc_text(enum weir_cc_kind kind);
/* The other way; WEIR_ERR_INVALID for any other name, *kind is then unchanged. */
WEIR_API enum weir_status weir_cc_parse(const char *name, enum weir_cc_kind *kind);

#ifdef __cplusplus
}
#endif
#endif
