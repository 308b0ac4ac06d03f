/* Where a text is: for searches through what is stored, which find nothing in nearly all of it; and where lines end. */
#ifndef LOGFERRY_TEXT_SEARCH_H
#define LOGFERRY_TEXT_SEARCH_H

#include "common.h"

/* (data, text, start, stop): return the index of the text in that part of the data; -1 if it is not there. */
PyObject *find_text(PyObject *module, PyObject *const *arguments, Py_ssize_t count);

/* (data, start, count): return where that many lines from `start` on end; the end of the data if it has fewer. */
PyObject *end_of_lines(PyObject *module, PyObject *const *arguments, Py_ssize_t count);

#endif
