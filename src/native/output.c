/* The bytes object that grows: see output.h. */
#include "output.h"

int
output_open(Output *output, Py_ssize_t size)
{
    output->object = PyBytes_FromStringAndSize(NULL, size);
    if (!output->object)
        return -1;
    output->at = (byte *)PyBytes_AS_STRING(output->object);
    output->end = output->at + size;
    return 0;
}

int
output_grow(Output *output, Py_ssize_t size)
{
    Py_ssize_t used = output->at - (byte *)PyBytes_AS_STRING(output->object);
    Py_ssize_t wanted = used + used / 2 + size;
    if (_PyBytes_Resize(&output->object, wanted) < 0)
        return -1;
    output->at = (byte *)PyBytes_AS_STRING(output->object) + used;
    output->end = (byte *)PyBytes_AS_STRING(output->object) + wanted;
    return 0;
}

PyObject *
output_close(Output *output)
{
    Py_ssize_t used = output->at - (byte *)PyBytes_AS_STRING(output->object);
    if (used != PyBytes_GET_SIZE(output->object) && _PyBytes_Resize(&output->object, used) < 0)
        return NULL;
    return output->object;
}
