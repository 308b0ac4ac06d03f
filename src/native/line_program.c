/* Renders lines by the programs of their format: see line_program.h. */
#include "arguments.h"
#include "line_program.h"

#define CAPSULE "logferry._speedups.line_program"

const byte *
escaped_line(Scratch *scratch, const byte *line, const byte *end, byte inner_newline, const byte **newline,
             const byte **next)
{
    const byte *special = find_special(line, end);
    if (*special == '\n' && end - special > READ_BEYOND) {
        *newline = special;
        *next = special + 1;
        return line;
    }
    special = memchr(special, '\n', (size_t)(end - special));
    *next = special + 1;
    Py_ssize_t size = MOST_PER_BYTE * (special - line) + SLACK + READ_BEYOND;
    if (scratch->size < size) {
        size += size / 2;
        byte *room = PyMem_Realloc(scratch->line, (size_t)size);
        if (!room) {
            PyErr_NoMemory();
            return NULL;
        }
        scratch->line = room;
        scratch->size = size;
    }
    byte *out = escape_line(scratch->line, &line, end, inner_newline);
    *out = '\n';
    memset(out + 1, 0, READ_BEYOND);
    *newline = out;
    return scratch->line;
}

/* Put the record of a line by the program, if `put_usual` does not; what is left to Python goes into the gaps. */
static RecordResult
put_any(LineProgram *program, PutUsual put_usual, Scratch *scratch, const byte *at, const byte *end, byte inner_newline,
        Output *output, Gaps *gaps, const byte **next)
{
    RecordResult result = put_usual ? put_usual(at, end, inner_newline, output, next) : RECORD_LEFT;
    if (result != RECORD_LEFT)
        return result;
    const byte *newline, *line = escaped_line(scratch, at, end, inner_newline, &newline, next);
    if (!line)
        return RECORD_FAILED;
    result = put_line(program, line, newline, output);
    return result == RECORD_LEFT && gaps_add(gaps, line, newline) < 0 ? RECORD_FAILED : result;
}

/* Return how much memory to begin with: about what the last lines needed, up to four times the size of these. */
static Py_ssize_t
room_for_records(const LineProgram *program, const byte *at, const byte *end)
{
    Py_ssize_t growth = program->growth < 64 ? program->growth : 64;
    Py_ssize_t before = (end - at) / 16 * growth, usual = end - at + (end - at) / 2 + 128 * count_newlines(at, end);
    return (before > usual ? before : usual) + SPARE_BYTES;
}

static PyObject *
render_by(LineProgram *program, const byte *at, const byte *end, byte inner_newline, PutUsual put_usual)
{
    const byte *begin = at;
    Py_ssize_t lines = 0, blank = 0;
    Output output;
    Gaps gaps;
    Scratch scratch = {NULL, 0};
    if (gaps_open(&gaps) < 0)
        return NULL;
    if (output_open(&output, room_for_records(program, at, end)) < 0)
        goto failed;
    while (at < end) {
        const byte *next;
        Py_ssize_t offset = output.at - (byte *)PyBytes_AS_STRING(output.object);
        switch (put_any(program, put_usual, &scratch, at, end, inner_newline, &output, &gaps, &next)) {
        case RECORD_PUT:
            lines++;
            if (gaps.waiting && gaps_enter_place(&gaps, offset) < 0)
                goto failed;
            break;
        case RECORD_BLANK:
            blank++;
            break;
        case RECORD_LEFT:
            break;
        case RECORD_FAILED:
            goto failed;
        }
        at = next;
    }
    PyMem_Free(scratch.line);
    program->growth = 16 * (output.at - (byte *)PyBytes_AS_STRING(output.object)) / (end - begin + 1) + 1;
    return gaps_close(&gaps, &output, lines, blank);
failed:
    PyMem_Free(scratch.line);
    gaps_drop(&gaps, &output);
    return NULL;
}

PyObject *
render_with_program(PyObject *arguments, PutUsual put_usual)
{
    PyObject *capsule, *result = NULL;
    Py_buffer data, inner_newline;
    if (!PyArg_ParseTuple(arguments, "Oy*y*", &capsule, &data, &inner_newline))
        return NULL;
    LineProgram *program = program_of(capsule);
    if (program && check_lines(&data, &inner_newline) == 0)
        result = render_by(program, data.buf, (const byte *)data.buf + data.len, *(const byte *)inner_newline.buf,
                           put_usual);
    PyBuffer_Release(&data);
    PyBuffer_Release(&inner_newline);
    return result;
}

PyObject *
render_lines_by(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return render_with_program(arguments, NULL);
}

/* ------------------------------------------------------------------------------------------------------- loading */

LineProgram *
program_of(PyObject *capsule)
{
    return PyCapsule_GetPointer(capsule, CAPSULE);
}

