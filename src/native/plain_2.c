/* Renders lines in the plain format by rules 2: the commonest layout here, and all others by the program of the format. */
#include "arguments.h"
#include "escape.h"
#include "levels.h"
#include "line_program.h"
#include "plain.h"

/* What is to be done with a line of the plain format, by rules 2 (rendering/formats/text/plain.py). */
typedef enum { ASK, WITH_LEVEL, WITH_TIMESTAMP, WHOLE } Reading;

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
        return ASK; /* an hour after a space may be a number of the message */
    int is_marked = parts->level[-1] == '[' || *parts->level_end == ':';
    if ((is_marked || are_capitals(parts->level, parts->level_end)) && is_level_word(parts->level, parts->level_end))
        return WITH_LEVEL;
    if (!is_marked && is_small_level(parts->level, parts->level_end))
        return WITH_LEVEL;
    if (is_marked || has_own_levels || are_capitals(parts->level, parts->level_end))
        return ASK;
    if (parts->timestamp_end[0] != ' ' || parts->timestamp_end + 1 != parts->level)
        return ASK;
    return is_prose(parts->level_end, inner_newline) ? WITH_TIMESTAMP : ASK;
}

/* Decide about any other line by its beginning: the timestamps and levels of all layouts begin with a digit, a bracket,
 * an escape, or certain words. */
static inline Reading
read_undated(const byte *at, int has_own_levels)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDecMonTueWedThuFriSatSun";
    if (IS(*at, DIGIT) || *at == '[' || *at == '<' || *at == 0x1b)
        return ASK;
    if (!IS(*at, LETTER))
        return WHOLE;
    const byte *end = at;
    while (IS(*end, LETTER))
        end++;
    if (has_own_levels || *end == ':' || are_capitals(at, end))
        return ASK;
    for (const char *name = names; end - at == 3 && *name; name += 3)
        if (!memcmp(at, name, 3))
            return ASK;
    return WHOLE;
}

/* Put a line, or what is left of it from `at` on, as a message with its level before and its timestamp after it. */
static byte *
put_certain(byte *out, const byte *line, const byte *at, const byte *end, byte inner_newline, Reading reading,
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

/* Render a line whose reading is not certain: by the program, if there is one. */
static RecordResult
put_uncertain(LineProgram *program, Scratch *scratch, const byte *at, const byte *end, byte inner_newline,
              Output *output, Gaps *gaps)
{
    const byte *newline, *next, *line = escaped_line(scratch, at, end, inner_newline, &newline, &next);
    if (!line)
        return RECORD_FAILED;
    RecordResult result = program ? put_line(program, line, newline, output) : RECORD_LEFT;
    if (result == RECORD_LEFT && gaps_add(gaps, line, newline) < 0)
        return RECORD_FAILED;
    return result;
}

/* Render lines: those whose reading is certain here, the others by the program, or by Python. */
static PyObject *
render_by_rules_2(const byte *at, const byte *end, byte inner_newline, int has_own_levels, LineProgram *program)
{
    Py_ssize_t lines = 0, blank = 0;
    Output output;
    Gaps gaps;
    Scratch scratch = {NULL, 0};
    if (gaps_open(&gaps) < 0)
        return NULL;
    if (output_open(&output, end - at + (end - at) / 16 + 64 * count_newlines(at, end) + SPARE_BYTES) < 0)
        goto failed;
    while (at < end) {
        const byte *newline = memchr(at, '\n', (size_t)(end - at));
        Py_ssize_t offset = output.at - (byte *)PyBytes_AS_STRING(output.object);
        Parts parts;
        Reading reading;
        RecordResult result = RECORD_PUT;
        if (parse_plain(at, inner_newline, &parts))
            reading = read_dated(&parts, inner_newline, has_own_levels);
        else if (is_blank(at, inner_newline)) {
            blank++;
            at = newline + 1;
            continue;
        }
        else
            reading = read_undated(at, has_own_levels);
        if (reading == ASK)
            result = put_uncertain(program, &scratch, at, end, inner_newline, &output, &gaps);
        else {
            if (output_reserve(&output, MOST_PER_BYTE * (newline - at) + RECORD_BYTES + SLACK) < 0)
                goto failed;
            const byte *message = reading == WITH_LEVEL ? parts.message : reading == WITH_TIMESTAMP ? parts.level : at;
            output.at = put_certain(output.at, at, message, end, inner_newline, reading, &parts);
        }
        if (result == RECORD_FAILED)
            goto failed;
        if (result == RECORD_PUT) {
            lines++;
            if (gaps.waiting && gaps_enter_place(&gaps, offset) < 0)
                goto failed;
        }
        blank += result == RECORD_BLANK;
        at = newline + 1;
    }
    PyMem_Free(scratch.line);
    return gaps_close(&gaps, &output, lines, blank);
failed:
    PyMem_Free(scratch.line);
    gaps_drop(&gaps, &output);
    return NULL;
}

PyObject *
render_plain_2(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer data, inner_newline;
    int has_own_levels;
    PyObject *capsule, *result = NULL;
    LineProgram *program = NULL;
    if (!PyArg_ParseTuple(arguments, "y*y*pO", &data, &inner_newline, &has_own_levels, &capsule))
        return NULL;
    if (check_lines(&data, &inner_newline) == 0 && (capsule == Py_None || (program = program_of(capsule))))
        result = render_by_rules_2(data.buf, (const byte *)data.buf + data.len, *(const byte *)inner_newline.buf,
                                   has_own_levels, program);
    PyBuffer_Release(&data);
    PyBuffer_Release(&inner_newline);
    return result;
}
