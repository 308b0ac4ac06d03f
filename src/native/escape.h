/* Escaping for JSON, as rendering/engine/escape.py does it. */
#ifndef LOGFERRY_ESCAPE_H
#define LOGFERRY_ESCAPE_H

#include "bytes.h"

/* One byte becomes at most MOST_PER_BYTE bytes; `escape_line` may write up to SLACK bytes beyond its result. */
#define MOST_PER_BYTE 6
#define SLACK 32

static inline byte *
put_escape(byte *out, byte c, byte inner_newline)
{
    static const char digits[] = "0123456789abcdef";
    byte name = 0;
    if (c == inner_newline)
        name = 'n';
    else if (c == '"' || c == '\\')
        name = c;
    else if (c == '\t')
        name = 't';
    else if (c == '\r')
        name = 'r';
    else if (c == '\b')
        name = 'b';
    else if (c == '\f')
        name = 'f';
    *out++ = '\\';
    if (name) {
        *out++ = name;
        return out;
    }
    *out++ = 'u';
    *out++ = '0';
    *out++ = '0';
    *out++ = (byte)digits[c >> 4];
    *out++ = (byte)digits[c & 15];
    return out;
}

/* Escape from `*from` up to the newline, which must exist, and leave `*from` at that newline. An `inner_newline` that
 * is a newline itself has no effect. */
static inline byte *
escape_line(byte *out, const byte **from, const byte *end, byte inner_newline)
{
    const byte *at = *from;
    for (;;) {
#if defined(__SSE2__)
        while (end - at >= 16) {
            __m128i bytes = _mm_loadu_si128((const __m128i *)at);
            unsigned mask = special_mask(bytes);
            _mm_storeu_si128((__m128i *)out, bytes);
            if (mask) {
                int plain = __builtin_ctz(mask);
                at += plain;
                out += plain;
                goto special;
            }
            at += 16;
            out += 16;
        }
#endif
        while (!is_special(*at))
            *out++ = *at++;
#if defined(__SSE2__)
    special:
#endif
        if (*at == '\n') {
            *from = at;
            return out;
        }
        out = put_escape(out, *at++, inner_newline);
    }
}

PyObject *escape(PyObject *module, PyObject *arguments);

#endif
