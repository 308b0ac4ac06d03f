/* Renders lines in the plain format by rules 2, as far as their reading is certain; Python renders the others. */
#include "arguments.h"
#include "escape.h"
#include "levels.h"
#include "output.h"
#include "plain.h"

/* What is to be done with a line of the plain format, by rules 2 (rendering/formats/text/plain.py). */
typedef enum { ASK_PYTHON, WITH_LEVEL, WITH_TIMESTAMP, WHOLE } Reading;

/* Whether a word without a mark is a level right after a timestamp although it is in small letters. */
static inline int
is_small_level(const byte *at, const byte *end)
{
    static const char *const words[] = {"debug", "info", "warn", "warning", "error", "err", "crit", "fatal"};
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (strlen(words[i]) == (size_t)(end - at) && !memcmp(at, words[i], (size_t)(end - at)))
            return 1;
    return 0;
}

static inline int
are_capitals(const byte *at, const byte *end)
{
    while (at < end && IS(*at, CAPITAL))
        at++;
    return at == end;
}

/* Whether nothing after the word from `word` to `end` can precede a level: the word ends its line, or is followed by
 * one space and by neither a dash, a bar nor, perhaps after another name, a bracket. */
static int
is_prose(const byte *end, byte inner_newline)
{
    if (*end == '\n' || *end == inner_newline)
        return 1;
    if (*end != ' ')
        return 0;
    const byte *at = end + 1;
    if (*at == ' ' || *at == '-' || *at == '|' || *at == '[' || *at == '\t')
        return 0;
    if (!IS(*at, DIGIT | LETTER))
        return 1;
    while (IS(*at, DIGIT | LETTER) || *at == '_' || *at == '.' || *at == '/' || *at == '$' || *at == '-')
        at++;
    while (*at == ' ')
        at++;
    return *at != '[';
}

/* Decide about a line whose timestamp and first word parse_plain has found. */
static inline Reading
read_dated(const Parts *parts, byte inner_newline, int has_own_levels)
{
    const byte *zone = parts->timestamp_end - 4;
    if (*zone == ' ' && (zone[1] == '+' || zone[1] == '-'))
        return ASK_PYTHON; /* an hour after a space may be a number of the message */
    int is_marked = parts->level[-1] == '[' || *parts->level_end == ':';
    if ((is_marked || are_capitals(parts->level, parts->level_end)) && is_level_word(parts->level, parts->level_end))
        return WITH_LEVEL;
    if (!is_marked && is_small_level(parts->level, parts->level_end))
        return WITH_LEVEL;
    if (is_marked || has_own_levels || are_capitals(parts->level, parts->level_end))
        return ASK_PYTHON;
    if (parts->timestamp_end[0] != ' ' || parts->timestamp_end + 1 != parts->level)
        return ASK_PYTHON;
    return is_prose(parts->level_end, inner_newline) ? WITH_TIMESTAMP : ASK_PYTHON;
}

/* Decide about any other line by its beginning: the timestamps and levels of all layouts begin with a digit, a bracket,
 * an escape, or certain words. */
static inline Reading
read_undated(const byte *at, int has_own_levels)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDecMonTueWedThuFriSatSun";
    if (IS(*at, DIGIT) || *at == '[' || *at == '<' || *at == 0x1b)
        return ASK_PYTHON;
    if (!IS(*at, LETTER))
        return WHOLE;
    const byte *end = at;
    while (IS(*end, LETTER))
        end++;
    if (has_own_levels || *end == ':' || are_capitals(at, end))
        return ASK_PYTHON;
    for (const char *name = names; end - at == 3 && *name; name += 3)
        if (!memcmp(at, name, 3))
            return ASK_PYTHON;
    return WHOLE;
}

