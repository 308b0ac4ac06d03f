/* Renders lines in the logfmt format by rules 2 (rendering/formats/text/logfmt.py), as far as their reading is certain. */
#include "arguments.h"
#include "json_text.h"
#include "structured.h"
#include "times.h"

/* How a value is written: not at all, as a word, in quotes with escapes of JSON or others, in single quotes. */
typedef enum { NO_VALUE, IS_WORD, IS_JSON, IS_QUOTED, IS_IN_SINGLE_QUOTES } Spelling;

typedef struct {
    byte name; /* of those of logfmt; NAME_NONE: any other key */
    byte spelling;
    const byte *key, *key_end;
    const byte *value, *value_end; /* without quotes */
} Pair;

/* Of lines with more pairs, Python renders the record. */
#define MOST_PAIRS 64

typedef struct {
    Pair pairs[MOST_PAIRS];
    int count;
    int sources[ROLE_COUNT]; /* the pair that plays each role; -1: none */
} Pairs;

typedef enum { NOT_LOGFMT, IS_LOGFMT, UNCERTAIN_LOGFMT } PairsResult;

static inline const byte *
skip_space_and_tabs(const byte *at)
{
    while (*at == ' ' || *at == '\t')
        at++;
    return at;
}

/* Return the position after a value in quotes, given that after its first quote; NULL if it is not closed. */
static const byte *
skip_quoted(const byte *at, const byte *newline)
{
    while (at < newline && *at != '"')
        at += *at == '\\' && at + 1 < newline ? 2 : 1;
    return at < newline ? at + 1 : NULL;
}

/* Read the value at `at`, and return the position after it; NULL if the line is not logfmt. */
static inline const byte *
read_value(const byte *at, const byte *newline, const byte *end, Pair *pair)
{
    const byte *after;
    pair->value = at + 1;
    if (*at == '"') {
        pair->spelling = IS_JSON;
        if (!(after = skip_string(at + 1, end))) {
            pair->spelling = IS_QUOTED;
            if (!(after = skip_quoted(at + 1, newline)))
                return NULL;
        }
        pair->value_end = after - 1;
        return after;
    }
    if (*at == '\'') {
        for (after = at + 1; *after >= 0x20 && *after != '\'';)
            after++;
        if (*after == '\'' && (after[1] == ' ' || after[1] == '\t' || after[1] == '\n')) {
            pair->spelling = IS_IN_SINGLE_QUOTES;
            pair->value_end = after;
            return after + 1;
        }
    }
    pair->spelling = IS_WORD;
    pair->value = at;
    while (IS(*at, PAIR_WORD))
        at++;
    return pair->value_end = at;
}

static inline int
is_time_pair(const Pair *pair)
{
    return pair->key_end - pair->key == 1 && *pair->key == 't' && pair->spelling != NO_VALUE &&
           is_time(pair->value, pair->value_end);
}

/* Enter a pair as the source of its role, if none is better. Return 0 if its name stands once more. */
static inline int
enter_source(Pairs *found, int place)
{
    const Pair *pair = &found->pairs[place];
    for (int other = 0; other < place; other++)
        if (found->pairs[other].name == pair->name)
            return 0;
    int role = 0;
    while (pair->name >= roles[role].end)
        role++;
    if (pair->name != roles[role].first && pair->spelling == NO_VALUE)
        return 1;
    int source = found->sources[role];
    if (source < 0 || pair->name < found->pairs[source].name)
        found->sources[role] = place;
    return 1;
}

static inline int
is_name_of_logfmt(Name name)
{
    for (int role = 0; role < ROLE_COUNT; role++)
        if (name >= roles[role].first && name < roles[role].end_of_logfmt)
            return 1;
    return 0;
}

/* Read the pairs of a line that ends at `newline`, and what plays the roles. */
static PairsResult
read_pairs(const byte *line, const byte *newline, const byte *end, Pairs *found)
{
    const byte *at = skip_space_and_tabs(line);
    int time = -1, is_certain = 1, has_value = 0;
    found->count = 0;
    for (int role = 0; role < ROLE_COUNT; role++)
        found->sources[role] = -1;
    while (at < newline) {
        is_certain &= found->count < MOST_PAIRS;
        int place = is_certain ? found->count++ : 0;
        Pair *pair = &found->pairs[place];
        pair->key = at;
        while (IS(*at, PAIR_KEY))
            at++;
        pair->key_end = at;
        pair->spelling = NO_VALUE;
        if (at == pair->key || (*at == '=' && !(at = read_value(at + 1, newline, end, pair))))
            return NOT_LOGFMT;
        if (*at != ' ' && *at != '\t' && at != newline)
            return NOT_LOGFMT;
        at = skip_space_and_tabs(at);
        if (!is_certain)
            continue; /* whether it is logfmt at all */
        has_value |= place == 0 && pair->spelling != NO_VALUE;
        Name name = name_of(pair->key, pair->key_end);
        pair->name = (byte)(is_name_of_logfmt(name) ? name : NAME_NONE);
        if (pair->name != NAME_NONE)
            is_certain = enter_source(found, place);
        else if (time < 0 && is_time_pair(pair))
            time = place;
    }
    if (!found->count || !has_value)
        return NOT_LOGFMT;
    if (found->sources[ROLE_TIMESTAMP] < 0)
        found->sources[ROLE_TIMESTAMP] = time;
    return is_certain ? IS_LOGFMT : UNCERTAIN_LOGFMT;
}

