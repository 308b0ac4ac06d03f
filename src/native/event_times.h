/* When the events of lines happened: reads timestamps as reading/times/timestamps.py does, of the most frequent forms.
 *
 * A form that is not read here makes the times of all lines around it unknown; it never makes them wrong. Times are in
 * milliseconds of Unix time, without the rest of a fraction. */
#ifndef LOGFERRY_EVENT_TIMES_H
#define LOGFERRY_EVENT_TIMES_H

#include "bytes.h"

/* What a line's time is: the flags of model/event_times.py. Without a time; with a zone; without a zone; without zone and
 * year (as if in 1972); not read here. */
enum { TIME_NONE = 1, TIME_ZONED = 2, TIME_LOCAL = 4, TIME_YEARLESS = 8, TIME_UNREAD = 16 };

/* The time of one line. */
typedef struct {
    unsigned kind;
    int64_t ms;
} EventTime;

#define MINUTE_BYTES 16          /* 2024-01-15 08:23 */
#define CLF_MINUTE_BYTES 17      /* 15/Jan/2024:08:23 */
#define YEARLESS_MINUTE_BYTES 12 /* Jan 15 08:23 */

/* The times of many lines, and the last minute that was read of each form: most lines are of the minute before. */
typedef struct {
    unsigned kinds;
    int64_t low, high;
    byte minute[MINUTE_BYTES];
    int64_t minute_ms;
    byte clf_minute[CLF_MINUTE_BYTES];
    int64_t clf_minute_ms;
    byte yearless_minute[YEARLESS_MINUTE_BYTES];
    int64_t yearless_minute_ms;
} EventTimes;

/* Begin with no line. */
void event_times_open(EventTimes *times);

/* Return a tuple of three objects, which it takes over; NULL with an exception if one of them is NULL. */
PyObject *tuple_of_three(PyObject *first, PyObject *second, PyObject *third);

/* Return (kinds, low, high) for Python. */
PyObject *event_times_tuple(const EventTimes *times);

/* Read a minute, `2024-01-15T08:23`, with dashes, slashes or points, and a T or a space; return whether it is one. */
int read_minute(const byte *at, int64_t *ms);

/* Read a whole timestamp. */
EventTime read_event_time(const byte *at, const byte *end, EventTimes *times);

/* Read a number: seconds, milliseconds, microseconds or nanoseconds since 1970. */
EventTime read_epoch(const byte *at, const byte *end);

static inline void
note_event_time(EventTimes *times, EventTime time)
{
    times->kinds |= time.kind;
    if (time.kind & (TIME_ZONED | TIME_LOCAL | TIME_YEARLESS)) {
        if (time.ms < times->low)
            times->low = time.ms;
        if (time.ms > times->high)
            times->high = time.ms;
    }
}

/* Return the number that two digits are; more than 99 if they are not digits. */
static inline unsigned
two_digits(const byte *at)
{
    unsigned tens = (unsigned)at[0] - '0', ones = (unsigned)at[1] - '0';
    return tens > 9 || ones > 9 ? 100 : tens * 10 + ones;
}

/* Do as `read_minute` does; the text must have MINUTE_BYTES. */
static inline int
same_or_read_minute(const byte *at, EventTimes *times, int64_t *ms)
{
    if (memcmp(at, times->minute, MINUTE_BYTES)) {
        if (!read_minute(at, ms))
            return 0;
        memcpy(times->minute, at, MINUTE_BYTES);
        times->minute_ms = *ms;
    }
    *ms = times->minute_ms;
    return 1;
}

/* Add the digits of a fraction; return the position behind them, or NULL if there are none. */
static inline const byte *
take_fraction(const byte *at, const byte *end, int64_t *ms)
{
    const byte *first = at;
    while (at < end && IS(*at, DIGIT))
        at++;
    if (at == first)
        return NULL;
    *ms += (first[0] - '0') * 100 + (at - first > 1 ? (first[1] - '0') * 10 : 0) + (at - first > 2 ? first[2] - '0' : 0);
    return at;
}

/* Add `:45` with an optional fraction; return the position behind it, or NULL if there is none. */
static inline const byte *
take_seconds(const byte *at, const byte *end, int64_t *ms)
{
    if (end - at < 3 || *at != ':')
        return NULL;
    unsigned seconds = two_digits(at + 1);
    if (seconds > 60) /* 60: a leap second */
        return NULL;
    *ms += seconds * 1000;
    at += 3;
    if (at == end || (*at != '.' && *at != ','))
        return at;
    return take_fraction(at + 1, end, ms);
}

/* Take the zone that ends a timestamp off its time; return what the time is then. */
static inline unsigned
take_zone(const byte *at, const byte *end, int64_t *ms)
{
    if (at == end)
        return TIME_LOCAL;
    if (*at == ' ')
        at++;
    Py_ssize_t size = end - at;
    if ((size == 1 && *at == 'Z') || (size == 3 && (!memcmp(at, "UTC", 3) || !memcmp(at, "GMT", 3))))
        return TIME_ZONED;
    if ((size != 3 && size != 5 && size != 6) || (*at != '+' && *at != '-') || (size == 6 && at[3] != ':'))
        return TIME_UNREAD;
    unsigned hours = two_digits(at + 1), minutes = size == 3 ? 0 : two_digits(end - 2);
    if (hours > 15 || minutes > 59)
        return TIME_UNREAD;
    int64_t offset = (int64_t)(hours * 60 + minutes) * 60000;
    *ms += *at == '+' ? -offset : offset;
    return TIME_ZONED;
}

#endif
