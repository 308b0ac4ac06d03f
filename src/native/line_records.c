/* Writes the records of single lines: see line_program.h. */
#include "line_program.h"

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

static inline uint64_t
head_of(const byte *text, Py_ssize_t size)
{
    uint64_t head;
    memcpy(&head, text, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return size < 8 ? head & (((uint64_t)1 << 8 * size) - 1) : head;
#else
    memset((byte *)&head + (size < 8 ? size : 8), 0, (size_t)(size < 8 ? 8 - size : 0));
    return head;
#endif
}

/* Return the place for what is kept of a text: either it is there, or nothing is, or what will be replaced. */
static inline Kept *
place_of(Each *each, const byte *text, Py_ssize_t size, uint64_t head)
{
    uint64_t hash = (head ^ (uint64_t)size) * 0x9e3779b97f4a7c15u;
    for (Py_ssize_t i = 8; i < size; i++)
        hash = (hash ^ text[i]) * 0x100000001b3u;
    Kept *kept = each->kept + (hash >> 32) % (KEPT_TEXTS / KEPT_TOGETHER) * KEPT_TOGETHER, *free = kept;
    for (int i = 0; i < KEPT_TOGETHER; i++) {
        if (!kept[i].value)
            free = kept + i;
        else if (kept[i].head == head && kept[i].size == size
                 && (size <= 8 || !memcmp(kept[i].text, text, (size_t)size)))
            return kept + i;
    }
    return free;
}

static inline int
is_kept(const Kept *kept, const byte *text, Py_ssize_t size, uint64_t head)
{
    return kept->value && kept->head == head && kept->size == size
        && (size <= 8 || !memcmp(kept->text, text, (size_t)size));
}

/* Keep what a function has returned for a text. */
static void
keep(Kept *kept, const byte *text, Py_ssize_t size, uint64_t head, PyObject *value)
{
    Py_XSETREF(kept->value, Py_NewRef(value));
    kept->head = head;
    kept->size = (byte)size;
    memcpy(kept->text, text, (size_t)size);
    kept->value_size = PyBytes_GET_SIZE(value) <= COPIED ? (byte)PyBytes_GET_SIZE(value) : 0;
    memcpy(kept->copy, PyBytes_AS_STRING(value), kept->value_size);
}

/* Put what a function returns for a text, and keep that. At `*out`, as much as `room` bytes must be left after it. */
static int
put_each(Each *each, const byte *text, Py_ssize_t size, byte **out, Py_ssize_t room, Output *output)
{
    PyObject *value, *other = NULL;
    Kept *kept = NULL;
    if (!text)
        value = each->without_text ? each->without_text : ask(each, NULL, 0, &each->without_text);
    else if (size > (Py_ssize_t)sizeof kept->text)
        value = ask(each, text, size, &other);
    else {
        uint64_t head = head_of(text, size);
        kept = place_of(each, text, size, head);
        if (is_kept(kept, text, size, head)) {
            if (kept->value_size) {
                copy_32(*out, kept->copy);
                *out += kept->value_size;
                return 0;
            }
            value = kept->value;
        }
        /* The function may run other code, which may change what is kept here: only the place counts after it. */
        else if ((value = ask(each, text, size, &other)))
            keep(kept, text, size, head, value);
    }
    Py_ssize_t written = *out - output->at;
    if (!value || output_reserve(output, written + PyBytes_GET_SIZE(value) + room) < 0) {
        Py_XDECREF(other);
        return -1;
    }
    *out = output->at + written;
    memcpy(*out, PyBytes_AS_STRING(value), (size_t)PyBytes_GET_SIZE(value));
    *out += PyBytes_GET_SIZE(value);
    Py_XDECREF(other);
    return 0;
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
            out = copy_bytes(out, program->texts + texts[0], texts[1]);
            break;
        case PUT_GROUP:
            if (!text)
                return RECORD_LEFT;
            out = copy_bytes(out, program->texts + texts[0], texts[1]);
            out = copy_bytes(out, text, length);
            break;
        case PUT_MAYBE:
            if (!text || (texts[7] == length && !memcmp(text, program->texts + texts[6], length)))
                out = copy_bytes(out, program->texts + texts[4], texts[5]);
            else {
                out = copy_bytes(out, program->texts + texts[0], texts[1]);
                out = copy_bytes(out, text, length);
                out = copy_bytes(out, program->texts + texts[2], texts[3]);
            }
            break;
        default:
            out = copy_bytes(out, program->texts + texts[0], texts[1]);
            if (put_each(program->eaches + texts[2], text, (Py_ssize_t)length, &out, room, output) < 0)
                return RECORD_FAILED;
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
