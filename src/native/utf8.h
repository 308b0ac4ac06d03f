/* UTF-8 (RFC 3629). */
#ifndef LOGFERRY_UTF8_H
#define LOGFERRY_UTF8_H

#include "common.h"

/* Return the first byte that is not part of a UTF-8 character, or `end`. */
const byte *find_not_utf8(const byte *at, const byte *end);

PyObject *find_undecodable(PyObject *module, PyObject *arguments);

#endif