/* Put a line, or what is left of it from `at` on, as a message with its level before and its timestamp after it. */
static byte *
put_record(byte *out, const byte *line, const byte *at, const byte *end, byte inner_newline, Reading reading,
           const Parts *parts)
{
    out = PUT(out, "{\"level\": \"");
    if (reading == WITH_LEVEL)
        for (const byte *c = parts->level; c < parts->level_end; c++)
            *out++ = *c & 0xdf;
    else
        out = PUT(out, "UNKNOWN");
    out = PUT(out, "\", \"message\": \"");
    out = escape_line(out, &at, end, inner_newline);
    if (reading == WHOLE)
        return PUT(out, "\", \"timestamp\": null}\n");
    out = PUT(out, "\", \"timestamp\": \"");
    memcpy(out, line, (size_t)(parts->timestamp_end - line));
    out += parts->timestamp_end - line;
    return PUT(out, "\"}\n");
}

/* Add `count` lines that Python has to read to the gaps between records, at an offset of the payload. */
static int
add_gap(PyObject *gaps, Py_ssize_t offset, Py_ssize_t count)
{
    PyObject *gap = count ? Py_BuildValue("nn", offset, count) : NULL;
    if (!gap)
        return count ? -1 : 0;
    int failed = PyList_Append(gaps, gap);
    Py_DECREF(gap);
    return failed;
}

/* Render the lines whose reading is certain. The others are put together, with the places where their records belong. */
static PyObject *
render_certain_lines(const byte *at, const byte *end, byte inner_newline, int has_own_levels)
{
    Py_ssize_t lines = 0, blank = 0, waiting = 0;
    Output output, others;
    PyObject *gaps = PyList_New(0);
    if (!gaps)
        return NULL;
    if (output_open(&output, end - at + (end - at) / 16 + 64 * count_newlines(at, end) + SPARE_BYTES) < 0)
        goto no_output;
    if (output_open(&others, 0) < 0)
        goto no_others;
    while (at < end) {
        const byte *newline = memchr(at, '\n', (size_t)(end - at));
        Parts parts;
        Reading reading;
        if (parse_plain(at, inner_newline, &parts))
            reading = read_dated(&parts, inner_newline, has_own_levels);
        else if (is_blank(at, inner_newline)) {
            blank++;
            at = newline + 1;
            continue;
        }
        else
            reading = read_undated(at, has_own_levels);
        if (reading == ASK_PYTHON) {
            if (output_reserve(&others, newline + 1 - at) < 0)
                goto failed;
            memcpy(others.at, at, (size_t)(newline + 1 - at));
            others.at += newline + 1 - at;
            waiting++;
        }
        else {
            if (add_gap(gaps, output.at - (byte *)PyBytes_AS_STRING(output.object), waiting) < 0)
                goto failed;
            waiting = 0;
            if (output_reserve(&output, MOST_PER_BYTE * (newline - at) + RECORD_BYTES + SLACK) < 0)
                goto failed;
            const byte *message = reading == WITH_LEVEL ? parts.message : reading == WITH_TIMESTAMP ? parts.level : at;
            output.at = put_record(output.at, at, message, end, inner_newline, reading, &parts);
            lines++;
        }
        at = newline + 1;
    }
    if (add_gap(gaps, output.at - (byte *)PyBytes_AS_STRING(output.object), waiting) < 0)
        goto failed;
    PyObject *payload = output_close(&output), *left = output_close(&others);
    if (payload && left)
        return Py_BuildValue("NnnNN", payload, lines, blank, left, gaps);
    Py_XDECREF(payload);
    Py_XDECREF(left);
    Py_DECREF(gaps);
    return NULL;
failed:
    Py_XDECREF(others.object);
no_others:
    Py_XDECREF(output.object);
no_output:
    Py_DECREF(gaps);
    return NULL;
}

static PyObject *
render_certain_known_levels(const byte *at, const byte *end, byte inner_newline)
{
    return render_certain_lines(at, end, inner_newline, 0);
}

static PyObject *
render_certain_own_levels(const byte *at, const byte *end, byte inner_newline)
{
    return render_certain_lines(at, end, inner_newline, 1);
}

PyObject *
render_certain(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return with_lines(arguments, render_certain_known_levels);
}

PyObject *
render_certain_of_own_levels(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return with_lines(arguments, render_certain_own_levels);
}
