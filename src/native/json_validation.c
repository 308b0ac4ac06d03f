/* Validates lines that are whole: records as the plain format writes them, and any other objects. */
#include "arguments.h"
#include "json_text.h"
#include "validation.h"

/* Return the position after a line in the form that the plain format writes; NULL if it has another form. */
static inline const byte *
skip_canonical_line(const byte *at, const byte *end)
{
    if (!(at = SKIP(at, end, "{\"level\": \"")))
        return NULL;
    const byte *level = at;
    while (at < end && IS(*at, CAPITAL))
        at++;
    if (at == level || !(at = SKIP(at, end, "\", \"message\": \"")) || !(at = skip_string(at, end))
        || !(at = SKIP(at, end, ", \"timestamp\": ")) || at == end)
        return NULL;
    if (*at == '"') {
        const byte *timestamp = ++at;
        while (at < end && IS(*at, STAMP))
            at++;
        if (at == timestamp || at == end || *at++ != '"')
            return NULL;
    }
    else if (!(at = SKIP(at, end, "null")))
        return NULL;
    const byte *mark = SKIP(at, end, ", \"raw\": \"");
    if (mark) {
        for (at = mark; at < end && IS(*at, BASE64); at++)
            ;
        if (at == end || *at++ != '"')
            return NULL;
    }
    mark = SKIP(at, end, ", \"truncated\": true");
    return SKIP(mark ? mark : at, end, "}\n");
}

static const byte *
skip_digits(const byte *at, const byte *end)
{
    const byte *first = at;
    while (at < end && IS(*at, DIGIT))
        at++;
    return at == first ? NULL : at;
}

static const byte *
skip_number(const byte *at, const byte *end)
{
    if (at < end && *at == '-')
        at++;
    if (at < end && *at == '0')
        at++;
    else if (!(at = skip_digits(at, end)))
        return NULL;
    if (at < end && *at == '.' && !(at = skip_digits(at + 1, end)))
        return NULL;
    if (at < end && (*at | 0x20) == 'e') {
        at++;
        if (at < end && (*at == '+' || *at == '-'))
            at++;
        at = skip_digits(at, end);
    }
    return at;
}

static const byte *skip_members(const byte *at, const byte *end, int depth, unsigned *found);

/* Return the position after a JSON value (RFC 8259) that lies in `depth` objects and arrays; NULL if it is not a value,
 * or Python has to decide. */
static const byte *
skip_value(const byte *at, const byte *end, int depth)
{
    if (at == end || (depth == MOST_NESTED && (*at == '{' || *at == '[')))
        return NULL;
    switch (*at) {
    case '"':
        return skip_string(at + 1, end);
    case 't':
        return SKIP(at, end, "true");
    case 'f':
        return SKIP(at, end, "false");
    case 'n':
        return SKIP(at, end, "null");
    case '{':
        return skip_members(at + 1, end, depth, NULL);
    case '[':
        at = skip_space(at + 1, end);
        if (at < end && *at == ']')
            return at + 1;
        for (;;) {
            if (!(at = skip_value(skip_space(at, end), end, depth + 1)))
                return NULL;
            at = skip_space(at, end);
            if (at == end || (*at != ',' && *at != ']'))
                return NULL;
            if (*at++ == ']')
                return at;
        }
    default:
        return skip_number(at, end);
    }
}

/* Return the position after the members of an object and its brace; NULL as above. `found`, if not NULL, gets a flag
 * for each of the required keys. */
static const byte *
skip_members(const byte *at, const byte *end, int depth, unsigned *found)
{
    at = skip_space(at, end);
    if (at < end && *at == '}')
        return at + 1;
    for (;;) {
        at = skip_space(at, end);
        if (at == end || *at++ != '"')
            return NULL;
        const byte *key = at;
        if (!(at = skip_string(at, end)))
            return NULL;
        if (found) {
            Py_ssize_t length = at - 1 - key;
            if (length == 5 && !memcmp(key, "level", 5))
                *found |= HAS_LEVEL;
            else if (length == 7 && !memcmp(key, "message", 7))
                *found |= HAS_MESSAGE;
        }
        at = skip_space(at, end);
        if (at == end || *at++ != ':')
            return NULL;
        if (!(at = skip_value(skip_space(at, end), end, depth + 1)))
            return NULL;
        at = skip_space(at, end);
        if (at == end || (*at != ',' && *at != '}'))
            return NULL;
        if (*at++ == '}')
            return at;
    }
}

const byte *
skip_json_value(const byte *at, const byte *end, int depth)
{
    return skip_value(at, end, depth);
}

/* Return the position after an object with level and message in one line; NULL if not, or if Python has to decide. */
static const byte *
skip_record(const byte *at, const byte *end)
{
    unsigned found = 0;
    if (at == end || *at != '{' || !(at = skip_members(at + 1, end, 0, &found)))
        return NULL;
    if (found != (HAS_LEVEL | HAS_MESSAGE) || at == end || *at != '\n')
        return NULL;
    return at + 1;
}

typedef const byte *(*LineFunction)(const byte *at, const byte *end);

/* Return the end of the run of lines that `skip` accepts, and the number of these lines. */
static PyObject *
run_of(PyObject *arguments, LineFunction skip)
{
    Py_buffer data;
    Py_ssize_t start, stop, lines = 0;
    if (!PyArg_ParseTuple(arguments, "y*nn", &data, &start, &stop))
        return NULL;
    if (check_part(&data, start, stop) < 0) {
        PyBuffer_Release(&data);
        return NULL;
    }
    const byte *at = (const byte *)data.buf + start, *end = (const byte *)data.buf + stop, *next;
    PyThreadState *unlocked = stop - start < WORTH_UNLOCKING ? NULL : PyEval_SaveThread();
    while (at < end && (next = skip(at, end))) {
        at = next;
        lines++;
    }
    if (unlocked)
        PyEval_RestoreThread(unlocked);
    Py_ssize_t found = at - (const byte *)data.buf;
    PyBuffer_Release(&data);
    return Py_BuildValue("nn", found, lines);
}

PyObject *
canonical_run(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return run_of(arguments, skip_canonical_line);
}

PyObject *
record_run(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return run_of(arguments, skip_record);
}
