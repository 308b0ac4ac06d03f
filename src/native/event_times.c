/* Reads the timestamps of lines: see event_times.h. */
#include "event_times.h"

#define DAY_MS 86400000
#define YEAR_OF_YEARLESS 1972 /* it has every day that a year may have */

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char weekdays[] = "MonTueWedThuFriSatSun";

void
event_times_open(EventTimes *times)
{
    memset(times, 0, sizeof *times);
    times->low = INT64_MAX;
    times->high = INT64_MIN;
}

PyObject *
tuple_of_three(PyObject *first, PyObject *second, PyObject *third)
{
    PyObject *tuple = first && second && third ? PyTuple_New(3) : NULL;
    if (tuple) {
        PyTuple_SET_ITEM(tuple, 0, first);
        PyTuple_SET_ITEM(tuple, 1, second);
        PyTuple_SET_ITEM(tuple, 2, third);
        return tuple;
    }
    Py_XDECREF(first);
    Py_XDECREF(second);
    Py_XDECREF(third);
    return NULL;
}

PyObject *
event_times_tuple(const EventTimes *times)
{
    return tuple_of_three(
        PyLong_FromUnsignedLong(times->kinds), PyLong_FromLongLong(times->low), PyLong_FromLongLong(times->high));
}

/* Return the position of three letters among `names`, from 1 on; 0 if they are not there. */
static unsigned
number_of_name(const byte *at, const char *names)
{
    for (unsigned i = 0; names[i]; i += 3)
        if (!memcmp(at, names + i, 3))
            return i / 3 + 1;
    return 0;
}

static unsigned
four_digits(const byte *at)
{
    unsigned high = two_digits(at), low = two_digits(at + 2);
    return high > 99 || low > 99 ? 0 : high * 100 + low;
}

/* Get the time at which a day begins; return 0 if there is no such day (proleptic Gregorian calendar, years from 1). */
static int
begin_of_day(unsigned year, unsigned month, unsigned day, int64_t *ms)
{
    static const byte days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    static const unsigned short before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    if (year < 1 || year > 9999 || month < 1 || month > 12 || day < 1)
        return 0;
    unsigned is_leap = (year % 4 == 0 && year % 100) || year % 400 == 0;
    if (day > days[month - 1] + (month == 2 ? is_leap : 0))
        return 0;
    int64_t past = year - 1;
    int64_t number = past * 365 + past / 4 - past / 100 + past / 400 + before[month - 1] + (month > 2 ? is_leap : 0) + day;
    *ms = (number - 719163) * DAY_MS; /* the number of 1970-01-01 */
    return 1;
}

/* Add `08:23`; return whether it is a time of day. */
static int
add_minute(const byte *at, int64_t *ms)
{
    unsigned hour = two_digits(at), minute = two_digits(at + 3);
    *ms += (int64_t)(hour * 60 + minute) * 60000;
    return at[2] == ':' && hour < 24 && minute < 60;
}

int
read_minute(const byte *at, int64_t *ms)
{
    byte mark = at[4];
    if ((mark != '-' && mark != '/' && mark != '.') || at[7] != mark || (at[10] != ' ' && at[10] != 'T'))
        return 0;
    return begin_of_day(four_digits(at), two_digits(at + 5), two_digits(at + 8), ms) && add_minute(at + 11, ms);
}

/* Read what follows a minute: seconds with a fraction, and a zone. */
static inline EventTime
read_after_minute(const byte *at, const byte *end, int64_t ms)
{
    EventTime time = {TIME_UNREAD, ms};
    if ((at = take_seconds(at, end, &time.ms)))
        time.kind = take_zone(at, end, &time.ms);
    return time;
}

/* Read `15/Jan/2024:08:23`. */
static int
read_clf_minute(const byte *at, int64_t *ms)
{
    return at[6] == '/' && at[11] == ':'
        && begin_of_day(four_digits(at + 7), number_of_name(at + 3, months), two_digits(at), ms) && add_minute(at + 12, ms);
}

/* Read `Jan 15 08:23`, or `Jan  5 08:23`, as of a year. */
static int
read_month_and_minute(const byte *at, unsigned year, int64_t *ms)
{
    unsigned day = at[4] == ' ' ? two_digits((const byte[]){'0', at[5]}) : two_digits(at + 4);
    return at[3] == ' ' && at[6] == ' ' && begin_of_day(year, number_of_name(at, months), day, ms) && add_minute(at + 7, ms);
}

