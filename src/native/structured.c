/* The loop over the lines of json and logfmt: see structured.h. */
#include "structured.h"

PyObject *
render_each_line(const byte *at, const byte *end, byte inner_newline, PutLine put, void *state)
{
    Py_ssize_t lines = 0, blank = 0;
    Output output;
    Gaps gaps;
    if (output_open(&output, end - at + (end - at) / 16 + 64 * count_newlines(at, end) + SPARE_BYTES) < 0)
        return NULL;
    if (gaps_open(&gaps) < 0) {
        Py_DECREF(output.object);
        return NULL;
    }
    for (const byte *newline; at < end; at = newline + 1) {
        newline = memchr(at, '\n', (size_t)(end - at));
        if (is_blank(at, '\n')) {
            blank++;
            continue;
        }
        Py_ssize_t offset = output.at - (byte *)PyBytes_AS_STRING(output.object);
        LineResult result = put(at, newline, end, inner_newline, state, &output);
        if (result == LINE_RENDERED) {
            lines++;
            if (!gaps.waiting || gaps_enter_place(&gaps, offset) == 0)
                continue;
        }
        else if (result == LINE_LEFT && gaps_add(&gaps, at, newline) == 0)
            continue;
        gaps_drop(&gaps, &output);
        return NULL;
    }
    return gaps_close(&gaps, &output, lines, blank);
}
