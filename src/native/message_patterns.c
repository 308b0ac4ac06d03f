/* What messages have in common: `pattern_of` in reading/counting/message_patterns.py. */
#include "bytes.h"
#include "counting.h"
#include "output.h"

/* The longest text in quotes that is replaced. */
#define MOST_QUOTED 256

/* A hash has at least this many digits. */
#define LEAST_HASH 6

static inline int
is_word(byte c)
{
    return c >= 0x80 || c == '_' || IS(c, DIGIT | LETTER);
}

static inline int
is_hex(byte c)
{
    return IS(c, DIGIT) || (IS(c, LETTER) && (c | 0x20) <= 'f');
}

static inline const byte *
skip_hex(const byte *at, const byte *end)
{
    while (at < end && is_hex(*at))
        at++;
    return at;
}

/* Return the position after a text in quotes, which begins at `at`: its last quote is like the one before it, with
 * a backslash if `is_escaped`, and no word follows. NULL if there is none. */
static const byte *
skip_quoted(const byte *at, const byte *end, int is_escaped)
{
    const byte *first = at, *stop = end - at > MOST_QUOTED ? at + MOST_QUOTED : end;
    while (at < stop) {
        const byte *here = at;
        at += *here == '\\' ? 2 : 1;
        if (*here == '\\' && (at > end || here[1] == 'n'))
            return NULL;
        if (is_escaped ? *here == '\\' && here[1] == '"' : *here == '\'')
            return here > first && (at == end || !is_word(*at)) ? at : NULL;
    }
    return NULL;
}

/* Return the position after a UUID; NULL if there is none. */
static const byte *
skip_uuid(const byte *at, const byte *end)
{
    static const byte sizes[] = {8, 4, 4, 4, 12};
    for (int i = 0; i < 5; i++) {
        if (i && (at == end || *at++ != '-'))
            return NULL;
        const byte *next = skip_hex(at, end);
        if (next - at != sizes[i])
            return NULL;
        at = next;
    }
    return at < end && is_word(*at) ? NULL : at;
}

/* Return the position after a number in hexadecimal, or a hash: digits and letters, but a whole word. NULL if not. */
static const byte *
skip_hash(const byte *at, const byte *end)
{
    int is_marked = end - at > 2 && *at == '0' && (at[1] | 0x20) == 'x';
    const byte *first = is_marked ? at + 2 : at, *next = skip_hex(first, end);
    if (next == first || (next < end && is_word(*next)))
        return NULL;
    if (is_marked)
        return next;
    int has_digit = 0, has_letter = 0;
    for (at = first; at < next; at++)
        IS(*at, DIGIT) ? (has_digit = 1) : (has_letter = 1);
    return next - first >= LEAST_HASH && has_digit && has_letter ? next : NULL;
}

/* Return the position after a number: digits, with points or commas between them. */
static const byte *
skip_number(const byte *at, const byte *end)
{
    for (;;) {
        while (at < end && IS(*at, DIGIT))
            at++;
        if (end - at < 2 || (*at != '.' && *at != ',') || !IS(at[1], DIGIT))
            return at;
        at++;
    }
}

byte *
put_pattern(byte *out, const byte *at, const byte *end)
{
    const byte *stop = end - at > PATTERN_COVERS ? at + PATTERN_COVERS : end, *next;
    int is_within = 0; /* a word */
    while (at < stop) {
        if (*at == '\\') {
            if (end - at < 2 || at[1] == 'n')
                break;
            if (at[1] == '"' && !is_within && (next = skip_quoted(at + 2, end, 1))) {
                out = PUT(out, "<text>");
                at = next;
                continue;
            }
            Py_ssize_t size = at[1] == 'u' && end - at >= 6 ? 6 : 2;
            memcpy(out, at, (size_t)size);
            out += size, at += size, is_within = 0;
        }
        else if (*at == '\'' && !is_within && (next = skip_quoted(at + 1, end, 0))) {
            out = PUT(out, "<text>");
            at = next;
        }
        else if (!is_within && is_hex(*at) && (next = skip_uuid(at, end))) {
            out = PUT(out, "<uuid>");
            at = next, is_within = 1;
        }
        else if (!is_within && is_hex(*at) && (next = skip_hash(at, end))) {
            out = PUT(out, "<hex>");
            at = next, is_within = 1;
        }
        else if (IS(*at, DIGIT)) {
            out = PUT(out, "<n>");
            at = skip_number(at, end), is_within = 1;
        }
        else {
            is_within = is_word(*at);
            *out++ = *at++;
        }
    }
    for (int i = 0; i < 3 && at < end && (*at & 0xc0) == 0x80; i++) /* the rest of a character */
        *out++ = *at++;
    return out;
}
