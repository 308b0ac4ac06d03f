/* The table of the classes of bytes, and counting newlines. */
#include "bytes.h"

uint16_t kinds[256];

void
fill_kinds(void)
{
    for (int c = '0'; c <= '9'; c++)
        kinds[c] |= DIGIT | STAMP | BASE64;
    for (int c = 'a'; c <= 'z'; c++)
        kinds[c] |= LETTER | BASE64;
    for (int c = 'A'; c <= 'Z'; c++)
        kinds[c] |= LETTER | CAPITAL | BASE64;
    for (const char *c = "TZUCGM:., +-"; *c; c++)
        kinds[(byte)*c] |= STAMP;
    for (const char *c = " \t\r\v\f"; *c; c++)
        kinds[(byte)*c] |= BLANK;
    for (const char *c = "+/="; *c; c++)
        kinds[(byte)*c] |= BASE64;
    /* Of logfmt: what words consist of, and keys. */
    for (int c = 0x21; c < 0x100; c++)
        kinds[c] |= c == '"' ? 0 : c == '=' || c == '\\' ? PAIR_WORD : PAIR_WORD | PAIR_KEY;
    /* Of syslog: what the names of programs consist of. */
    for (int c = '!'; c <= '~'; c++)
        kinds[c] |= strchr("\":[\\]", c) ? 0 : TAG;
}

Py_ssize_t
count_newlines(const byte *at, const byte *end)
{
    Py_ssize_t count = 0;
#if defined(__SSE2__)
    while (end - at >= 16) {
        /* Each of 16 counters counts up to 255. The comparison gives -1 for an equal byte. */
        const byte *stop = end - at < 255 * 16 ? at + (end - at) / 16 * 16 : at + 255 * 16;
        __m128i counters = _mm_setzero_si128();
        for (; at < stop; at += 16) {
            __m128i found = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)at), _mm_set1_epi8('\n'));
            counters = _mm_sub_epi8(counters, found);
        }
        __m128i sums = _mm_sad_epu8(counters, _mm_setzero_si128());
        count += _mm_cvtsi128_si64(sums) + _mm_cvtsi128_si64(_mm_unpackhi_epi64(sums, sums));
    }
#endif
    for (; at < end; at++)
        count += *at == '\n';
    return count;
}

const byte *
place_of_text(const byte *at, const byte *end, const char *text, Py_ssize_t size)
{
#if defined(__SSE2__)
    const __m128i first = _mm_set1_epi8(text[1]), last = _mm_set1_epi8(text[size - 1]);
    for (; end - at >= 16 + size; at += 16) {
        __m128i firsts = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(at + 1)), first);
        __m128i lasts = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(at + size - 1)), last);
        for (unsigned mask = (unsigned)_mm_movemask_epi8(_mm_and_si128(firsts, lasts)); mask; mask &= mask - 1)
            if (!memcmp(at + __builtin_ctz(mask), text, (size_t)size))
                return at + __builtin_ctz(mask);
    }
#endif
    for (; end - at >= size; at++)
        if (*at == (byte)*text && !memcmp(at, text, (size_t)size))
            return at;
    return NULL;
}
