/* The lines that C leaves to Python, and where their records belong. */
#ifndef LOGFERRY_GAPS_H
#define LOGFERRY_GAPS_H

#include "output.h"

/* `lines` are the lines that Python renders, each with its newline. `places` is a list of pairs: an offset of the
 * payload, and how many of these records belong there. `waiting` counts the lines whose place is not in the list yet. */
typedef struct {
    Output lines;
    PyObject *places;
    Py_ssize_t waiting;
} Gaps;

/* Return 0, or -1 with an exception and nothing to close. */
int gaps_open(Gaps *gaps);

/* Leave a line to Python: the bytes up to its newline, which is added. */
int gaps_add(Gaps *gaps, const byte *line, const byte *newline);

/* Enter the place of the lines that wait: call this before each record, and after the last one. */
int gaps_enter_place(Gaps *gaps, Py_ssize_t offset);

static inline int
gaps_end(Gaps *gaps, const Output *payload)
{
    if (!gaps->waiting)
        return 0;
    return gaps_enter_place(gaps, payload->at - (byte *)PyBytes_AS_STRING(payload->object));
}

/* Return the tuple (payload, records, blank lines, left lines, places), and free everything else; NULL with an
 * exception if that fails. */
PyObject *gaps_close(Gaps *gaps, Output *payload, Py_ssize_t records, Py_ssize_t blank);

/* Free everything, after an error. */
void gaps_drop(Gaps *gaps, Output *payload);

#endif
