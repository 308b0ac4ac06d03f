/* What json and logfmt share: lines are rendered one by one as far as they are certain, and the others left to Python. */
#ifndef LOGFERRY_STRUCTURED_H
#define LOGFERRY_STRUCTURED_H

#include "common_keys.h"
#include "escape.h"
#include "gaps.h"
#include "plain.h"

typedef enum { LINE_FAILED = -1, LINE_LEFT, LINE_RENDERED } LineResult;

/* Render a line that is not blank; LINE_FAILED with an exception. `state` is what the function keeps between lines. */
typedef LineResult (*PutLine)(const byte *line, const byte *newline, const byte *end, byte inner_newline, void *state,
                              Output *output);

/* Render lines, and return (NDJSON, records, blank lines, other lines, gaps). */
PyObject *render_each_line(const byte *at, const byte *end, byte inner_newline, PutLine put, void *state);

static inline byte *
put_bytes(byte *out, const byte *at, const byte *end)
{
    memcpy(out, at, (size_t)(end - at));
    return out + (end - at);
}

static inline byte *
put_capitals(byte *out, const byte *at, const byte *end)
{
    for (; at < end; at++)
        *out++ = (*at >= 'a' && *at <= 'z') ? (byte)(*at - 0x20) : *at;
    return out;
}

static inline byte *
put_word(byte *out, const char *word)
{
    return put_bytes(out, (const byte *)word, (const byte *)word + strlen(word));
}

/* Whether capitals of a text, given with its quotes, are those of ASCII. */
static inline int
is_ascii_text(const byte *at, const byte *end)
{
    for (; at < end; at++)
        if (*at >= 0x80 || *at == '\\')
            return 0;
    return 1;
}

/* Put a whole line as the message of a record. */
static inline byte *
put_unknown(byte *out, const byte *line, const byte *end, byte inner_newline)
{
    out = PUT(out, "{\"level\": \"UNKNOWN\", \"message\": \"");
    out = escape_line(out, &line, end, inner_newline);
    return PUT(out, "\", \"timestamp\": null}\n");
}

PyObject *render_json(PyObject *module, PyObject *arguments);
PyObject *render_logfmt(PyObject *module, PyObject *arguments);

#endif
