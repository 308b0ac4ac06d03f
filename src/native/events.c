/* Finds where events of several lines begin, and joins their lines, as rendering/multiline.py does it.
 *
 * `marks` has one byte per line, which is true if the line begins an event. No function allocates more than its result;
 * each takes time in proportion to its data.
 */
#include "arguments.h"
#include "events.h"
#include "plain.h"

/* The lines of a chunk and the limits of an event, as Python passes them. */
typedef struct {
    Py_buffer data;
    Py_buffer marks;
    Py_ssize_t max_lines;
    Py_ssize_t max_bytes;
} Lines;

static inline int
is_name(const byte *at)
{
    for (int i = 0; i < 3; i++)
        if (!IS(at[i], LETTER) || !IS(at[i], CAPITAL) != (i > 0))
            return 0;
    return 1;
}

/* Return the end of what precedes the date: the priority of syslog, or a bracket. */
static inline const byte *
skip_prefix(const byte *at)
{
    if (*at == '[')
        return at + 1;
    if (*at != '<')
        return at;
    const byte *end = at + 1;
    while (end - at < 4 && IS(*end, DIGIT))
        end++;
    if (end == at + 1 || *end != '>')
        return at;
    end++;
    return *end == '1' && end[1] == ' ' ? end + 2 : end;
}

/* Return the end of the date at `at` and the separator after it; NULL if there is none. */
static inline const byte *
skip_date(const byte *at)
{
    if (IS(*at, CAPITAL)) {
        if (!is_name(at) || at[3] != ' ')
            return NULL;
        if (is_name(at + 4) && at[7] == ' ')
            at += 4; /* after a weekday */
        int is_day = (at[4] == ' ' || (at[4] >= '0' && at[4] <= '3')) && IS(at[5], DIGIT);
        return is_day && at[6] == ' ' ? at + 7 : NULL;
    }
    if (!are_digits(at, 2))
        return NULL;
    if (are_digits(at + 2, 2)) {
        int is_date = (at[4] == '-' || at[4] == '/') && are_digits(at + 5, 2) && at[7] == at[4] && are_digits(at + 8, 2);
        return is_date && (at[10] == ' ' || at[10] == 'T') ? at + 11 : NULL;
    }
    int is_date = *at <= '3' && (at[2] == '-' || at[2] == '/') && is_name(at + 3) && at[6] == at[2];
    return is_date && are_digits(at + 7, 4) && (at[11] == ' ' || at[11] == ':') ? at + 12 : NULL;
}

/* Whether a line begins as EVENT_START of rendering/engine/timestamps.py says. The line ends with a newline, which no
 * part can contain, so nothing beyond the newline is read. */
static inline int
has_timestamp(const byte *line)
{
    const byte *at = skip_date(skip_prefix(line));
    return at && are_digits(at, 2) && at[2] == ':' && are_digits(at + 3, 2) && at[5] == ':' && are_digits(at + 6, 2)
        && !IS(at[8], DIGIT);
}

PyObject *
begin_with_timestamp(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer data;
    if (!PyArg_ParseTuple(arguments, "y*", &data))
        return NULL;
    PyObject *marks = NULL;
    const byte *at = data.buf, *end = at + data.len;
    if (check_whole_lines(at, data.len) == 0)
        marks = PyBytes_FromStringAndSize(NULL, count_newlines(at, end));
    for (char *mark = marks ? PyBytes_AS_STRING(marks) : NULL; mark && at < end; mark++) {
        *mark = (char)has_timestamp(at);
        at = (const byte *)memchr(at, '\n', (size_t)(end - at)) + 1;
    }
    PyBuffer_Release(&data);
    return marks;
}

/* Return the end of the event that begins at `at`, and leave `*mark` at the mark of the next line: before the next line
 * that begins an event, or that would make the event exceed a limit. A line is never cut. */
