/* Skipping JSON strings, which validation and every reader of JSON share. */
#ifndef LOGFERRY_JSON_TEXT_H
#define LOGFERRY_JSON_TEXT_H

#include "bytes.h"

/* Return the position after `text`, which must be at `at`; NULL if it is not. */
#define SKIP(at, end, text) \
    ((end) - (at) >= (Py_ssize_t)sizeof(text) - 1 && !memcmp((at), (text), sizeof(text) - 1) ? (at) + sizeof(text) - 1 : NULL)

/* Return the position after a JSON string, given the position after its first quote; NULL if it is not a string. */
static inline const byte *
skip_string(const byte *at, const byte *end)
{
    for (;;) {
        at = find_special(at, end);
        if (at == end || *at < 0x20)
            return NULL;
        if (*at++ == '"')
            return at;
        if (at == end)
            return NULL;
        byte escape = *at++;
        if (escape == 'u') {
            if (end - at < 4)
                return NULL;
            for (int i = 0; i < 4; i++)
                if (!(IS(at[i], DIGIT) || (IS(at[i], LETTER) && (at[i] | 0x20) <= 'f')))
                    return NULL;
            at += 4;
        }
        else if (!memchr("\"\\/bfnrt", escape, 8))
            return NULL;
    }
}

/* How many objects and arrays may lie in each other, the record included: MAX_NESTING of protocol/lines/long_lines.py. */
#define MOST_NESTED 64

static inline const byte *
skip_space(const byte *at, const byte *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r'))
        at++;
    return at;
}

/* The keys that every record has. */
enum { HAS_LEVEL = 1, HAS_MESSAGE = 2 };

#endif
