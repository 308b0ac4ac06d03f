/* Where a text is: for searches through what is stored, which find nothing in nearly all of it. */
#ifndef LOGFERRY_TEXT_SEARCH_H
#define LOGFERRY_TEXT_SEARCH_H

#include "common.h"

/* (data, text, start, stop): return the index of the text in that part of the data; -1 if it is not there. */
PyObject *find_text(PyObject *module, PyObject *const *arguments, Py_ssize_t count);

#endif
