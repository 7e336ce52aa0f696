/* SPDX-License-Identifier: MIT */
/*
 * date.c - days counted from 1 March of year 0, so that a leap day is the last one of its year.
 */
#include "cli/date.h"

enum {
    DAY_SECONDS = 86400,
    ERA_YEARS = 400, /* after which the calendar repeats */
    ERA_DAYS = 146097,
    EPOCH_DAYS = 719468 /* from 1 March of year 0 to 1 January 1970 */
};

static const int64_t seconds_min = -62135596800; /* 1 January of year 1 */
static const int64_t seconds_max = 253402300799; /* the end of 9999 */

void cli_date_from_seconds(int64_t seconds, struct tm *tm)
{
    seconds = seconds < seconds_min ? seconds_min : seconds;
    seconds = seconds > seconds_max ? seconds_max : seconds;
    /* Not negative from here on: year 1 begins after the first of March of year 0. */
    int64_t total = seconds + (int64_t)EPOCH_DAYS * DAY_SECONDS;
    int64_t days = total / DAY_SECONDS;
    int second = (int)(total % DAY_SECONDS);
    int day = (int)(days % ERA_DAYS); /* of the era */
    int year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    day -= 365 * year + year / 4 - year / 100; /* of the year that begins in March */
    int month = (5 * day + 2) / 153;           /* 0: March */
    *tm = (struct tm){.tm_sec = second % 60,
                      .tm_min = second / 60 % 60,
                      .tm_hour = second / 3600,
                      .tm_mday = day - (153 * month + 2) / 5 + 1,
                      .tm_mon = month < 10 ? month + 2 : month - 10,
                      .tm_year = year + (int)(days / ERA_DAYS) * ERA_YEARS - 1900,
                      .tm_wday = (int)((days + 3) % 7)};
    tm->tm_year += month >= 10;
}

int64_t cli_date_to_seconds(const struct tm *tm)
{
    int64_t year = (int64_t)tm->tm_year + 1900 - (tm->tm_mon < 2);
    int64_t month = tm->tm_mon < 2 ? tm->tm_mon + 10 : tm->tm_mon - 2;
    int64_t era = (year >= 0 ? year : year - (ERA_YEARS - 1)) / ERA_YEARS;
    int64_t of_era = year - era * ERA_YEARS;
    int64_t day =
        of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 + tm->tm_mday - 1;
    return (era * ERA_DAYS + day - EPOCH_DAYS) * DAY_SECONDS + (int64_t)tm->tm_hour * 3600 +
           (int64_t)tm->tm_min * 60 + tm->tm_sec;
}

const char *cli_date_month(int month)
{
    static const char *const names[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    return names[(unsigned)month % 12];
}

const char *cli_date_weekday(int weekday)
{
    static const char *const names[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    return names[(unsigned)weekday % 7];
}
