/* Loads programs of patterns, and checks all that the machine relies on: see matcher.h. */
#include "matcher.h"

/* The operands of each instruction, a letter each. P: a place, R: a set that has no newline, S: any set, H: a shape
 * that fits no newline, A: any shape, T: a table, M: a mark, G: the first mark of a group, B: a byte that is not a
 * newline, L: a length of a shape, D: a distance, K: a kind, N: any number. */
static const char *const operands[INSTRUCTIONS] = {
    [FAIL] = "",         [CHAR] = "B",       [SET] = "R",          [SHAPE] = "HL",      [RUN] = "RNN",
    [REST] = "",         [GREEDY] = "RNN",   [GIVE_BACK] = "",     [LAZY] = "R",        [TAKE_MORE] = "R",
    [CHOOSE] = "T",      [CHOOSE_NEXT] = "", [TRY] = "P",          [TRY_IF] = "SP",     [CUT] = "",
    [CUT_AND_GO] = "P",  [COUNT] = "",       [TRY_COUNTED] = "SNP", [CUT_COUNTED] = "P", [CUT_LOOK] = "",
    [CUT_FAIL] = "",     [PEEK] = "S",       [PEEK_SHAPE] = "A",   [PEEK_NOT] = "A",    [BEHIND] = "DS",
    [NOT_BEHIND] = "S",  [MARK] = "M",       [MARK_RUN] = "GRNN", [MARK_REST] = "G",
    [IF_MARKED] = "GP",   [GO] = "P",          [MATCHED] = "K",
};

static int
fits_newline(const Shape *shape)
{
    for (int i = 0; i < 16 && shape->wanted >> i; i++) {
        byte newline = '\n' | shape->masks[i];
        if (newline >= shape->lowest[i] && newline <= shape->highest[i])
            return 1;
    }
    return 0;
}

static int
is_operand(const Pattern *pattern, const byte *places, char what, uint32_t value, Py_ssize_t kinds)
{
    switch (what) {
    case 'P':
        return value < pattern->size && places[value];
    case 'R':
        return value < pattern->set_count && !pattern->sets[value].has['\n'];
    case 'S':
        return value < pattern->set_count;
    case 'H':
        return value < pattern->shape_count && !fits_newline(pattern->shapes + value);
    case 'A':
        return value < pattern->shape_count;
    case 'T':
        return value < pattern->table_count;
    case 'M':
        return value < MOST_MARKS;
    case 'G':
        return value < MOST_MARKS - 1;
    case 'B':
        return value < 256 && value != '\n';
    case 'L':
        return value <= 16;
    case 'D':
        return value > 0 && value < 256;
    case 'K':
        return value < kinds;
    default:
        return 1;
    }
}

/* Whether the instruction at a place has valid operands, and what must follow it. */
static int
is_instruction(const Pattern *pattern, const byte *places, Py_ssize_t at, Py_ssize_t kinds)
{
    const uint32_t *code = pattern->code + at;
    const char *each = operands[code[0]];
    for (int i = 0; each[i]; i++)
        if (!is_operand(pattern, places, each[i], code[1 + i], kinds))
            return 0;
    if (code[0] == SHAPE && (1u << code[2]) - 1 != pattern->shapes[code[1]].wanted)
        return 0;
    return (code[0] != GREEDY || code[4] == GIVE_BACK) && (code[0] != LAZY || code[2] == TAKE_MORE);
}

/* Mark where instructions begin, except for those that only ways back lead to. Return 0 if the code is not made of
 * instructions, each of these behind its own, with a FAIL at the end. */
static int
find_places(const Pattern *pattern, byte *places)
{
    Py_ssize_t at = BEGINNING;
    uint32_t before = FAIL, instruction = FAIL;
    while (at < pattern->size) {
        before = instruction;
        instruction = pattern->code[at];
        if (instruction >= INSTRUCTIONS || instruction == CHOOSE_NEXT)
            return 0;
        if ((instruction == GIVE_BACK && before != GREEDY) || (instruction == TAKE_MORE && before != LAZY))
            return 0;
        places[at] = instruction != GIVE_BACK && instruction != TAKE_MORE;
        at += 1 + (Py_ssize_t)strlen(operands[instruction]);
    }
    places[NO_PLACE] = 1;
    return at == pattern->size && instruction == FAIL && pattern->code[NO_PLACE] == FAIL
        && pattern->code[NEXT_CHOICE] == CHOOSE_NEXT;
}