static inline const byte *
event_end(const Lines *lines, const byte *at, const byte **mark)
{
    const byte *end = (const byte *)lines->data.buf + lines->data.len, *begin = at;
    for (Py_ssize_t count = 0; at < end; count++) {
        const byte *next = (const byte *)memchr(at, '\n', (size_t)(end - at)) + 1;
        if (count && (**mark || count >= lines->max_lines || next - begin > lines->max_bytes))
            break;
        ++*mark;
        at = next;
    }
    return at;
}

/* Parse the arguments (lines, marks, limits of lines and bytes, ...) of a function; return -1 with an exception if they
 * do not fit each other. `extra` is where the format writes the last argument. */
static int
parse_lines(PyObject *arguments, const char *format, Lines *lines, void *extra)
{
    if (!PyArg_ParseTuple(arguments, format, &lines->data, &lines->marks, &lines->max_lines, &lines->max_bytes, extra))
        return -1;
    const byte *at = lines->data.buf;
    if (check_whole_lines(at, lines->data.len) == 0) {
        if (count_newlines(at, at + lines->data.len) == lines->marks.len)
            return 0;
        PyErr_SetString(PyExc_ValueError, "there is not one mark per line");
    }
    PyBuffer_Release(&lines->data);
    PyBuffer_Release(&lines->marks);
    return -1;
}

PyObject *
event_offsets(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Lines lines;
    Py_ssize_t count;
    if (parse_lines(arguments, "y*y*nnn", &lines, &count) < 0)
        return NULL;
    const byte *begin = lines.data.buf, *end = begin + lines.data.len, *mark = lines.marks.buf;
    const byte *last = begin, *counted = count > 0 ? end : begin;
    for (const byte *at = begin; at < end; count--) {
        last = at;
        at = event_end(&lines, at, &mark);
        if (count == 1)
            counted = at;
    }
    PyBuffer_Release(&lines.data);
    PyBuffer_Release(&lines.marks);
    return Py_BuildValue("nn", counted - begin, last - begin);
}

/* Copy an event, with `inner_newline` for its newlines but the last, and without the blank lines at its end. Return the
 * end of the copy, and count the lines that were appended to the first and those that were dropped. */
static byte *
copy_event(byte *out, const byte *at, const byte *end, byte inner_newline, Py_ssize_t *joined, Py_ssize_t *blank)
{
    byte *kept = out;
    Py_ssize_t waiting = 0; /* lines since the last one that is kept */
    for (int is_first = 1; at < end; is_first = 0) {
        const byte *newline = memchr(at, '\n', (size_t)(end - at));
        const byte *text = at;
        while (IS(*text, BLANK))
            text++;
        if (!is_first) {
            *out++ = inner_newline;
            waiting++;
        }
        memcpy(out, at, (size_t)(newline - at));
        out += newline - at;
        if (is_first || text != newline) {
            kept = out;
            *joined += waiting;
            waiting = 0;
        }
        at = newline + 1;
    }
    *blank += waiting;
    *kept++ = '\n';
    return kept;
}

PyObject *
join_events(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Lines lines;
    byte inner_newline;
    if (parse_lines(arguments, "y*y*nnc", &lines, &inner_newline) < 0)
        return NULL;
    Py_ssize_t joined = 0, blank = 0;
    PyObject *result = PyBytes_FromStringAndSize(NULL, lines.data.len);
    if (result) {
        const byte *at = lines.data.buf, *end = at + lines.data.len, *mark = lines.marks.buf;
        byte *begin = (byte *)PyBytes_AS_STRING(result), *out = begin;
        while (at < end) {
            const byte *next = event_end(&lines, at, &mark);
            out = copy_event(out, at, next, inner_newline, &joined, &blank);
            at = next;
        }
        if (out - begin != lines.data.len)
            _PyBytes_Resize(&result, out - begin);
    }
    PyBuffer_Release(&lines.data);
    PyBuffer_Release(&lines.marks);
    return result ? Py_BuildValue("Nnn", result, joined, blank) : NULL;
}
