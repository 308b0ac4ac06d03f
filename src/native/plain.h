/* Lines in the plain format (rendering/formats/text/plain_1.py): their parts, which the rules 1 and 2 share. */
#ifndef LOGFERRY_PLAIN_H
#define LOGFERRY_PLAIN_H

#include "bytes.h"

/* The parts of a plain line. */
typedef struct {
    const byte *timestamp_end;
    const byte *level;
    const byte *level_end;
    const byte *message;
} Parts;

/* Return the end of the time zone at `at`; `at` itself if there is none. */
static inline const byte *
zone_end(const byte *at)
{
    const byte *zone = *at == ' ' ? at + 1 : at;
    const byte *end;
    if (*zone == 'Z')
        end = zone + 1;
    else if (*zone == 'U' && zone[1] == 'T' && zone[2] == 'C')
        end = zone + 3;
    else if (*zone == 'G' && zone[1] == 'M' && zone[2] == 'T')
        end = zone + 3;
    else if ((*zone == '+' || *zone == '-') && are_digits(zone + 1, 2)) {
        const byte *minutes = zone[3] == ':' ? zone + 4 : zone + 3;
        end = are_digits(minutes, 2) ? minutes + 2 : zone + 3;
    }
    else
        return at;
    return IS(*end, DIGIT | LETTER) ? at : end;
}

/* Find the parts of a plain line (rendering/formats/text/plain_1.py has the pattern); return 0 if it is not a plain line.
 * The line ends with a newline, which no part can contain, so nothing beyond the newline is read. */
static inline int
parse_plain(const byte *line, byte inner_newline, Parts *parts)
{
    const byte *at = line;
    if (!(are_digits(at, 4) && at[4] == '-' && are_digits(at + 5, 2) && at[7] == '-' && are_digits(at + 8, 2)))
        return 0;
    if (at[10] != ' ' && at[10] != 'T')
        return 0;
    if (!(are_digits(at + 11, 2) && at[13] == ':' && are_digits(at + 14, 2) && at[16] == ':' && are_digits(at + 17, 2)))
        return 0;
    at += 19;
    if ((*at == '.' || *at == ',') && IS(at[1], DIGIT))
        for (at += 2; IS(*at, DIGIT); at++)
            ;
    at = zone_end(at);
    parts->timestamp_end = at;
    if (*at == '\t')
        at++;
    else if (*at == ' ')
        while (*at == ' ')
            at++;
    else
        return 0;
    int is_bracketed = *at == '[';
    at += is_bracketed;
    parts->level = at;
    while (IS(*at, LETTER))
        at++;
    parts->level_end = at;
    if (at == parts->level)
        return 0;
    if (is_bracketed) {
        if (*at++ != ']')
            return 0;
    }
    else if (*at == ':')
        at++;
    if (*at == ' ' || *at == '\t' || (*at == inner_newline && inner_newline != '\n'))
        at++;
    else if (*at != '\n')
        return 0;
    parts->message = at;
    return 1;
}

static inline int
is_blank(const byte *line, byte inner_newline)
{
    while (IS(*line, BLANK) && *line != inner_newline)
        line++;
    return *line == '\n';
}

/* An upper bound on the bytes of a record beyond those of its line. */
#define RECORD_BYTES 96

PyObject *render_plain(PyObject *module, PyObject *arguments);
PyObject *render_raw(PyObject *module, PyObject *arguments);
PyObject *render_plain_2(PyObject *module, PyObject *arguments);

#endif
