/* The checks that functions called from Python share. */
#ifndef LOGFERRY_ARGUMENTS_H
#define LOGFERRY_ARGUMENTS_H

#include "common.h"

/* For fewer bytes than this, keep the GIL: reacquiring it may take much longer than the work. */
#define WORTH_UNLOCKING (64 * 1024)

/* Return 0 if `data` is lines that end with a newline; else -1 with a ValueError. */
int check_whole_lines(const byte *data, Py_ssize_t size);

/* Do the same, and check that `inner_newline` is one byte. */
int check_lines(const Py_buffer *data, const Py_buffer *inner_newline);

/* Return 0 if `start` to `stop` is a part of the data; else -1 with a ValueError. */
int check_part(const Py_buffer *data, Py_ssize_t start, Py_ssize_t stop);

typedef PyObject *(*LinesFunction)(const byte *at, const byte *end, byte inner_newline);

/* Call a function with the arguments (lines, inner newline) from Python. */
PyObject *with_lines(PyObject *arguments, LinesFunction function);

#endif
