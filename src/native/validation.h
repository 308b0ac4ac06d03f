/* Whether lines are records (protocol/lines/validation.py and protocol/lines/long_lines.py). */
#ifndef LOGFERRY_VALIDATION_H
#define LOGFERRY_VALIDATION_H

#include "common.h"

/* Return the position after a JSON value (RFC 8259) that lies in `depth` objects and arrays; NULL if it is not a value,
 * or Python has to decide. */
const byte *skip_json_value(const byte *at, const byte *end, int depth);

PyObject *canonical_run(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *record_run(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *scan_record(PyObject *module, PyObject *arguments);

#endif
