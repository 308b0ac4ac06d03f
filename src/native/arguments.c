/* Checks what Python passes, before any function reads it. */
#include "arguments.h"

int
check_whole_lines(const byte *data, Py_ssize_t size)
{
    if (!size || data[size - 1] == '\n')
        return 0;
    PyErr_SetString(PyExc_ValueError, "the last line has no newline");
    return -1;
}

int
check_lines(const Py_buffer *data, const Py_buffer *inner_newline)
{
    if (inner_newline->len == 1)
        return check_whole_lines(data->buf, data->len);
    PyErr_SetString(PyExc_ValueError, "inner_newline is not one byte");
    return -1;
}

int
check_part(const Py_buffer *data, Py_ssize_t start, Py_ssize_t stop)
{
    if (start >= 0 && start <= stop && stop <= data->len)
        return 0;
    PyErr_SetString(PyExc_ValueError, "not a part of the data");
    return -1;
}

PyObject *
with_lines(PyObject *arguments, LinesFunction function)
{
    Py_buffer data, inner_newline;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(arguments, "y*y*", &data, &inner_newline))
        return NULL;
    if (check_lines(&data, &inner_newline) == 0)
        result = function(data.buf, (const byte *)data.buf + data.len, *(const byte *)inner_newline.buf);
    PyBuffer_Release(&data);
    PyBuffer_Release(&inner_newline);
    return result;
}