/* Put what must be escaped: it may have a byte that stands for a newline. */
static byte *
put_escaped(byte *out, const byte *at, const byte *end, byte inner_newline)
{
    while (at < end) {
        const byte *special = find_special(at, end);
        out = put_bytes(out, at, special);
        if (special == end)
            return out;
        out = put_escape(out, *special, inner_newline);
        at = special + 1;
    }
    return out;
}

/* Put the JSON of a value; with `is_level`, in capitals. NULL if that is not certain. */
static inline byte *
put_value(byte *out, const Pair *pair, byte inner_newline, int is_level)
{
    if (pair->spelling == NO_VALUE)
        return PUT(out, "true");
    if (is_level && !is_ascii_text(pair->value, pair->value_end))
        return NULL;
    *out++ = '"';
    if (pair->spelling == IS_JSON)
        out = is_level ? put_capitals(out, pair->value, pair->value_end) : put_bytes(out, pair->value, pair->value_end);
    else {
        byte *start = out;
        out = put_escaped(out, pair->value, pair->value_end, inner_newline);
        if (is_level && out - start != pair->value_end - pair->value)
            return NULL; /* it has escapes, which capitals must not change */
        if (is_level)
            put_capitals(start, start, out);
    }
    *out++ = '"';
    return out;
}

/* Put the members of a record, after those that nothing in the line plays; NULL if that is not certain. */
static byte *
put_pairs(byte *out, const byte *line, const byte *end, byte inner_newline, const Pairs *found)
{
    *out++ = '{';
    if (found->sources[ROLE_LEVEL] < 0)
        out = PUT(out, "\"level\": \"UNKNOWN\", ");
    if (found->sources[ROLE_MESSAGE] < 0) {
        out = PUT(out, "\"message\": \"");
        out = escape_line(out, &line, end, inner_newline);
        out = PUT(out, "\", ");
    }
    if (found->sources[ROLE_TIMESTAMP] < 0)
        out = PUT(out, "\"timestamp\": null, ");
    for (int place = 0; place < found->count; place++) {
        const Pair *pair = &found->pairs[place];
        int role = 0;
        while (role < ROLE_COUNT && found->sources[role] != place)
            role++;
        if (role < ROLE_COUNT) {
            memcpy(out, roles[role].key, roles[role].key_size);
            out += roles[role].key_size;
        }
        else {
            *out++ = '"';
            out = put_bytes(out, pair->key, pair->key_end);
            *out++ = '"';
        }
        out = PUT(out, ": ");
        out = put_value(out, pair, inner_newline, role == ROLE_LEVEL);
        if (!out)
            return NULL;
        out = PUT(out, ", ");
    }
    return PUT(out - 2, "}\n");
}

/* An upper bound on what a record has for a pair beyond its escaped bytes. */
#define PAIR_BYTES 24

static LineResult
put_logfmt(const byte *line, const byte *newline, const byte *end, byte inner_newline, void *Py_UNUSED(state),
           Output *output)
{
    Pairs found;
    PairsResult result = read_pairs(line, newline, end, &found);
    if (result == UNCERTAIN_LOGFMT)
        return LINE_LEFT;
    Py_ssize_t most = MOST_PER_BYTE * (newline - line) + RECORD_BYTES + SLACK;
    if (result == IS_LOGFMT)
        most += found.count * PAIR_BYTES + (found.sources[ROLE_MESSAGE] < 0 ? MOST_PER_BYTE * (newline - line) : 0);
    if (output_reserve(output, most) < 0)
        return LINE_FAILED;
    byte *out = result == IS_LOGFMT ? put_pairs(output->at, line, end, inner_newline, &found)
                                    : put_unknown(output->at, line, end, inner_newline);
    if (!out)
        return LINE_LEFT;
    output->at = out;
    return LINE_RENDERED;
}

static PyObject *
render_logfmt_lines(const byte *at, const byte *end, byte inner_newline)
{
    return render_each_line(at, end, inner_newline, put_logfmt, NULL);
}

PyObject *
render_logfmt(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return with_lines(arguments, render_logfmt_lines);
}
