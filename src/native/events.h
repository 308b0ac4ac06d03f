/* Events of several lines (rendering/multiline.py). */
#ifndef LOGFERRY_EVENTS_H
#define LOGFERRY_EVENTS_H

#include "common.h"

PyObject *begin_like(PyObject *module, PyObject *arguments);
PyObject *begin_with_timestamp(PyObject *module, PyObject *arguments);
PyObject *event_offsets(PyObject *module, PyObject *arguments);
PyObject *join_events(PyObject *module, PyObject *arguments);

#endif
