/* Events that are left out, and pieces of events that are replaced (rendering/filters.py, rendering/redaction.py). */
#ifndef LOGFERRY_SELECTION_H
#define LOGFERRY_SELECTION_H

#include "common.h"

PyObject *select_events(PyObject *module, PyObject *arguments);
PyObject *redact(PyObject *module, PyObject *arguments);

#endif
