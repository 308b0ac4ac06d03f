/* Counting stored records: by level, by minute, by the pattern of their message (reading/counting/line_counts.py). */
#ifndef LOGFERRY_COUNTING_H
#define LOGFERRY_COUNTING_H

#include "common.h"

/* What a count distinguishes: the values of `Part` in reading/counting/line_counts.py. */
enum { BY_LEVEL = 1, BY_MINUTE = 2, BY_PATTERN = 4 };

/* The longest level and timestamp that count as one. */
#define MOST_WORD_BYTES 64

/* Write the beginning of the minute in which a timestamp lies, as text, and return the position after it. There must be
 * room for MOST_WORD_BYTES. */
byte *put_minute(byte *out, const byte *at, const byte *end);

/* A pattern covers at least this much of a message, if it is as long: reading/counting/message_patterns.py. */
#define PATTERN_COVERS 256

/* No pattern is longer: what is replaced at least doubles, and the last part may go beyond what is covered. */
#define MOST_PATTERN_BYTES (4 * PATTERN_COVERS)

/* Write the pattern of a message, which is escaped for JSON, and return the position after it. */
byte *put_pattern(byte *out, const byte *at, const byte *end);

PyObject *count_records(PyObject *module, PyObject *arguments);

#endif
