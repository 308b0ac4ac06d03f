/* Adds the times and the streams of container runtimes to records: nested.py has the reference. */
#include "arguments.h"
#include "bytes.h"
#include "containers.h"
#include "gaps.h"
#include "json_text.h"
#include "levels.h"
#include "output.h"
#include "plain.h"

static inline int
uses_own_keys(const byte *at, const byte *end)
{
    return OCCURS(at, end, "\"stream\"") || OCCURS(at, end, "\"time\"");
}

/* Of a record up to its newline: return the position of a timestamp that is null and precedes the fields of the line
 * itself; NULL if there is none. */
static const byte *
find_null_timestamp(const byte *record, const byte *newline)
{
    const byte *at = record + 1, *after;
    if ((after = SKIP(at, newline, "\"level\": \""))) {
        const byte *quote = find_special(after, newline);
        if (quote < newline && *quote == '"' && (quote = SKIP(quote, newline, "\", ")))
            at = quote;
    }
    if ((after = SKIP(at, newline, "\"message\": \"")) && (after = skip_string(after, newline)) &&
        (after = SKIP(after, newline, ", ")))
        at = after;
    after = SKIP(at, newline, "\"timestamp\": null");
    return after ? after - 4 : NULL;
}

/* Put the beginning of a record whose line the inner format has not read, with the level that its message begins with;
 * return what follows in the record, or the record if there is no such level. */
static const byte *
put_level_ahead(byte **out, const byte *record, const byte *newline)
{
    const byte *message = SKIP(record, newline, "{\"level\": \"UNKNOWN\", \"message\": \""), *level, *level_end;
    if (!message || !find_level_ahead(message, &level, &level_end))
        return record;
    const byte *end = skip_string(message, newline);
    if (!end || SKIP(end, newline, ", \"timestamp\": null}") != newline)
        return record;
    *out = PUT(*out, "{\"level\": \"");
    for (; level < level_end; level++)
        *(*out)++ = *level & 0xdf;
    return record + sizeof("{\"level\": \"UNKNOWN") - 1;
}

/* Put a record with its time and its stream. */
static byte *
put_with_runtime(byte *out, const byte *record, const byte *newline, const byte *mark, const byte *mark_end)
{
    const byte *null = find_null_timestamp(record, newline);
    const byte *at = put_level_ahead(&out, record, newline);
    size_t time_size = (size_t)(mark_end - mark - 1);
    if (null) {
        memcpy(out, at, (size_t)(null - at));
        out += null - at;
        *out++ = '"';
        memcpy(out, mark + 1, time_size);
        out += time_size;
        *out++ = '"';
        at = null + 4;
    }
    memcpy(out, at, (size_t)(newline - 1 - at));
    out += newline - 1 - at;
    out = *mark == MARK_OUT ? PUT(out, ", \"stream\": \"stdout\"") : PUT(out, ", \"stream\": \"stderr\"");
    if (!null) {
        out = PUT(out, ", \"time\": \"");
        memcpy(out, mark + 1, time_size);
        out += time_size;
        *out++ = '"';
    }
    return PUT(out, "}\n");
}

/* Put what a function of Python makes of a record, its time and its stream. */
static int
put_by_python(Output *output, PyObject *function, const byte *record, const byte *newline, const byte *mark,
              const byte *mark_end)
{
    char *text;
    Py_ssize_t size;
    PyObject *made = PyObject_CallFunction(function, "y#y#y#", (const char *)record, newline - record,
                                           (const char *)mark + 1, mark_end - mark - 1,
                                           *mark == MARK_OUT ? "stdout" : "stderr", (Py_ssize_t)6);
    if (!made)
        return -1;
    int failed = PyBytes_AsStringAndSize(made, &text, &size) < 0 || output_reserve(output, size + 1) < 0;
    if (!failed) {
        memcpy(output->at, text, (size_t)size);
        output->at += size;
        *output->at++ = '\n';
    }
    Py_DECREF(made);
    return failed ? -1 : 0;
}

#define ADDED_BYTES 64

/* Put all records; return -1 with an exception if there are not as many as marks. */
static int
put_records(Output *output, Gaps *gaps, const Py_buffer *payload, const Py_buffer *marks, PyObject *function)
{
    const byte *at = payload->buf, *end = at + payload->len;
    const byte *mark = marks->buf, *marks_end = mark + marks->len;
    int own_keys = uses_own_keys(at, end);
    for (const byte *mark_end; mark < marks_end; mark = mark_end + 1) {
        mark_end = memchr(mark, '\n', (size_t)(marks_end - mark));
        if (mark == mark_end) {
            gaps->waiting++;
            continue;
        }
        const byte *newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        if (!newline || *at != '{' || newline - at < 2) {
            PyErr_SetString(PyExc_ValueError, "not as many records as lines");
            return -1;
        }
        if (gaps_end(gaps, output) < 0)
            return -1;
        if (own_keys && uses_own_keys(at, newline)) {
            if (put_by_python(output, function, at, newline, mark, mark_end) < 0)
                return -1;
        }
        else {
            if (output_reserve(output, newline - at + (mark_end - mark) + ADDED_BYTES) < 0)
                return -1;
            output->at = put_with_runtime(output->at, at, newline, mark, mark_end);
        }
        at = newline + 1;
    }
    if (at < end) {
        PyErr_SetString(PyExc_ValueError, "more records than lines");
        return -1;
    }
    return gaps_end(gaps, output);
}

PyObject *
with_runtime(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer payload, marks;
    PyObject *function, *records = NULL;
    Output output = {0};
    Gaps gaps = {0};
    const byte newline[] = {'\n'};
    const Py_buffer no_newline = {.buf = (void *)newline, .len = 1};
    if (!PyArg_ParseTuple(arguments, "y*y*O", &payload, &marks, &function))
        return NULL;
    if (check_lines(&payload, &no_newline) == 0 && check_lines(&marks, &no_newline) == 0 && gaps_open(&gaps) == 0) {
        Py_ssize_t count = count_newlines(payload.buf, (const byte *)payload.buf + payload.len);
        if (output_open(&output, payload.len + marks.len + count * 40 + SPARE_BYTES) == 0 &&
            put_records(&output, &gaps, &payload, &marks, function) == 0)
            records = output_close(&output);
        else
            Py_XDECREF(output.object);
        Py_XDECREF(gaps.lines.object);
    }
    PyBuffer_Release(&payload);
    PyBuffer_Release(&marks);
    if (records)
        return Py_BuildValue("NN", records, gaps.places);
    Py_XDECREF(gaps.places);
    return NULL;
}
