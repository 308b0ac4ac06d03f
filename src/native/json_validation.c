/* Validates lines that are whole: records as the plain format writes them, and any other objects. */
#include "arguments.h"
#include "event_times.h"
#include "expected.h"
#include "json_text.h"
#include "validation.h"

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

/* Return where the value of a member begins, given where the comma before the member is, or the brace of the object; NULL
 * as below. `key` gets where its key begins, `length` the size of that. */
static inline const byte *
skip_to_value(const byte *at, const byte *end, byte opening, const byte **key, Py_ssize_t *length)
{
    at = skip_space(at, end);
    if (at == end || *at++ != opening)
        return NULL;
    at = skip_space(at, end);
    if (at == end || *at++ != '"')
        return NULL;
    *key = at;
    if (!(at = skip_string(at, end)))
        return NULL;
    *length = at - 1 - *key;
    at = skip_space(at, end);
    return at < end && *at == ':' ? skip_space(at + 1, end) : NULL;
}

static const byte *skip_object(const byte *at, const byte *end, int depth);

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
        return skip_object(at, end, depth);
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

/* Return the position after an object inside of a record; NULL as above. */
static const byte *
skip_object(const byte *at, const byte *end, int depth)
{
    const byte *after = skip_space(at + 1, end), *key;
    Py_ssize_t length;
    if (after < end && *after == '}')
        return after + 1;
    for (byte opening = '{';; opening = ',') {
        if (!(at = skip_to_value(at, end, opening, &key, &length)) || !(at = skip_value(at, end, depth + 1)))
            return NULL;
        after = skip_space(at, end);
        if (after < end && *after == '}')
            return after + 1;
    }
}

const byte *
skip_json_value(const byte *at, const byte *end, int depth)
{
    return skip_value(at, end, depth);
}

/* What a key of a record is: with an escape, it may be any key. */
typedef enum { IS_OTHER, IS_LEVEL, IS_MESSAGE, IS_TIMESTAMP, MAY_BE_ANY } Key;

static Key
key_of(const byte *key, Py_ssize_t length)
{
    if (length == 5 && !memcmp(key, "level", 5))
        return IS_LEVEL;
    if (length == 7 && !memcmp(key, "message", 7))
        return IS_MESSAGE;
    if (length == 9 && !memcmp(key, "timestamp", 9))
        return IS_TIMESTAMP;
    return length > 9 && memchr(key, '\\', (size_t)length) ? MAY_BE_ANY : IS_OTHER;
}

/* A text begins at the brace of the record or behind the value before, and ends where its value began. */
typedef struct {
    const byte *at;
    int size; /* 0: nothing is expected */
    Key key;
} Expected;

/* The state of a run of lines. */
typedef struct {
    EventTimes times;
    Expected expected[MOST_EXPECTED];
} Run;

/* Return where the value of the next member of a record begins, and what its key is; NULL as above. */
static inline const byte *
next_value(const byte *at, const byte *end, Run *run, int member, Key *key)
{
    Expected *expected = run->expected + member;
    if (member < MOST_EXPECTED && is_expected(expected->at, expected->size, at, end)) {
        *key = expected->key;
        return skip_space(at + expected->size, end);
    }
    const byte *begin = at, *name;
    Py_ssize_t length;
    if (!(at = skip_to_value(at, end, member ? ',' : '{', &name, &length)))
        return NULL;
    *key = key_of(name, length);
    if (member < MOST_EXPECTED && at - begin <= LONGEST_EXPECTED)
        *expected = (Expected){begin, (int)(at - begin), *key};
    return at;
}

/* What a record is made of, as far as it matters here: how often it has a key, or may have it, and the value of the last
 * timestamp. */
typedef struct {
    int keys[MAY_BE_ANY + 1];
    const byte *from, *to;
} Found;

/* Return when the event of a record happened. */
static EventTime
time_of(const Found *found, EventTimes *times)
{
    int timestamps = found->keys[IS_TIMESTAMP] + 2 * found->keys[MAY_BE_ANY];
    EventTime time = {timestamps > 1 ? TIME_UNREAD : TIME_NONE, 0};
    if (timestamps != 1)
        return time;
    if (*found->from == '"')
        return read_event_time(found->from + 1, found->to - 1, times);
    return IS(*found->from, DIGIT) || *found->from == '-' ? read_epoch(found->from, found->to) : time;
}

