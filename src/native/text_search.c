/* Where texts and lines are: see text_search.h. memmem of the C library takes a third of the time of bytes.find: 260 MB in 35 ms instead of 110 ms. */
#include "bytes.h"
#include "text_search.h"

PyObject *
find_text(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 4 || !PyBytes_Check(arguments[0]) || !PyBytes_Check(arguments[1]))
        return PyErr_Format(PyExc_TypeError, "find_text takes bytes, bytes and two numbers");
    Py_ssize_t start = PyLong_AsSsize_t(arguments[2]), stop = PyLong_AsSsize_t(arguments[3]);
    if (PyErr_Occurred())
        return NULL;
    const char *data = PyBytes_AS_STRING(arguments[0]);
    if (start < 0 || start > stop || stop > PyBytes_GET_SIZE(arguments[0])) {
        PyErr_SetString(PyExc_ValueError, "not a part of the data");
        return NULL;
    }
    const char *found =
        memmem(data + start, (size_t)(stop - start), PyBytes_AS_STRING(arguments[1]), (size_t)PyBytes_GET_SIZE(arguments[1]));
    return PyLong_FromSsize_t(found ? found - data : -1);
}

/* Newlines are counted in blocks of this size; in the last one, they are gone through. */
enum { COUNTED_BYTES = 1024 };

PyObject *
end_of_lines(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 3 || !PyBytes_Check(arguments[0]))
        return PyErr_Format(PyExc_TypeError, "end_of_lines takes bytes and two numbers");
    Py_ssize_t start = PyLong_AsSsize_t(arguments[1]), left = PyLong_AsSsize_t(arguments[2]);
    if (PyErr_Occurred())
        return NULL;
    const byte *data = (const byte *)PyBytes_AS_STRING(arguments[0]), *end = data + PyBytes_GET_SIZE(arguments[0]);
    if (start < 0 || start > end - data || left < 1) {
        PyErr_SetString(PyExc_ValueError, "not a part of the data");
        return NULL;
    }
    const byte *at = data + start;
    for (Py_ssize_t found; end - at > COUNTED_BYTES; at += COUNTED_BYTES, left -= found)
        if ((found = count_newlines(at, at + COUNTED_BYTES)) >= left)
            break;
    while (left && (at = memchr(at, '\n', (size_t)(end - at)))) {
        at++;
        left--;
    }
    return PyLong_FromSsize_t((at ? at : end) - data);
}
