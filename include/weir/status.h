/* SPDX-License-Identifier: MIT */
/*
 * status.h - the one result type of the library, and the export macro.
 *
 * Role: every call that can fail returns enum weir_status; results travel through out parameters.
 */
#ifndef WEIR_STATUS_H
#define WEIR_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_API __attribute__((visibility("default")))

/* A result that must be looked at. gcc knows this attribute on functions only, clang on types. */
#ifdef __clang__
#define WEIR_CHECKED __attribute__((warn_unused_result))
#else
#define WEIR_CHECKED
#endif

/* What a call came to. Zero is success; nothing else is. */
enum WEIR_CHECKED weir_status {
    WEIR_OK = 0,
    WEIR_AGAIN,           /* nothing to do now: no event, no packet, no room yet */
    WEIR_ERR_FULL,        /* a configured bound is reached; the call changed nothing */
    WEIR_ERR_CLOSED,      /* the connection is closing or closed; its reason is sticky */
    WEIR_ERR_INVALID,     /* an argument is outside its documented range */
    WEIR_ERR_TOO_LARGE,   /* longer than the configured or negotiated maximum */
    WEIR_ERR_MEMORY,      /* the operating system refused memory (set-up only) */
    WEIR_ERR_UNSUPPORTED, /* the driver, kernel or build cannot do this */
    WEIR_ERR_OS,          /* a system call failed; the driver keeps errno */
    WEIR_ERR_MALFORMED,   /* bytes that do not decode */
    WEIR_ERR_TIMEOUT      /* a blocking call's time is up; what was done until then stays done */
};

/* One short English sentence part for a status, static storage, never NULL. */
WEIR_API const char *weir_status_text(enum weir_status status);

#ifdef __cplusplus
}
#endif
#endif
