/* Timestamps, as rendering/engine/timestamps.py has their patterns. */
#ifndef LOGFERRY_TIMES_H
#define LOGFERRY_TIMES_H

#include "bytes.h"

/* Whether the bytes match UNMISTAKABLE: a date and a time that nothing else looks like. */
static inline int
is_time(const byte *at, const byte *end)
{
    static const char shape[] = "0000-00-00 00:00";
    if (end - at < (Py_ssize_t)sizeof(shape) - 1)
        return 0;
    for (const char *c = shape; *c; c++, at++)
        if (*c == '0' ? !IS(*at, DIGIT) : *c == ' ' ? *at != ' ' && *at != 'T' : *at != (byte)*c)
            return 0;
    while (at < end && (IS(*at, DIGIT) || memchr(":.,+Z-", *at, 6)))
        at++;
    return at == end;
}

#endif
