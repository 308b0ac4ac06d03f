/* Selects the events that contain fixed texts, as rendering/filters.py does it. */
#include "arguments.h"
#include "bytes.h"
#include "output.h"
#include "selection.h"

/* A byte of a text is compared at most once for each byte of the data: longer texts are left to Python. */
#define MAX_TEXT_BYTES 255

/* Whether the bytes from `at` to `stop` contain a text of at least one byte. `end` is the end of the data. */
static int
contains(const byte *at, const byte *stop, const byte *end, const byte *text, Py_ssize_t size)
{
    if (stop - at < size)
        return 0;
    const byte *last = stop - size; /* where the text may begin at the latest */
#if defined(__SSE2__)
    __m128i first_byte = _mm_set1_epi8((char)text[0]), last_byte = _mm_set1_epi8((char)text[size - 1]);
    for (; at <= last && end - at >= size + 15; at += 16) {
        __m128i firsts = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)at), first_byte);
        __m128i lasts = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(at + size - 1)), last_byte);
        unsigned mask = (unsigned)_mm_movemask_epi8(_mm_and_si128(firsts, lasts));
        for (; mask; mask &= mask - 1) {
            const byte *found = at + __builtin_ctz(mask);
            if (found > last)
                return 0;
            if (!memcmp(found, text, (size_t)size))
                return 1;
        }
    }
#endif
    (void)end;
    for (; at <= last; at++)
        if (*at == *text && !memcmp(at, text, (size_t)size))
            return 1;
    return 0;
}

static int
contains_any(const byte *at, const byte *stop, const byte *end, PyObject *texts)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(texts); i++) {
        PyObject *text = PyTuple_GET_ITEM(texts, i);
        if (contains(at, stop, end, (const byte *)PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)))
            return 1;
    }
    return 0;
}

/* Return 0 if every item is bytes of an allowed length, which `contains` relies on; else -1 with an exception. */
static int
check_texts(PyObject *texts)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(texts); i++) {
        PyObject *text = PyTuple_GET_ITEM(texts, i);
        if (!PyBytes_Check(text) || !PyBytes_GET_SIZE(text) || PyBytes_GET_SIZE(text) > MAX_TEXT_BYTES) {
            PyErr_SetString(PyExc_ValueError, "not a text of 1 to 255 bytes");
            return -1;
        }
    }
    return 0;
}

static int
is_blank_event(const byte *at, byte inner_newline)
{
    while (IS(*at, BLANK) || (*at == inner_newline && *at != '\n'))
        at++;
    return *at == '\n';
}

/* Copy the lines that are kept, in runs. The result is not longer than the data. */
static PyObject *
selected(PyObject *data, PyObject *include, PyObject *exclude, byte inner_newline)
{
    const byte *at = (const byte *)PyBytes_AS_STRING(data), *end = at + PyBytes_GET_SIZE(data), *copied = at;
    Output output = {NULL, NULL, NULL};
    Py_ssize_t filtered = 0;
    while (at < end) {
        const byte *newline = memchr(at, '\n', (size_t)(end - at));
        int is_wanted = !PyTuple_GET_SIZE(include) || contains_any(at, newline, end, include);
        if (is_wanted && PyTuple_GET_SIZE(exclude))
            is_wanted = !contains_any(at, newline, end, exclude);
        if (!is_wanted && !is_blank_event(at, inner_newline)) {
            if (!output.object && output_open(&output, PyBytes_GET_SIZE(data)) < 0)
                return NULL;
            memcpy(output.at, copied, (size_t)(at - copied));
            output.at += at - copied;
            copied = newline + 1;
            filtered++;
        }
        at = newline + 1;
    }
    if (!output.object)
        return Py_BuildValue("On", data, filtered);
    memcpy(output.at, copied, (size_t)(end - copied));
    output.at += end - copied;
    PyObject *kept = output_close(&output);
    return kept ? Py_BuildValue("Nn", kept, filtered) : NULL;
}

PyObject *
select_events(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *data, *include, *exclude;
    char inner_newline;
    if (!PyArg_ParseTuple(arguments, "SO!O!c", &data, &PyTuple_Type, &include, &PyTuple_Type, &exclude, &inner_newline))
        return NULL;
    if (check_whole_lines((const byte *)PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)) < 0 || check_texts(include) < 0 || check_texts(exclude) < 0)
        return NULL;
    return selected(data, include, exclude, (byte)inner_newline);
}