static void
program_free(LineProgram *program)
{
    pattern_close(&program->pattern);
    for (Py_ssize_t i = 0; i < program->each_count; i++) {
        Py_XDECREF(program->eaches[i].function);
        Py_XDECREF(program->eaches[i].without_text);
        for (int k = 0; k < KEPT_TEXTS; k++)
            Py_XDECREF(program->eaches[i].kept[k].value);
    }
    PyMem_Free(program->kinds);
    PyMem_Free(program->pieces);
    PyMem_Free(program->texts);
    PyMem_Free(program->eaches);
    PyMem_Free(program);
}

static void
capsule_free(PyObject *capsule)
{
    program_free(PyCapsule_GetPointer(capsule, CAPSULE));
}

static int
is_piece(const LineProgram *program, const Piece *piece, Py_ssize_t texts_size)
{
    if (piece->kind >= PIECES || piece->slot >= MOST_MARKS - 1)
        return 0;
    if (piece->kind == PUT_EACH && piece->texts[2] >= program->each_count)
        return 0;
    for (int i = 0; i < (piece->kind == PUT_EACH ? 2 : 8); i += 2) {
        int is_missing = i == 6 && piece->texts[7] == UINT32_MAX;
        if (piece->texts[i] > texts_size || (!is_missing && piece->texts[i + 1] > texts_size - piece->texts[i]))
            return 0;
    }
    return 1;
}

/* Copy pieces and kinds, 10 and 2 words each: see Piece, and the first piece of a kind and that behind its last one. */
static int
fill_records(LineProgram *program, const Py_buffer *kinds, const Py_buffer *pieces, Py_ssize_t texts_size)
{
    Py_ssize_t count = pieces->len / (Py_ssize_t)sizeof(Piece);
    memcpy(program->pieces, pieces->buf, (size_t)pieces->len);
    for (Py_ssize_t i = 0; i < count; i++)
        if (!is_piece(program, program->pieces + i, texts_size))
            return 0;
    for (Py_ssize_t i = 0; i < program->kind_count; i++) {
        uint32_t range[2];
        memcpy(range, (const byte *)kinds->buf + 8 * i, 8);
        if (range[0] > range[1] || range[1] > count)
            return 0;
        RecordKind *kind = program->kinds + i;
        kind->first_piece = range[0];
        kind->end_piece = range[1];
        for (Py_ssize_t k = range[0]; k < range[1]; k++) {
            const Piece *piece = program->pieces + k;
            kind->variable_pieces += piece->kind == PUT_GROUP || piece->kind == PUT_MAYBE;
            kind->fixed_size += piece->kind == PUT_EACH ? COPIED : 0;
            kind->fixed_size += piece->texts[1];
            if (piece->kind == PUT_MAYBE)
                kind->fixed_size += (Py_ssize_t)piece->texts[3] + piece->texts[5];
        }
    }
    return 1;
}

/* Fill a program that is all zeros; return -1 with an exception if the parts are not those of a program. */
static int
fill_program(LineProgram *program, const Py_buffer parts[8], PyObject *functions)
{
    const Py_buffer *kinds = parts + 5, *pieces = parts + 6, *texts = parts + 7;
    program->kind_count = kinds->len / 8;
    if (pattern_open(&program->pattern, parts, program->kind_count) < 0)
        return -1;
    program->kinds = PyMem_Calloc((size_t)program->kind_count + 1, sizeof(RecordKind));
    program->pieces = PyMem_Calloc((size_t)pieces->len + 1, 1);
    program->texts = PyMem_Calloc((size_t)texts->len + READ_BEYOND, 1);
    program->eaches = PyMem_Calloc((size_t)PyTuple_GET_SIZE(functions) + 1, sizeof(Each));
    if (!program->kinds || !program->pieces || !program->texts || !program->eaches) {
        PyErr_NoMemory();
        return -1;
    }
    program->each_count = PyTuple_GET_SIZE(functions);
    for (Py_ssize_t i = 0; i < program->each_count; i++)
        program->eaches[i].function = Py_NewRef(PyTuple_GET_ITEM(functions, i));
    memcpy(program->texts, texts->buf, (size_t)texts->len);
    if (kinds->len % 8 == 0 && pieces->len % (Py_ssize_t)sizeof(Piece) == 0
        && fill_records(program, kinds, pieces, texts->len))
        return 0;
    PyErr_SetString(PyExc_ValueError, "not the records of a program for lines");
    return -1;
}

PyObject *
line_program(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer parts[8];
    PyObject *functions, *capsule = NULL;
    int knows_all;
    if (!PyArg_ParseTuple(arguments, "y*y*y*y*y*y*y*y*O!p", parts, parts + 1, parts + 2, parts + 3, parts + 4, parts + 5,
                          parts + 6, parts + 7, &PyTuple_Type, &functions, &knows_all))
        return NULL;
    LineProgram *program = PyMem_Calloc(1, sizeof *program);
    if (!program)
        PyErr_NoMemory();
    else if (fill_program(program, parts, functions) < 0 || !(capsule = PyCapsule_New(program, CAPSULE, capsule_free)))
        program_free(program);
    else
        program->knows_all = knows_all;
    for (int i = 0; i < 8; i++)
        PyBuffer_Release(parts + i);
    return capsule;
}
