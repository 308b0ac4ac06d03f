/* Writes the records of single lines: see line_program.h. */
#include "line_program.h"

/* Copy `size` bytes, and perhaps others behind them: up to SLACK bytes there, and READ_BEYOND behind the source. */
static inline byte *
put_bytes(byte *out, const byte *from, size_t size)
{
    if (size > 32)
        memcpy(out, from, size);
    else {
        memcpy(out, from, 16);
        if (size > 16)
            memcpy(out + 16, from + 16, 16);
    }
    return out + size;
}

/* Return what a function returns for a text, or for None, as a borrowed object; NULL with an exception if it fails. */
static PyObject *
ask(Each *each, const byte *text, Py_ssize_t size, PyObject **place)
{
    PyObject *value = text ? PyObject_CallFunction(each->function, "y#", (const char *)text, size)
                           : PyObject_CallFunctionObjArgs(each->function, Py_None, NULL);
    if (value && !PyBytes_CheckExact(value)) {
        Py_DECREF(value);
        PyErr_SetString(PyExc_TypeError, "a value of a record is not bytes");
        return NULL;
    }
    if (value)
        Py_XSETREF(*place, value);
    return value;
}

/* Do the same, and keep the answer. `*other` holds what is not kept; its owner is the caller. */
static PyObject *
value_of(Each *each, const byte *text, Py_ssize_t size, PyObject **other)
{
    if (!text)
        return each->without_text ? each->without_text : ask(each, NULL, 0, &each->without_text);
    if (size > (Py_ssize_t)sizeof each->kept[0].text)
        return ask(each, text, size, other);
    unsigned hash = (unsigned)size;
    for (Py_ssize_t i = 0; i < size; i++)
        hash = hash * 31 + text[i];
    Kept *kept = each->kept + hash * KEPT_TOGETHER % KEPT_TEXTS, *free = kept;
    for (int i = 0; i < KEPT_TOGETHER; i++) {
        if (kept[i].value && kept[i].size == size && !memcmp(kept[i].text, text, (size_t)size))
            return kept[i].value;
        if (!kept[i].value)
            free = kept + i;
    }
    /* The function may run other code, which may change what is kept here: nothing above counts after it. */
    PyObject *value = ask(each, text, size, other);
    if (!value)
        return NULL;
    Py_XSETREF(free->value, Py_NewRef(value));
    free->size = (byte)size;
    memcpy(free->text, text, (size_t)size);
    return value;
}

/* Put the record of a line. The room for texts and for groups is checked once; values of functions are not part of that. */
static RecordResult
put_record(LineProgram *program, const RecordKind *kind, const Marks *marks, const byte *line, Py_ssize_t size,
           Output *output)
{
    Py_ssize_t room = kind->fixed_size + kind->variable_pieces * size + SLACK;
    if (output_reserve(output, room) < 0)
        return RECORD_FAILED;
    byte *out = output->at;
    for (Py_ssize_t i = kind->first_piece; i < kind->end_piece; i++) {
        const Piece *piece = program->pieces + i;
        const byte *text = NULL;
        size_t length = 0;
        if (piece->kind != PUT_TEXT && has_matched(marks, (int)piece->slot)) {
            text = line + marks->at[piece->slot];
            length = marks->at[piece->slot + 1] - marks->at[piece->slot];
        }
        const uint32_t *texts = piece->texts;
        switch ((PieceKind)piece->kind) {
        case PUT_TEXT:
            out = put_bytes(out, program->texts + texts[0], texts[1]);
            break;
        case PUT_GROUP:
            if (!text)
                return RECORD_LEFT;
            out = put_bytes(out, program->texts + texts[0], texts[1]);
            out = put_bytes(out, text, length);
            break;
        case PUT_MAYBE:
            if (!text || (texts[7] == length && !memcmp(text, program->texts + texts[6], length)))
                out = put_bytes(out, program->texts + texts[4], texts[5]);
            else {
                out = put_bytes(out, program->texts + texts[0], texts[1]);
                out = put_bytes(out, text, length);
                out = put_bytes(out, program->texts + texts[2], texts[3]);
            }
            break;
        default: {
            out = put_bytes(out, program->texts + texts[0], texts[1]);
            PyObject *other = NULL, *value = value_of(program->eaches + texts[2], text, (Py_ssize_t)length, &other);
            if (!value)
                return RECORD_FAILED;
            Py_ssize_t written = out - output->at;
            if (output_reserve(output, written + PyBytes_GET_SIZE(value) + room) < 0) {
                Py_XDECREF(other);
                return RECORD_FAILED;
            }
            out = output->at + written;
            memcpy(out, PyBytes_AS_STRING(value), (size_t)PyBytes_GET_SIZE(value));
            out += PyBytes_GET_SIZE(value);
            Py_XDECREF(other);
        }
        }
    }
    output->at = out;
    return RECORD_PUT;
}

/* Whether nothing but white space is in an escaped line. */
static int
is_blank_escaped(const byte *line, const byte *newline)
{
    while (line < newline) {
        if (*line == ' ')
            line++;
        else if (line[0] == '\\' && (line[1] == 't' || line[1] == 'r' || line[1] == 'f'))
            line += 2;
        else if (newline - line >= 6 && !memcmp(line, "\\u000b", 6))
            line += 6;
        else
            return 0;
    }
    return 1;
}

static RecordResult
put_unknown(const byte *line, Py_ssize_t size, Output *output)
{
    static const char before[] = "{\"level\": \"UNKNOWN\", \"message\": \"", after[] = "\", \"timestamp\": null}\n";
    if (output_reserve(output, size + (Py_ssize_t)(sizeof before + sizeof after)) < 0)
        return RECORD_FAILED;
    byte *out = PUT(output->at, before);
    memcpy(out, line, (size_t)size);
    output->at = PUT(out + size, after);
    return RECORD_PUT;
}

RecordResult
put_line(LineProgram *program, const byte *line, const byte *newline, Output *output)
{
    Marks marks;
    int kind = newline - line < INT32_MAX ? match_line(&program->pattern, line, newline, &marks) : UNDECIDED;
    if (kind >= 0)
        return put_record(program, program->kinds + kind, &marks, line, newline - line, output);
    if (is_blank_escaped(line, newline))
        return RECORD_BLANK;
    return kind == NO_KIND && program->knows_all ? put_unknown(line, newline - line, output) : RECORD_LEFT;
}
