/* Reads a stored line: where its level, its message and its timestamp are. */
#ifndef LOGFERRY_STORED_RECORD_H
#define LOGFERRY_STORED_RECORD_H

#include "common.h"

/* A value of a record: the text between its quotes, still escaped, or a number as written. Nothing (`at` is NULL) for
 * any other value, and for a key that is missing. */
typedef struct {
    const byte *at;
    const byte *end;
} StoredValue;

typedef struct {
    StoredValue level;
    StoredValue message; /* of a text only */
    StoredValue timestamp;
} StoredRecord;

/* Read the line at `at`, which ends with a newline before `end`. Return the position after its newline; NULL if the line
 * is not certainly an object, or has an escape in a key, its level or its timestamp: then Python has to read it. Of keys
 * that stand more than once, the last one counts. */
const byte *read_stored_record(const byte *at, const byte *end, StoredRecord *record);

#endif
