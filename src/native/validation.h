/* Whether lines are records (protocol/validation.py and protocol/long_lines.py). */
#ifndef LOGFERRY_VALIDATION_H
#define LOGFERRY_VALIDATION_H

#include "common.h"

PyObject *canonical_run(PyObject *module, PyObject *arguments);
PyObject *record_run(PyObject *module, PyObject *arguments);
PyObject *scan_record(PyObject *module, PyObject *arguments);

#endif
