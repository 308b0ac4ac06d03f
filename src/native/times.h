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

/* Whether each of 16 bytes lies between those of two texts, including these. */
static inline int
are_between(const byte *at, const char *lowest, const char *highest)
{
#if defined(__SSE2__)
    __m128i bytes = _mm_loadu_si128((const __m128i *)at);
    __m128i above = _mm_max_epu8(bytes, _mm_loadu_si128((const __m128i *)lowest));
    __m128i below = _mm_min_epu8(bytes, _mm_loadu_si128((const __m128i *)highest));
    return _mm_movemask_epi8(_mm_cmpeq_epi8(above, below)) == 0xffff;
#else
    for (int i = 0; i < 16; i++)
        if (at[i] < (byte)lowest[i] || at[i] > (byte)highest[i])
            return 0;
    return 1;
#endif
}

/* Return the position after a time as RFC_3339 has it; NULL if there is none. A newline follows, before `end`. */
static inline const byte *
skip_rfc_3339(const byte *at, const byte *end)
{
    if (end - at < 19 || !are_between(at, "0000-00-00T00:00", "9999-99-99T99:99") || at[16] != ':' || !IS(at[17], DIGIT)
        || !IS(at[18], DIGIT))
        return NULL;
    at += 19;
    if (*at == '.') {
        if (!IS(*++at, DIGIT))
            return NULL;
        while (IS(*at, DIGIT))
            at++;
    }
    if (*at == 'Z')
        return at + 1;
    if ((*at != '+' && *at != '-') || end - at < 7 || at[3] != ':')
        return NULL;
    return IS(at[1], DIGIT) && IS(at[2], DIGIT) && IS(at[4], DIGIT) && IS(at[5], DIGIT) ? at + 6 : NULL;
}

/* Return the position after a time as RFC_3164 has it, where a space must follow; NULL if there is none. */
static inline const byte *
skip_rfc_3164(const byte *at, const byte *end)
{
    if (end - at < 16 || !are_between(at, "Aaa  0 00:00:00 ", "Zzz 39 99:99:99 ") || (at[4] != ' ' && at[4] < '0'))
        return NULL;
    return at + 15;
}

/* Return the position after a timestamp as AT_MESSAGE_START has it and the spaces that follow; `at` itself if there is
 * none. A quote or a newline ends the text. */
static inline const byte *
skip_timestamp_of_message(const byte *at)
{
    static const char shape[] = "0000-00-00 00:00:00";
    const byte *c = at;
    for (const char *s = shape; *s; s++, c++) {
        int fits = *s == '0' ? IS(*c, DIGIT) : *s == '-' ? *c == '-' || *c == '/' : *s == ' ' ? *c == ' ' || *c == 'T' : *c == ':';
        if (!fits)
            return at;
    }
    if ((*c == '.' || *c == ',') && IS(c[1], DIGIT))
        for (c++; IS(*c, DIGIT);)
            c++;
    if (*c == 'Z')
        c++;
    else if ((*c == '+' || *c == '-') && are_digits(c + 1, 2)) {
        const byte *minutes = c + 3 + (c[3] == ':');
        if (are_digits(minutes, 2))
            c = minutes + 2;
    }
    if (*c != ' ')
        return at;
    while (*c == ' ')
        c++;
    return c;
}

#endif
