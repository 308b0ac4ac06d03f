/* Finds bytes that are not UTF-8. */
#include "arguments.h"
#include "utf8.h"

/* Return the length of the character at `at`, whose first byte is not ASCII; 0 if it is not UTF-8 (RFC 3629). */
static int
utf8_length(const byte *at, const byte *end)
{
    byte first = at[0];
    Py_ssize_t room = end - at;
    if (first < 0xc2 || first > 0xf4 || room < 2)
        return 0;
    byte second = at[1];
    if ((second & 0xc0) != 0x80)
        return 0;
    if (first < 0xe0)
        return 2;
    if (room < 3 || (at[2] & 0xc0) != 0x80)
        return 0;
    if (first < 0xf0) {
        if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f))
            return 0;
        return 3;
    }
    if (room < 4 || (at[3] & 0xc0) != 0x80)
        return 0;
    if ((first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f))
        return 0;
    return 4;
}

const byte *
find_not_utf8(const byte *at, const byte *end)
{
    while (at < end) {
#if defined(__SSE2__)
        while (end - at >= 64) {
            const __m128i *bytes = (const __m128i *)at;
            __m128i first = _mm_or_si128(_mm_loadu_si128(bytes), _mm_loadu_si128(bytes + 1));
            __m128i second = _mm_or_si128(_mm_loadu_si128(bytes + 2), _mm_loadu_si128(bytes + 3));
            if (_mm_movemask_epi8(_mm_or_si128(first, second)))
                break;
            at += 64;
        }
        if (end - at >= 16) {
            unsigned mask = (unsigned)_mm_movemask_epi8(_mm_loadu_si128((const __m128i *)at));
            if (!mask) {
                at += 16;
                continue;
            }
            at += __builtin_ctz(mask);
        }
#endif
        if (*at < 0x80) {
            at++;
            continue;
        }
        int length = utf8_length(at, end);
        if (!length)
            return at;
        at += length;
    }
    return end;
}

PyObject *
find_undecodable(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer data;
    Py_ssize_t start, stop;
    if (!PyArg_ParseTuple(arguments, "y*nn", &data, &start, &stop))
        return NULL;
    if (check_part(&data, start, stop) < 0) {
        PyBuffer_Release(&data);
        return NULL;
    }
    const byte *begin = data.buf;
    Py_ssize_t found = find_not_utf8(begin + start, begin + stop) - begin;
    PyBuffer_Release(&data);
    return PyLong_FromSsize_t(found);
}
