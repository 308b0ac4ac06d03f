/* Classes of bytes, and the search for bytes that JSON escapes. */
#ifndef LOGFERRY_BYTES_H
#define LOGFERRY_BYTES_H

#include "common.h"

enum { DIGIT = 1, LETTER = 2, CAPITAL = 4, STAMP = 8, BLANK = 16, BASE64 = 32, PAIR_KEY = 64, PAIR_WORD = 128, TAG = 256 };

extern uint16_t kinds[256];

/* Fill `kinds`: once, before any other function runs. */
void fill_kinds(void);

#define IS(c, kind) (kinds[(byte)(c)] & (kind))

static inline int
are_digits(const byte *at, int count)
{
    for (int i = 0; i < count; i++)
        if (!IS(at[i], DIGIT))
            return 0;
    return 1;
}

/* Whether a byte must be escaped in a JSON string: a quote, a backslash or a control character. */
static inline int
is_special(byte c)
{
    return c < 0x20 || c == '"' || c == '\\';
}

#if defined(__SSE2__)
/* Return 16 bits, one per byte, each set if its byte is special. */
static inline unsigned
special_mask(__m128i bytes)
{
    __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control));
}
#endif

/* Return the first special byte, or `end`. */
static inline const byte *
find_special(const byte *at, const byte *end)
{
#if defined(__SSE2__)
    for (; end - at >= 16; at += 16) {
        unsigned mask = special_mask(_mm_loadu_si128((const __m128i *)at));
        if (mask)
            return at + __builtin_ctz(mask);
    }
#endif
    while (at < end && !is_special(*at))
        at++;
    return at;
}

/* Return the first byte that is special or `other`; or `end`. */
static inline const byte *
find_special_or(byte other, const byte *at, const byte *end)
{
#if defined(__SSE2__)
    const __m128i others = _mm_set1_epi8((char)other);
    for (; end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)at);
        unsigned mask = special_mask(bytes) | (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, others));
        if (mask)
            return at + __builtin_ctz(mask);
    }
#endif
    while (at < end && *at != other && !is_special(*at))
        at++;
    return at;
}

/* Return how many newlines there are. */
Py_ssize_t count_newlines(const byte *at, const byte *end);

/* Return where a text of at least two bytes occurs first; NULL if it does not. Its second and its last byte are looked for
 * in 16 places at a time. */
const byte *place_of_text(const byte *at, const byte *end, const char *text, Py_ssize_t size);

#define OCCURS(at, end, text) (place_of_text((at), (end), (text), sizeof(text) - 1) != NULL)

#endif
