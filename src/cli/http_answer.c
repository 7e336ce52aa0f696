/* SPDX-License-Identifier: MIT */
/*
 * http_answer.c - conditional requests and ranges: what a GET, HEAD or PUT gets of a file.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/date.h"
#include "cli/http.h"

/* --- validators ------------------------------------------------------------------------------- */

/* RFC 9110 8.8.1: strong, for it has the time of the last change in nanoseconds and the size. */
void cli_http_write_etag(const struct cli_http_file *file, char text[CLI_HTTP_ETAG_BYTES])
{
    (void)snprintf(text, CLI_HTTP_ETAG_BYTES, "\"%llx-%llx%08x-%llx\"",
                   (unsigned long long)file->inode, (unsigned long long)file->modified,
                   file->modified_ns, (unsigned long long)file->bytes);
}

void cli_http_write_date(int64_t seconds, char text[CLI_HTTP_DATE_BYTES])
{
    struct tm tm;
    cli_date_from_seconds(seconds, &tm);
    (void)snprintf(text, CLI_HTTP_DATE_BYTES, "%s, %02d %s %04d %02d:%02d:%02d GMT",
                   cli_date_weekday(tm.tm_wday), tm.tm_mday, cli_date_month(tm.tm_mon),
                   tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* RFC 9110 5.6.7: a recipient MUST accept all three. */
bool cli_http_read_date(struct weir_span text, int64_t *seconds)
{
    static const char *const forms[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                        "%a %b %e %H:%M:%S %Y"};
    char copy[64];
    if (text.length >= sizeof(copy)) {
        return false;
    }
    memcpy(copy, text.data, text.length);
    copy[text.length] = '\0';
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct tm tm = {0};
        const char *end = strptime(copy, forms[i], &tm);
        if (end != NULL && *end == '\0') {
            *seconds = cli_date_to_seconds(&tm);
            return true;
        }
    }
    return false;
}

/* Is etag in a list like: "a", W/"b" - or is the list "*"? Weak ones count when is_weak_fine. */
static bool is_listed(struct weir_span list, const char *etag, bool is_weak_fine)
{
    const size_t length = strlen(etag);
    const uint8_t *at = list.data;
    const uint8_t *end = list.data + list.length;
    if (list.length == 1 && at[0] == '*') {
        return true;
    }
    while (at < end) {
        bool is_weak = end - at > 2 && memcmp(at, "W/", 2) == 0;
        at += is_weak ? 2 : 0;
        if (*at != '"') {
            at++; /* a comma or a blank, or nonsense */
            continue;
        }
        const uint8_t *quote = memchr(at + 1, '"', (size_t)(end - at) - 1);
        if (quote == NULL) {
            return false;
        }
        if ((size_t)(quote + 1 - at) == length && memcmp(at, etag, length) == 0 &&
            (is_weak_fine || !is_weak)) {
            return true;
        }
        at = quote + 1;
    }
    return false;
}

/* --- preconditions ---------------------------------------------------------------------------- */

/* A date that is none is ignored, as RFC 9110 13.1.3 and 13.1.4 demand. */
static bool is_after(const struct cli_http_file *file, struct weir_span date, bool otherwise)
{
    int64_t seconds;
    return cli_http_read_date(date, &seconds) ? file->modified > seconds : otherwise;
}

/* RFC 9110 13.2.2: the order in which they are looked at. 0: go on, 304 or 412. */
static int check_conditions(const struct cli_http_request *request,
                            const struct cli_http_file *file)
{
    const struct weir_span *fields = request->fields;
    char etag[CLI_HTTP_ETAG_BYTES] = "";
    if (file != NULL) {
        cli_http_write_etag(file, etag);
    }
    /* RFC 9110 13.1.1: If-Match compares strongly; "*" is false when there is nothing. */
    if (fields[CLI_HTTP_IF_MATCH].data != NULL) {
        if (file == NULL || !is_listed(fields[CLI_HTTP_IF_MATCH], etag, false)) {
            return 412;
        }
    } else if (fields[CLI_HTTP_IF_UNMODIFIED_SINCE].data != NULL && file != NULL &&
               is_after(file, fields[CLI_HTTP_IF_UNMODIFIED_SINCE], false)) {
        return 412;
    }
    /* RFC 9110 13.1.2: If-None-Match compares weakly; with it If-Modified-Since MUST be ignored. */
    if (fields[CLI_HTTP_IF_NONE_MATCH].data != NULL) {
        if (file != NULL && is_listed(fields[CLI_HTTP_IF_NONE_MATCH], etag, true)) {
            return request->method == CLI_HTTP_PUT ? 412 : 304;
        }
    } else if (fields[CLI_HTTP_IF_MODIFIED_SINCE].data != NULL && file != NULL &&
               request->method != CLI_HTTP_PUT &&
               !is_after(file, fields[CLI_HTTP_IF_MODIFIED_SINCE], true)) {
        return 304;
    }
    return 0;
}

bool cli_http_may_put(const struct cli_http_request *request, const struct cli_http_file *file)
{
    return check_conditions(request, file) == 0;
}

/* --- ranges ----------------------------------------------------------------------------------- */

static bool read_number(const uint8_t **at, const uint8_t *end, uint64_t *number)
{
    const uint8_t *start = *at;
    *number = 0;
    while (*at < end && **at >= '0' && **at <= '9') {
        uint64_t digit = (uint64_t)(**at - '0');
        if (__builtin_mul_overflow(*number, (uint64_t)10, number) ||
            __builtin_add_overflow(*number, digit, number)) {
            *number = UINT64_MAX; /* beyond any file */
        }
        (*at)++;
    }
    return *at > start;
}

/* RFC 9110 14.1.2. false: not one range of bytes, so all of the file is sent (RFC 9110 14.2: a unit
 * that is not known MUST be ignored; several ranges may be). *bytes 0: it lies beyond the file. */
static bool read_range(struct weir_span text, uint64_t file_bytes, uint64_t *first, uint64_t *bytes)
{
    const uint8_t *end = text.data + text.length;
    uint64_t from = 0;
    uint64_t to = UINT64_MAX;
    if (text.length < 7 || strncasecmp((const char *)text.data, "bytes=", 6) != 0) {
        return false;
    }
    const uint8_t *at = text.data + 6;
    bool has_first = read_number(&at, end, &from);
    if (at == end || *at++ != '-') {
        return false;
    }
    bool has_last = read_number(&at, end, &to);
    if (at != end || (!has_first && !has_last) || (has_first && has_last && to < from)) {
        return false;
    }
    *bytes = 0;
    if (!has_first) { /* the last so many */
        *bytes = to < file_bytes ? to : file_bytes;
        *first = file_bytes - *bytes;
    } else if (from < file_bytes) {
        uint64_t last = has_last && to < file_bytes - 1 ? to : file_bytes - 1;
        *first = from;
        *bytes = last - from + 1;
    }
    return true;
}

/* RFC 9110 13.1.5: compares strongly. A date is strong when it is a second older than now (RFC 9110
 * 8.8.2.2), and must be the very one. */
static bool is_range_wanted(const struct cli_http_request *request,
                            const struct cli_http_file *file, int64_t now)
{
    const struct weir_span if_range = request->fields[CLI_HTTP_IF_RANGE];
    char etag[CLI_HTTP_ETAG_BYTES];
    int64_t seconds;
    if (request->method != CLI_HTTP_GET || request->fields[CLI_HTTP_RANGE].data == NULL) {
        return false;
    }
    if (if_range.data == NULL) {
        return true;
    }
    cli_http_write_etag(file, etag);
    if (if_range.length == strlen(etag) && memcmp(if_range.data, etag, if_range.length) == 0) {
        return true;
    }
    return cli_http_read_date(if_range, &seconds) && seconds == file->modified &&
           file->modified < now;
}

void cli_http_answer_file(const struct cli_http_request *request, const struct cli_http_file *file,
                          int64_t now, struct cli_http_answer *answer)
{
    uint64_t first = 0;
    uint64_t bytes = 0;
    *answer = (struct cli_http_answer){.status = check_conditions(request, file)};
    if (answer->status != 0) {
        return;
    }
    answer->status = 200;
    answer->bytes = file->bytes;
    if (is_range_wanted(request, file, now) &&
        read_range(request->fields[CLI_HTTP_RANGE], file->bytes, &first, &bytes)) {
        answer->status = bytes > 0 ? 206 : 416;
        answer->first = first;
        answer->bytes = bytes;
    }
}
