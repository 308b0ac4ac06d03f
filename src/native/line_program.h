/* Formats with a few kinds of lines as programs: a pattern that finds the kind and marks its groups, and for each kind
 * the pieces that its record consists of. */
#ifndef LOGFERRY_LINE_PROGRAM_H
#define LOGFERRY_LINE_PROGRAM_H

#include "escape.h"
#include "gaps.h"
#include "matcher.h"
#include "output.h"

/* The pieces of records, each with its operands: rendering/engine/compiled/ has the same list, in this order. A text is
 * given by its offset and its size among the texts of the program, a group by the slot of its first mark. */
typedef enum {
    PUT_TEXT,  /* text */
    PUT_GROUP, /* slot, text before: what the group has matched */
    PUT_MAYBE, /* slot, text before, text after, text instead, text that counts as missing (size UINT32_MAX: none) */
    PUT_EACH,  /* slot, text before, function: what the function of Python returns for what the group has matched */
    PIECES
} PieceKind;

typedef struct {
    uint32_t kind;
    uint32_t slot;
    uint32_t texts[8]; /* offset, size, ... */
} Piece;

/* What a function of Python has returned for a text. Texts that are longer than this are not kept; of what is longer than
 * COPIED bytes, there is no copy here. */
enum { COPIED = 32 };

typedef struct {
    PyObject *value; /* bytes; NULL: nothing is kept here */
    uint64_t head;   /* the first bytes of the text, and zeros */
    byte size;
    byte text[47];
    byte value_size; /* 0: there is no copy of the value */
    byte copy[COPIED];
} Kept;

enum { KEPT_TEXTS = 128, KEPT_TOGETHER = 4 };

/* A function, and what it returned for the texts seen last. It must always return the same for the same text. */
typedef struct {
    PyObject *function;
    PyObject *without_text; /* NULL: not asked yet */
    Kept kept[KEPT_TEXTS];
} Each;

/* The record of a kind: its pieces, the size of its texts and of copied values, and how many pieces may be as long as the
 * line. */
typedef struct {
    Py_ssize_t first_piece, end_piece, fixed_size, variable_pieces;
} RecordKind;

typedef struct {
    Pattern pattern;
    Py_ssize_t kind_count, each_count;
    RecordKind *kinds;
    Piece *pieces;
    byte *texts;
    Each *eaches;
    int knows_all; /* a line of no kind is certain to be unknown */
    Py_ssize_t growth; /* how large the last records were, in 16ths of the size of their lines */
} LineProgram;

/* What became of a line. */
typedef enum { RECORD_FAILED = -1, RECORD_PUT, RECORD_BLANK, RECORD_LEFT } RecordResult;

/* Put the record of a line that is escaped for JSON, except for its newline; RECORD_LEFT if Python has to decide. Returns
 * RECORD_FAILED with an exception if memory or a function failed. READ_BEYOND bytes after the newline must be readable. */
RecordResult put_line(LineProgram *program, const byte *line, const byte *newline, Output *output);

/* Put the record of a line that is as most lines of its format are, and return the `*next` line: exactly what the first of
 * the kinds of the program would give. RECORD_LEFT, with nothing put, if the line is not one of these: then the program
 * is asked. There is a newline before `end`, perhaps with less than READ_BEYOND bytes behind it. */
typedef RecordResult (*PutUsual)(const byte *line, const byte *end, byte inner_newline, Output *output, const byte **next);

static inline byte *
copy_part(byte *out, const byte *from, const byte *to)
{
    return copy_bytes(out, from, (size_t)(to - from));
}

/* Put a text in quotes, as `copy_bytes` does; null for a dash. */
static inline byte *
put_text_or_null(byte *out, const byte *from, const byte *to)
{
    if (to - from == 1 && *from == '-')
        return PUT(out, "null");
    *out++ = '"';
    out = copy_part(out, from, to);
    *out++ = '"';
    return out;
}

/* Render lines by a program, which is the first of the arguments, after `put_usual`, unless that is NULL. */
PyObject *render_with_program(PyObject *arguments, PutUsual put_usual);

/* Memory for one escaped line at a time. */
typedef struct {
    byte *line;
    Py_ssize_t size;
} Scratch;

/* Find the newline of a line, and escape the line, if it needs that or is too near to `end` to be read in its place.
 * Returns the line, `*newline` behind it, and the `*next` one; or NULL with an exception. */
const byte *escaped_line(Scratch *scratch, const byte *line, const byte *end, byte inner_newline, const byte **newline,
                         const byte **next);

/* Return the program that is an argument; NULL with an exception if the argument is something else. */
LineProgram *program_of(PyObject *capsule);

PyObject *line_program(PyObject *module, PyObject *arguments);
PyObject *render_lines_by(PyObject *module, PyObject *arguments);
PyObject *render_access(PyObject *module, PyObject *arguments);
PyObject *render_syslog(PyObject *module, PyObject *arguments);

#endif
