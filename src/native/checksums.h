/* CRC-32 and fingerprints. */
#ifndef LOGFERRY_CHECKSUMS_H
#define LOGFERRY_CHECKSUMS_H

#include "common.h"

/* Fill the tables of CRC-32: once, before any other function runs. */
void fill_crc_tables(void);

/* Whether `crc32` is faster than zlib's on this CPU. */
int has_carryless(void);

PyObject *crc32(PyObject *module, PyObject *arguments);
PyObject *crc32_joined(PyObject *module, PyObject *arguments);
PyObject *fingerprint(PyObject *module, PyObject *arguments);

#endif
