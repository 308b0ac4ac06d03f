/* Reads lines that are JSON objects: their members, and what kind of values the common keys have. */
#ifndef LOGFERRY_JSON_OBJECT_H
#define LOGFERRY_JSON_OBJECT_H

#include "common_keys.h"
#include "expected.h"
#include "json_text.h"

/* The kinds of values (`kind_of` in roles.py), as bits. */
enum { KIND_TEXT = 1, KIND_NUMBER = 2, KIND_OTHER = 4, KIND_TIME = 8, KIND_DATE = 16, KIND_LEVELLED = 32 };
#define KINDS_SCALAR (KIND_TEXT | KIND_NUMBER | KIND_TIME)

/* A member whose key is a name. Its key and a text include their quotes. */
typedef struct {
    byte name;
    byte kind;
    const byte *key;
    const byte *key_end;
    const byte *value;
    const byte *value_end;
} Member;

/* Of objects with more members that have a name, Python renders the record. */
#define MOST_NAMED 32

typedef struct {
    Member members[MOST_NAMED];
    int count;
    byte kinds[NAME_COUNT]; /* of each name, those that its values have */
    const byte *body;       /* after the opening brace */
    const byte *close;      /* the closing brace */
    int is_empty;
    int has_control_space; /* whether a control character is white space between its parts */
} Object;

/* What is expected of the members of the next line: see expected.h. Each text begins at the brace or the comma before the
 * member, and ends where its value began. All zeros: nothing. */
typedef struct {
    const byte *at[MOST_EXPECTED];
    byte size[MOST_EXPECTED];
    byte key_at[MOST_EXPECTED];
    byte key_size[MOST_EXPECTED]; /* with its quotes */
    byte name[MOST_EXPECTED];
} Layout;

typedef enum { NOT_AN_OBJECT, AN_OBJECT, UNCERTAIN_OBJECT } ObjectResult;

/* Read a line, which ends with a newline before `end`. The object is certain if it is JSON as RFC 8259 has it, no deeper
 * than MOST_NESTED, and has no escapes in the keys that matter. Does not read beyond the newline, except for bytes
 * before `end`. The layout is that of earlier lines before the same `end`. */
ObjectResult read_object(const byte *line, const byte *end, byte inner_newline, Layout *layout, Object *object);

/* Find the level in the object that is the value of a member, if its kind is KIND_LEVELLED: between quotes. */
int find_level_within(const Member *member, const byte *end, byte inner_newline, const byte **level,
                      const byte **level_end);

#endif
