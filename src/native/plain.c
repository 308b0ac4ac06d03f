/* Renders lines in the plain format by rules 1, and raw lines. */
#include "arguments.h"
#include "escape.h"
#include "output.h"
#include "plain.h"

/* Render lines. With `is_plain`, lines in the plain format are split into parts; all others are whole messages. */
static PyObject *
render_lines(const byte *at, const byte *end, byte inner_newline, int is_plain)
{
    Py_ssize_t lines = 0, blank = 0;
    Output output;
    if (output_open(&output, end - at + (end - at) / 16 + 64 * count_newlines(at, end) + SPARE_BYTES) < 0)
        return NULL;
    while (at < end) {
        const byte *newline = memchr(at, '\n', (size_t)(end - at));
        if (output_reserve(&output, MOST_PER_BYTE * (newline - at) + RECORD_BYTES + SLACK) < 0)
            return NULL;
        byte *out = output.at;
        Parts parts;
        if (is_plain && parse_plain(at, inner_newline, &parts)) {
            const byte *line = at;
            out = PUT(out, "{\"level\": \"");
            for (const byte *c = parts.level; c < parts.level_end; c++)
                *out++ = *c & 0xdf;
            out = PUT(out, "\", \"message\": \"");
            at = parts.message;
            out = escape_line(out, &at, end, inner_newline);
            out = PUT(out, "\", \"timestamp\": \"");
            memcpy(out, line, (size_t)(parts.timestamp_end - line));
            out += parts.timestamp_end - line;
            out = PUT(out, "\"}\n");
            lines++;
        }
        else if (is_blank(at, inner_newline))
            blank++;
        else {
            out = PUT(out, "{\"level\": \"UNKNOWN\", \"message\": \"");
            out = escape_line(out, &at, end, inner_newline);
            out = PUT(out, "\", \"timestamp\": null}\n");
            lines++;
        }
        output.at = out;
        at = newline + 1;
    }
    PyObject *payload = output_close(&output);
    return payload ? Py_BuildValue("Nnn", payload, lines, blank) : NULL;
}

static PyObject *
render_plain_lines(const byte *at, const byte *end, byte inner_newline)
{
    return render_lines(at, end, inner_newline, 1);
}

static PyObject *
render_raw_lines(const byte *at, const byte *end, byte inner_newline)
{
    return render_lines(at, end, inner_newline, 0);
}

PyObject *
render_plain(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return with_lines(arguments, render_plain_lines);
}

PyObject *
render_raw(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return with_lines(arguments, render_raw_lines);
}
