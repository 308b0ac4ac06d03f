/* A bytes object that grows while a function writes its result. */
#ifndef LOGFERRY_OUTPUT_H
#define LOGFERRY_OUTPUT_H

#include "common.h"

/* A bytes object that grows; `at` is where the next byte goes. */
typedef struct {
    PyObject *object;
    byte *at;
    byte *end;
} Output;

/* Allocate `size` bytes; return -1 with an exception if there is not as much memory. */
int output_open(Output *output, Py_ssize_t size);

/* Make room beyond the present end: see `output_reserve`. */
int output_grow(Output *output, Py_ssize_t size);

/* Make room for `size` more bytes; return -1 with an exception, and no object, if that fails. The caller must hold the
 * GIL. */
static inline int
output_reserve(Output *output, Py_ssize_t size)
{
    return output->end - output->at >= size ? 0 : output_grow(output, size);
}

/* Cut off what was not written, and return the object; NULL with an exception if that fails. */
PyObject *output_close(Output *output);

/* How many bytes beyond a line and its newline may be read, although nothing is made of them. */
enum { READ_BEYOND = 32 };

static inline void
copy_32(byte *out, const byte *from)
{
    memcpy(out, from, 32);
}

/* Copy `size` bytes, and perhaps others behind them: up to 31 bytes there, and as many behind the source. */
static inline byte *
copy_bytes(byte *out, const byte *from, size_t size)
{
    copy_32(out, from);
    for (size_t done = 32; done < size; done += 32)
        copy_32(out + done, from + done);
    return out + size;
}

#define PUT(out, text) (memcpy((out), (text), sizeof(text) - 1), (out) + sizeof(text) - 1)

/* Room at the end for a few lines of nothing but escapes. Without it, most outputs would grow for their last line. */
#define SPARE_BYTES 8192

#endif