/* Return the position after an object with level and message in one line; NULL if not, or if Python has to decide. */
static const byte *
skip_record(const byte *at, const byte *end, Run *run, EventTime *time)
{
    Found found = {0};
    if (at == end || *at != '{')
        return NULL;
    for (int member = 0;; member++) {
        Key key;
        const byte *value = next_value(at, end, run, member, &key);
        if (!value || !(at = value < end && *value == '"' ? skip_string(value + 1, end) : skip_value(value, end, 1)))
            return NULL;
        found.keys[key]++;
        if (key == IS_TIMESTAMP) {
            found.from = value;
            found.to = at;
        }
        const byte *after = skip_space(at, end);
        if (after < end && *after == '}') {
            at = after + 1;
            break;
        }
    }
    if (!found.keys[IS_LEVEL] || !found.keys[IS_MESSAGE] || at == end || *at != '\n')
        return NULL;
    *time = time_of(&found, &run->times);
    return at + 1;
}

/* Return the position after a timestamp as the plain format writes it, given the position after its first quote; NULL if
 * it is not one. `time` gets its time: which costs less than looking at every byte, if the timestamp is an ISO 8601 one. */
static inline const byte *
skip_timestamp(const byte *at, const byte *end, EventTimes *times, EventTime *time)
{
    const byte *rest = NULL;
    if (end - at > MINUTE_BYTES && at[4] != '/' && same_or_read_minute(at, times, &time->ms)
        && (rest = take_seconds(at + MINUTE_BYTES, end, &time->ms)) && end - rest > 1) {
        if (*rest == '"') {
            time->kind = TIME_LOCAL;
            return rest + 1;
        }
        if (*rest == 'Z' && rest[1] == '"') {
            time->kind = TIME_ZONED;
            return rest + 2;
        }
    }
    const byte *quote = rest ? rest : at;
    while (quote < end && IS(*quote, STAMP))
        quote++;
    if (quote == at || quote == end || *quote != '"')
        return NULL;
    if (rest)
        time->kind = take_zone(rest, quote, &time->ms);
    else
        *time = read_event_time(at, quote, times);
    return quote + 1;
}

/* Return the position after a line in the form that the plain format writes; NULL if it has another form. */
static inline const byte *
skip_canonical_line(const byte *at, const byte *end, Run *run, EventTime *time)
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
        if (!(at = skip_timestamp(at + 1, end, &run->times, time)))
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

typedef const byte *(*LineFunction)(const byte *at, const byte *end, Run *run, EventTime *time);

/* Return the end of the run of lines that `skip` accepts, the number of these lines, and when their events happened. Many
 * calls are for one short line, so arguments and result take no format. */
static inline PyObject *
run_of(PyObject *const *arguments, Py_ssize_t count, LineFunction skip)
{
    Py_buffer data;
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "not (data, start, stop)");
        return NULL;
    }
    Py_ssize_t start = PyLong_AsSsize_t(arguments[1]), stop = PyLong_AsSsize_t(arguments[2]), lines = 0;
    if (PyErr_Occurred() || PyObject_GetBuffer(arguments[0], &data, PyBUF_SIMPLE) < 0)
        return NULL;
    if (check_part(&data, start, stop) < 0) {
        PyBuffer_Release(&data);
        return NULL;
    }
    const byte *at = (const byte *)data.buf + start, *end = (const byte *)data.buf + stop, *next;
    Run run = {0};
    event_times_open(&run.times);
    PyThreadState *unlocked = stop - start < WORTH_UNLOCKING ? NULL : PyEval_SaveThread();
    for (EventTime time = {TIME_NONE, 0}; at < end && (next = skip(at, end, &run, &time)); time.kind = TIME_NONE) {
        note_event_time(&run.times, time);
        at = next;
        lines++;
    }
    if (unlocked)
        PyEval_RestoreThread(unlocked);
    Py_ssize_t found = at - (const byte *)data.buf;
    PyBuffer_Release(&data);
    return tuple_of_three(PyLong_FromSsize_t(found), PyLong_FromSsize_t(lines), event_times_tuple(&run.times));
}

PyObject *
canonical_run(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    return run_of(arguments, count, skip_canonical_line);
}

PyObject *
record_run(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    return run_of(arguments, count, skip_record);
}
