/* Runs a simple pattern of `--multiline` on the beginning of every line (rendering/engine/beginnings.py).
 *
 * A program has a number of alternatives. Each has a number of unwanted sequences, and these and a wanted one, each with
 * its length. A sequence consists of sets of ASCII characters, 128 bits each. All numbers are one byte.
 */
#include "arguments.h"
#include "bytes.h"
#include "events.h"

#define SET_BYTES 16

/* What is known of a line; MAYBE: a character that is not ASCII decides. */
typedef enum { NO, YES, MAYBE } Answer;

/* Return the end of the sequence at `at` of a program, NULL if it goes beyond the end. */
static const byte *
sequence_end(const byte *at, const byte *end)
{
    return at < end && end - at > *at * SET_BYTES ? at + 1 + *at * SET_BYTES : NULL;
}

/* Return 0 if all of the program can be run, which `begins` relies on; else -1 with a ValueError. */
static int
check_program(const byte *at, const byte *end)
{
    const byte *next = at < end ? at + 1 : NULL;
    for (int alternatives = next ? *at : 0; next && alternatives; alternatives--) {
        const byte *sequences = next;
        next = sequences < end ? sequences + 1 : NULL;
        for (int left = next ? *sequences + 1 : 0; next && left; left--)
            next = sequence_end(next, end);
    }
    if (next == end)
        return 0;
    PyErr_SetString(PyExc_ValueError, "not a program");
    return -1;
}

/* Whether a line begins with a sequence. A carriage return before the newline is not a part of the line. */
static inline Answer
has_sequence(const byte *line, const byte *sequence)
{
    const byte *set = sequence + 1;
    for (int left = *sequence; left; left--, line++, set += SET_BYTES) {
        if (*line == '\n' || (*line == '\r' && line[1] == '\n'))
            return NO;
        if (*line >= 0x80)
            return MAYBE;
        if (!(set[*line >> 3] & (1 << (*line & 7))))
            return NO;
    }
    return YES;
}

static Answer
begins(const byte *line, const byte *program)
{
    Answer answer = NO;
    const byte *at = program + 1;
    for (int alternatives = *program; alternatives; alternatives--) {
        int unwanted = *at++;
        Answer here = YES;
        for (; unwanted; unwanted--, at += 1 + *at * SET_BYTES) {
            Answer found = here == NO ? NO : has_sequence(line, at);
            if (found != NO)
                here = found == YES ? NO : MAYBE;
        }
        if (here != NO) {
            Answer found = has_sequence(line, at);
            here = found == YES ? here : found;
        }
        if (here == YES)
            return YES;
        if (here == MAYBE)
            answer = MAYBE;
        at += 1 + *at * SET_BYTES;
    }
    return answer;
}

PyObject *
begin_like(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer data, program;
    if (!PyArg_ParseTuple(arguments, "y*y*", &data, &program))
        return NULL;
    PyObject *marks = NULL;
    const byte *at = data.buf, *end = at + data.len, *code = program.buf;
    if (check_whole_lines(at, data.len) == 0 && check_program(code, code + program.len) == 0)
        marks = PyBytes_FromStringAndSize(NULL, count_newlines(at, end));
    for (char *mark = marks ? PyBytes_AS_STRING(marks) : NULL; mark && at < end; mark++) {
        *mark = (char)begins(at, code);
        at = (const byte *)memchr(at, '\n', (size_t)(end - at)) + 1;
    }
    PyBuffer_Release(&data);
    PyBuffer_Release(&program);
    return marks;
}