static int
are_parts_valid(const Pattern *pattern, const byte *places, Py_ssize_t kinds)
{
    for (Py_ssize_t at = BEGINNING; at < pattern->size; at += 1 + (Py_ssize_t)strlen(operands[pattern->code[at]]))
        if (!is_instruction(pattern, places, at, kinds))
            return 0;
    for (Py_ssize_t i = 0; i < pattern->list_size; i++)
        if (!is_operand(pattern, places, 'P', pattern->lists[i], kinds))
            return 0;
    for (Py_ssize_t i = 0; i < pattern->table_count * 256; i++)
        if (pattern->tables[i / 256][i % 256] >= pattern->list_size)
            return 0;
    return pattern->list_size && pattern->lists[pattern->list_size - 1] == NO_PLACE;
}

/* Write down the ranges of a set, or the gaps between them, if there are at most three. */
static void
find_ranges(ByteSet *set)
{
    for (int inverted = 0; inverted < 2; inverted++) {
        int ranges = 0;
        for (int first = 0, last; first < 256 && ranges < 4; first = last + 1) {
            for (last = first; last < 255 && set->has[last + 1] == set->has[first]; last++)
                ;
            if (set->has[first] == inverted)
                continue;
            if (ranges < 3) {
                memset(set->lowest[ranges], first, 16);
                memset(set->widths[ranges], last - first, 16);
            }
            ranges++;
        }
        set->inside = inverted ? 0 : 0xffff;
        set->ranges = ranges < 4 ? ranges : 0;
        if (set->ranges)
            return;
    }
}

/* The sizes of one set, shape and table, as they come from Python. */
enum { SET_BYTES = 32, SHAPE_BYTES = 49, TABLE_BYTES = 512 };

/* Copy the parts; return 0 if a set or a shape is not one. */
static int
copy_parts(Pattern *pattern, const Py_buffer parts[5])
{
    const byte *from = parts[1].buf;
    for (Py_ssize_t i = 0; i < pattern->set_count; i++, from += SET_BYTES) {
        for (int c = 0; c < 256; c++)
            pattern->sets[i].has[c] = from[c / 8] >> c % 8 & 1;
        find_ranges(pattern->sets + i);
    }
    from = parts[2].buf;
    for (Py_ssize_t i = 0; i < pattern->shape_count; i++, from += SHAPE_BYTES) {
        if (from[48] < 1 || from[48] > 16)
            return 0;
        memcpy(pattern->shapes[i].masks, from, 16);
        memcpy(pattern->shapes[i].lowest, from + 16, 16);
        memcpy(pattern->shapes[i].highest, from + 32, 16);
        pattern->shapes[i].wanted = (1u << from[48]) - 1;
    }
    memcpy(pattern->code, parts[0].buf, (size_t)parts[0].len);
    memcpy(pattern->tables, parts[3].buf, (size_t)parts[3].len);
    memcpy(pattern->lists, parts[4].buf, (size_t)parts[4].len);
    return 1;
}

static void *
room_for(const Py_buffer *part, Py_ssize_t size_of_one, size_t size_here, Py_ssize_t *count)
{
    *count = part->len / size_of_one;
    return PyMem_Calloc((size_t)*count + 1, size_here);
}

int
pattern_open(Pattern *pattern, const Py_buffer parts[5], Py_ssize_t kinds)
{
    pattern->code = room_for(&parts[0], sizeof(uint32_t), sizeof(uint32_t), &pattern->size);
    pattern->sets = room_for(&parts[1], SET_BYTES, sizeof(ByteSet), &pattern->set_count);
    pattern->shapes = room_for(&parts[2], SHAPE_BYTES, sizeof(Shape), &pattern->shape_count);
    pattern->tables = room_for(&parts[3], TABLE_BYTES, TABLE_BYTES, &pattern->table_count);
    pattern->lists = room_for(&parts[4], sizeof(uint32_t), sizeof(uint32_t), &pattern->list_size);
    byte *places = PyMem_Calloc((size_t)pattern->size + 1, 1);
    int failed = -1;
    if (!pattern->code || !pattern->sets || !pattern->shapes || !pattern->tables || !pattern->lists || !places)
        PyErr_NoMemory();
    else if (parts[0].len % 4 || parts[1].len % SET_BYTES || parts[2].len % SHAPE_BYTES || parts[3].len % TABLE_BYTES
             || parts[4].len % 4 || pattern->size <= BEGINNING || !copy_parts(pattern, parts)
             || !find_places(pattern, places) || !are_parts_valid(pattern, places, kinds))
        PyErr_SetString(PyExc_ValueError, "not a program for lines");
    else
        failed = 0;
    PyMem_Free(places);
    if (failed)
        pattern_close(pattern);
    return failed;
}

void
pattern_close(Pattern *pattern)
{
    PyMem_Free(pattern->code);
    PyMem_Free(pattern->sets);
    PyMem_Free(pattern->shapes);
    PyMem_Free(pattern->tables);
    PyMem_Free(pattern->lists);
    memset(pattern, 0, sizeof *pattern);
}
