/* The minute of a timestamp, as text: `minute_of` in reading/counting/line_counts.py. */
#include "bytes.h"
#include "counting.h"

/* Return how many digits there are from `at` on. */
static inline Py_ssize_t
digits_at(const byte *at, const byte *end)
{
    const byte *first = at;
    while (at < end && IS(*at, DIGIT))
        at++;
    return at - first;
}

/* Write a number of seconds since 1970, or of parts of a second, rounded down to the minute. */
static byte *
put_whole_minute(byte *out, const byte *at, Py_ssize_t size, uint64_t unit)
{
    uint64_t number = 0;
    for (Py_ssize_t i = 0; i < size; i++)
        number = number * 10 + (uint64_t)(at[i] - '0');
    number -= number % (60 * unit);
    for (Py_ssize_t i = size; i-- > 0; number /= 10)
        out[i] = (byte)('0' + number % 10);
    return out + size;
}

/* Whether a time of day with its seconds begins here: 08:23:45, at most 59 seconds, no digit around it. */
static inline int
is_time_of_day(const byte *first, const byte *at, const byte *end)
{
    return end - at >= 8 && at[2] == ':' && at[5] == ':' && IS(at[0], DIGIT) && IS(at[1], DIGIT) && IS(at[3], DIGIT)
           && IS(at[4], DIGIT) && at[6] >= '0' && at[6] <= '5' && IS(at[7], DIGIT)
           && (end - at == 8 || !IS(at[8], DIGIT)) && (at == first || !IS(at[-1], DIGIT));
}

byte *
put_minute(byte *out, const byte *at, const byte *end)
{
    const byte *first = at;
    Py_ssize_t size = digits_at(at, end);
    if (size == 10 && (at + size == end || (at[size] == '.' && digits_at(at + size + 1, end) == end - at - size - 1)))
        return put_whole_minute(out, at, size, 1);
    if (at + size == end && size == 13)
        return put_whole_minute(out, at, size, 1000);
    if (at + size == end && size == 16)
        return put_whole_minute(out, at, size, 1000000);
    for (; at < end; at++)
        if (is_time_of_day(first, at, end)) {
            memcpy(out, first, (size_t)(at + 6 - first));
            out += at + 6 - first;
            *out++ = '0', *out++ = '0';
            first = at + 8;
            if (first < end && (*first == '.' || *first == ',') && digits_at(first + 1, end))
                first += 1 + digits_at(first + 1, end);
            break;
        }
    memcpy(out, first, (size_t)(end - first));
    return out + (end - first);
}
