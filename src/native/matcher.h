/* Patterns of lines as programs: what rendering/engine/compiled/ makes of Python's regular expressions, and the machine
 * that runs them with the meaning that they have there. */
#ifndef LOGFERRY_MATCHER_H
#define LOGFERRY_MATCHER_H

#include "output.h"

/* The instructions, each with its operands: Instruction in rendering/engine/compiled/ is the same list, in this order.
 * A set is the number of a set of bytes, a slot that of a mark; a group has two marks. */
typedef enum {
    FAIL,
    CHAR,          /* byte: take this byte */
    SET,           /* set: take one byte of it */
    SHAPE,         /* shape, length: take as many bytes, each as the shape has it */
    RUN,           /* set, least, most: take all bytes of it, up to `most`, and never give any back */
    REST,          /* take the rest of the line */
    GREEDY,        /* set, least, most: the same, but give back one by one at GIVE_BACK, which follows */
    GIVE_BACK,     /*   the way back into GREEDY */
    LAZY,          /* set: take none, and one by one at TAKE_MORE, which follows */
    TAKE_MORE,     /* set: the way back into LAZY */
    CHOOSE,        /* table: go to the first place in the list of the next byte, the others are ways back */
    CHOOSE_NEXT,   /*   the way back into each CHOOSE */
    TRY,           /* place: the instructions up to CUT are as one; if they fail, go to the place */
    TRY_IF,        /* set, place: the same, but go there at once if the next byte is not in the set */
    CUT,           /* forget all ways back since TRY */
    CUT_AND_GO,    /* place: the same, and go there */
    COUNT,         /* begin to count */
    TRY_COUNTED,   /* set, most, place: TRY_IF, unless it has been done as often */
    CUT_COUNTED,   /* place: CUT_AND_GO, and count */
    CUT_LOOK,      /* CUT, and go back to where TRY was */
    CUT_FAIL,      /* CUT, and fail */
    PEEK,          /* set: the next byte is in the set */
    PEEK_SHAPE,    /* shape: the next bytes have the shape */
    PEEK_NOT,      /* shape: the next bytes do not have the shape */
    BEHIND,        /* distance, set: the byte that is this far behind is in the set */
    NOT_BEHIND,    /* set: the byte before is not in the set, or not of this line */
    MARK,          /* slot */
    MARK_RUN,      /* slot, set, least, most: RUN between the two marks of a group */
    MARK_REST,     /* slot: REST between them */
    IF_MARKED,     /* slot, place: go to the place unless the group, whose first mark the slot is, has matched */
    GO,            /* place */
    MATCHED,       /* kind: the line is of this kind if it ends here */
    INSTRUCTIONS
} Instruction;

/* The most marks of a program, and the most ways back at a time. */
enum { MOST_MARKS = 128, MOST_WAYS = 512 };

/* Where programs begin, and what they have before that. */
enum { NO_PLACE, NEXT_CHOICE, BEGINNING };

/* A set of bytes. Runs of those with few ranges, or few gaps, are found 16 bytes at a time. */
typedef struct {
    byte has[256];
    byte lowest[3][16];
    byte widths[3][16];
    uint32_t inside; /* what a byte within a range means, in 16 bits: 0xffff if it is in the set, else 0 */
    int ranges;      /* 0: too many */
    byte unused[24]; /* for a size that is quick to multiply */
} ByteSet;

/* Up to 16 bytes: each, with the bits of its mask, must lie between two bounds. */
typedef struct {
    byte masks[16];
    byte lowest[16];
    byte highest[16];
    uint32_t wanted; /* a bit for each byte */
    byte unused[12]; /* for a size that is quick to multiply */
} Shape;

typedef struct {
    uint32_t *code;
    Py_ssize_t size;
    ByteSet *sets;
    Py_ssize_t set_count;
    Shape *shapes;
    Py_ssize_t shape_count;
    uint16_t (*tables)[256]; /* where the list of a byte begins in `lists` */
    Py_ssize_t table_count;
    uint32_t *lists; /* of places in the code; each ends with 0 */
    Py_ssize_t list_size;
} Pattern;

/* Where groups have begun and ended, as offsets in the line; `last` is the last valid one. */
typedef struct {
    uint32_t at[MOST_MARKS];
    int last;
} Marks;

#define NOWHERE UINT32_MAX

static inline int
has_matched(const Marks *marks, int slot)
{
    return slot + 1 <= marks->last && marks->at[slot] != NOWHERE && marks->at[slot + 1] != NOWHERE;
}

/* What the machine says of a line that is of none of the kinds, or for which it would take too long. */
enum { NO_KIND = -1, UNDECIDED = -2 };

/* Return the kind of a line, without control characters up to its newline, and mark its groups. READ_BEYOND bytes after
 * the newline must be readable. The work is bounded by the length of the line: beyond that, it is UNDECIDED. */
int match_line(const Pattern *pattern, const byte *line, const byte *newline, Marks *marks);

/* Make a pattern of its parts: words of code, sets (a bit for each byte), shapes (3 * 16 bytes each, and a length),
 * tables (256 numbers each) and lists. Return 0; or -1 with an exception and nothing to close if they are not the parts of a
 * program with at most this many kinds, which no line can make read or write beyond its limits. */
int pattern_open(Pattern *pattern, const Py_buffer parts[5], Py_ssize_t kinds);

void pattern_close(Pattern *pattern);

#endif
