/* Counts stored records: see counting.h. */
#include "counting.h"
#include "arguments.h"
#include "bytes.h"
#include "output.h"
#include "stored_record.h"

/* Most records of a chunk have one of few keys. A slot finds the last key that it had without Python's dictionary. */
#define SLOTS 256

typedef struct {
    PyObject *key; /* NULL: none */
    Py_ssize_t count;
} Slot;

typedef struct {
    PyObject *counts;
    PyObject *left; /* (start, end) of the lines that Python has to read */
    Slot slots[SLOTS];
} Counts;

static inline unsigned
slot_of(const byte *key, Py_ssize_t size)
{
    uint64_t hash = (uint64_t)size, word;
    for (; size >= 8; key += 8, size -= 8) {
        memcpy(&word, key, 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
    }
    for (; size; size--)
        hash = (hash ^ *key++) * 0x9e3779b97f4a7c15u;
    return (unsigned)(hash >> 56) % SLOTS;
}

/* Add what a slot has to the dictionary, and empty it; -1 with an exception if that fails. */
static int
empty_slot(Counts *counts, Slot *slot)
{
    if (!slot->key)
        return 0;
    PyObject *known = PyDict_GetItemWithError(counts->counts, slot->key);
    if (!known && PyErr_Occurred())
        return -1;
    PyObject *count = PyLong_FromSsize_t(slot->count + (known ? PyLong_AsSsize_t(known) : 0));
    if (!count)
        return -1;
    int result = PyDict_SetItem(counts->counts, slot->key, count);
    Py_DECREF(count);
    Py_CLEAR(slot->key);
    return result;
}

static int
count_key(Counts *counts, const byte *key, Py_ssize_t size)
{
    Slot *slot = &counts->slots[slot_of(key, size)];
    if (!slot->key || PyBytes_GET_SIZE(slot->key) != size || memcmp(PyBytes_AS_STRING(slot->key), key, (size_t)size)) {
        if (empty_slot(counts, slot) < 0 || !(slot->key = PyBytes_FromStringAndSize((const char *)key, size)))
            return -1;
        slot->count = 0;
    }
    slot->count++;
    return 0;
}

/* The minute of the line before: lines without a timestamp, as those of a stack trace, are in it, too. */
typedef struct {
    byte text[MOST_WORD_BYTES];
    Py_ssize_t size;
    int is_unknown; /* Python has read that line */
} LastMinute;

/* Write the minute of a record. */
static byte *
put_own_minute(byte *out, const StoredValue *timestamp, LastMinute *last)
{
    if (timestamp->at != timestamp->end && timestamp->end - timestamp->at <= MOST_WORD_BYTES) {
        last->size = put_minute(last->text, timestamp->at, timestamp->end) - last->text;
        last->is_unknown = 0;
    }
    memcpy(out, last->text, (size_t)last->size);
    return out + last->size;
}

/* Whether Python has to read a record whose minute is that of a line that Python has read. */
static inline int
is_in_unknown_minute(const StoredValue *timestamp, const LastMinute *last)
{
    return last->is_unknown && (timestamp->at == timestamp->end || timestamp->end - timestamp->at > MOST_WORD_BYTES);
}

/* Write the key by which a record is counted: its level, minute and pattern, with a NUL between them. */
static byte *
put_key(byte *out, const StoredRecord *record, int parts, LastMinute *last)
{
    const StoredValue *level = &record->level;
    if (parts & BY_LEVEL && level->at) {
        memcpy(out, level->at, (size_t)(level->end - level->at));
        out += level->end - level->at;
    }
    *out++ = '\0';
    if (parts & BY_MINUTE)
        out = put_own_minute(out, &record->timestamp, last);
    *out++ = '\0';
    if (parts & BY_PATTERN && record->message.at)
        out = put_pattern(out, record->message.at, record->message.end);
    return out;
}

static int
leave_to_python(Counts *counts, Py_ssize_t start, Py_ssize_t end)
{
    PyObject *range = Py_BuildValue("nn", start, end);
    int result = range ? PyList_Append(counts->left, range) : -1;
    Py_XDECREF(range);
    return result;
}

static int
count_lines(Counts *counts, const byte *first, const byte *end, int parts)
{
    byte key[2 * MOST_WORD_BYTES + 2 + MOST_PATTERN_BYTES];
    StoredRecord record;
    LastMinute last = {{0}, 0, 0};
    for (const byte *at = first, *next; at < end; at = next) {
        next = read_stored_record(at, end, &record);
        if (next && record.level.end - record.level.at <= MOST_WORD_BYTES && !is_in_unknown_minute(&record.timestamp, &last)) {
            if (count_key(counts, key, put_key(key, &record, parts, &last) - key) < 0)
                return -1;
            continue;
        }
        next = (const byte *)memchr(at, '\n', (size_t)(end - at)) + 1;
        last.is_unknown = parts & BY_MINUTE;
        if (leave_to_python(counts, at - first, next - first) < 0)
            return -1;
    }
    for (int i = 0; i < SLOTS; i++)
        if (empty_slot(counts, &counts->slots[i]) < 0)
            return -1;
    return 0;
}

PyObject *
count_records(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer data;
    int parts;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(arguments, "y*i", &data, &parts))
        return NULL;
    Counts counts = {PyDict_New(), PyList_New(0), {{NULL, 0}}};
    const byte *first = data.buf;
    if (counts.counts && counts.left && check_whole_lines(first, data.len) == 0
        && count_lines(&counts, first, first + data.len, parts) == 0)
        result = Py_BuildValue("OO", counts.counts, counts.left);
    for (int i = 0; i < SLOTS; i++)
        Py_XDECREF(counts.slots[i].key);
    Py_XDECREF(counts.counts);
    Py_XDECREF(counts.left);
    PyBuffer_Release(&data);
    return result;
}
