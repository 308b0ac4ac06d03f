/* Escapes whole chunks of lines. */
#include "arguments.h"
#include "escape.h"
#include "output.h"

static PyObject *
escape_lines(const byte *at, const byte *end, byte inner_newline)
{
    Output output;
    if (output_open(&output, end - at + (end - at) / 16 + SPARE_BYTES) < 0)
        return NULL;
    while (at < end) {
        const byte *newline = memchr(at, '\n', (size_t)(end - at));
        if (output_reserve(&output, MOST_PER_BYTE * (newline - at) + 1 + SLACK) < 0)
            return NULL;
        output.at = escape_line(output.at, &at, end, inner_newline);
        *output.at++ = '\n';
        at = newline + 1;
    }
    return output_close(&output);
}

PyObject *
escape(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return with_lines(arguments, escape_lines);
}
