/* SPDX-License-Identifier: MIT */
/*
 * date.h - dates of UTC, computed here: the C library takes a lock for its time zones, which
 * several threads would wait for.
 */
#ifndef WEIR_CLI_DATE_H
#define WEIR_CLI_DATE_H

#include <stdint.h>
#include <time.h>

/* Sets the fields from seconds to year, and the day of the week; from the years 1 to 9999, beyond
 * them their first or last second. seconds: since 1970. */
void cli_date_from_seconds(int64_t seconds, struct tm *tm);
/* The reverse; the day of the week is not looked at. The month must be 0 to 11. */
int64_t cli_date_to_seconds(const struct tm *tm);
/* "Jan" for 0, "Sun" for 0; any number will do. */
const char *cli_date_month(int month);
const char *cli_date_weekday(int weekday);

#endif
