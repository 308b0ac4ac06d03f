/* What preceded the values of the line before: most lines of a chunk have the same members in the same order. */
#ifndef LOGFERRY_EXPECTED_H
#define LOGFERRY_EXPECTED_H

#include "bytes.h"

/* Of further members, and of longer texts, nothing is expected. */
enum { MOST_EXPECTED = 32, LONGEST_EXPECTED = 32 };

/* Whether a text that lies before `at` in the same data is at `at` once more. */
static inline int
is_expected(const byte *text, int size, const byte *at, const byte *end)
{
    if (!size || end - at < LONGEST_EXPECTED)
        return 0;
#if defined(__SSE2__)
    __m128i first = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)at), _mm_loadu_si128((const __m128i *)text));
    __m128i second = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(at + 16)),
                                    _mm_loadu_si128((const __m128i *)(text + 16)));
    uint32_t equal = (uint32_t)_mm_movemask_epi8(first) | (uint32_t)_mm_movemask_epi8(second) << 16;
    return !(~equal << (LONGEST_EXPECTED - size));
#else
    return !memcmp(at, text, (size_t)size);
#endif
}

#endif