/* Read `Jan 15 08:23:45` with its year at the end, or without one. */
static EventTime
read_month_first(const byte *at, const byte *end, EventTimes *times)
{
    EventTime time = {TIME_UNREAD, 0};
    int64_t ms;
    int has_year = end - at >= 20 && end[-5] == ' ' && IS(end[-1], DIGIT);
    if (has_year) {
        if (read_month_and_minute(at, four_digits(end - 4), &ms))
            time = read_after_minute(at + YEARLESS_MINUTE_BYTES, end - 5, ms);
        return time;
    }
    if (memcmp(at, times->yearless_minute, YEARLESS_MINUTE_BYTES)) {
        if (!read_month_and_minute(at, YEAR_OF_YEARLESS, &ms))
            return time;
        memcpy(times->yearless_minute, at, YEARLESS_MINUTE_BYTES);
        times->yearless_minute_ms = ms;
    }
    time = read_after_minute(at + YEARLESS_MINUTE_BYTES, end, times->yearless_minute_ms);
    time.kind = time.kind == TIME_LOCAL ? TIME_YEARLESS : TIME_UNREAD;
    return time;
}

/* Read `0115 08:23:45` and `20240115 08:23:45`, without a zone. */
static EventTime
read_klog(const byte *at, const byte *end)
{
    const byte *day = end - at > 4 && at[4] == ' ' ? at : at + 4;
    unsigned year = day == at ? YEAR_OF_YEARLESS : four_digits(at);
    EventTime time = {TIME_UNREAD, 0};
    int64_t begin;
    if (end - day < 13 || day[4] != ' ' || !begin_of_day(year, two_digits(day), two_digits(day + 2), &begin)
        || !add_minute(day + 5, &begin))
        return time;
    time = read_after_minute(day + 10, end, begin);
    time.kind = time.kind != TIME_LOCAL ? TIME_UNREAD : day == at ? TIME_YEARLESS : TIME_LOCAL;
    return time;
}

EventTime
read_epoch(const byte *at, const byte *end)
{
    EventTime time = {TIME_UNREAD, 0};
    const byte *first = at;
    if (at == end || *at != '1')
        return time;
    for (; at < end && IS(*at, DIGIT) && at - first < 19; at++)
        time.ms = time.ms * 10 + (*at - '0');
    Py_ssize_t digits = at - first;
    if (digits == 10) {
        time.ms *= 1000;
        if (at < end && *at == '.' && !(at = take_fraction(at + 1, end, &time.ms)))
            return time;
    }
    else
        time.ms /= digits == 16 ? 1000 : digits == 19 ? 1000000 : 1;
    if (at == end && (digits == 10 || digits == 13 || digits == 16 || digits == 19))
        time.kind = TIME_ZONED;
    return time;
}

EventTime
read_event_time(const byte *at, const byte *end, EventTimes *times)
{
    EventTime time = {TIME_UNREAD, 0};
    Py_ssize_t size = end - at;
    int64_t ms;
    if (size < 10)
        return time;
    if (size > MINUTE_BYTES && !IS(at[4], DIGIT | LETTER) && same_or_read_minute(at, times, &ms))
        return read_after_minute(at + MINUTE_BYTES, end, ms);
    if (size > CLF_MINUTE_BYTES && at[2] == '/') {
        if (memcmp(at, times->clf_minute, CLF_MINUTE_BYTES)) {
            if (!read_clf_minute(at, &ms))
                return time;
            memcpy(times->clf_minute, at, CLF_MINUTE_BYTES);
            times->clf_minute_ms = ms;
        }
        return read_after_minute(at + CLF_MINUTE_BYTES, end, times->clf_minute_ms);
    }
    if (IS(*at, CAPITAL)) {
        if (at[3] == ' ' && number_of_name(at, weekdays))
            at += 4;
        return end - at >= 15 ? read_month_first(at, end, times) : time;
    }
    time = read_epoch(at, end);
    return time.kind == TIME_UNREAD ? read_klog(at, end) : time;
}
