/* Lines of container runtimes (rendering/formats/containers): what containers wrote, and what the runtimes add to it. */
#ifndef LOGFERRY_CONTAINERS_H
#define LOGFERRY_CONTAINERS_H

#include "common.h"

/* The marks that go with contents: a line for each line of a container, in their order. It has the first letter of the
 * stream's name after `std` and the time, or nothing if Python renders the line. */
#define MARK_OUT 'o'
#define MARK_ERR 'e'

PyObject *cri_contents(PyObject *module, PyObject *arguments);
PyObject *docker_contents(PyObject *module, PyObject *arguments);
PyObject *cri_are_whole(PyObject *module, PyObject *arguments);
PyObject *docker_are_whole(PyObject *module, PyObject *arguments);
PyObject *with_runtime(PyObject *module, PyObject *arguments);

#endif
