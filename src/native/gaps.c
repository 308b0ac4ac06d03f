/* Collects the lines that C leaves to Python: see gaps.h. */
#include "gaps.h"

int
gaps_open(Gaps *gaps)
{
    gaps->waiting = 0;
    gaps->places = PyList_New(0);
    if (!gaps->places)
        return -1;
    if (output_open(&gaps->lines, 0) < 0) {
        Py_CLEAR(gaps->places);
        return -1;
    }
    return 0;
}

int
gaps_add(Gaps *gaps, const byte *line, const byte *newline)
{
    if (output_reserve(&gaps->lines, newline + 1 - line) < 0)
        return -1;
    memcpy(gaps->lines.at, line, (size_t)(newline - line));
    gaps->lines.at += newline - line;
    *gaps->lines.at++ = '\n';
    gaps->waiting++;
    return 0;
}

int
gaps_enter_place(Gaps *gaps, Py_ssize_t offset)
{
    PyObject *place = Py_BuildValue("nn", offset, gaps->waiting);
    if (!place)
        return -1;
    int failed = PyList_Append(gaps->places, place);
    Py_DECREF(place);
    gaps->waiting = 0;
    return failed;
}

PyObject *
gaps_close(Gaps *gaps, Output *payload, Py_ssize_t records, Py_ssize_t blank)
{
    if (gaps_end(gaps, payload) < 0) {
        gaps_drop(gaps, payload);
        return NULL;
    }
    PyObject *rendered = output_close(payload), *left = output_close(&gaps->lines);
    if (rendered && left)
        return Py_BuildValue("NnnNN", rendered, records, blank, left, gaps->places);
    Py_XDECREF(rendered);
    Py_XDECREF(left);
    Py_DECREF(gaps->places);
    return NULL;
}

void
gaps_drop(Gaps *gaps, Output *payload)
{
    Py_XDECREF(gaps->lines.object);
    Py_XDECREF(payload->object);
    Py_DECREF(gaps->places);
}
