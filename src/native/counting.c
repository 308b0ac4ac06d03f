/* Counts stored records: see counting.h. */
#include <stdlib.h>

#include "counting.h"
#include "arguments.h"
#include "bytes.h"
#include "stored_record.h"

/* A key with its hash, and how many records have it. A table has a power of two of them. */
typedef struct {
    uint64_t hash;
    size_t key; /* where it begins among the bytes of all keys */
    Py_ssize_t size;
    Py_ssize_t count; /* 0: no key */
} Entry;

/* What is counted, without Python's objects: other threads go on meanwhile. */
typedef struct {
    Entry *entries;
    size_t mask, used, last; /* the entry of the last record is the most likely one */
    byte *keys;
    size_t keys_used, keys_size;
    Py_ssize_t *left; /* start and end of each line that Python has to read */
    size_t left_used, left_size;
    uint64_t seed;
} Counts;

#define FIRST_ENTRIES 1024
#define FIRST_KEY_BYTES (64 * 1024)
#define FIRST_LEFT 64

/* Return a number that nobody outside of this process knows: keys come from clients, who must not choose hashes. */
static uint64_t
seed_of_process(void)
{
    PyObject *text = PyBytes_FromString("counting");
    uint64_t seed = text ? (uint64_t)PyObject_Hash(text) : 0;
    Py_XDECREF(text);
    PyErr_Clear();
    return seed | 1;
}

static inline uint64_t
hash_of(uint64_t hash, const byte *key, Py_ssize_t size)
{
    uint64_t word;
    for (hash ^= (uint64_t)size; size >= 8; key += 8, size -= 8) {
        memcpy(&word, key, 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
    }
    word = 0;
    memcpy(&word, key, (size_t)size);
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

static void
counts_close(Counts *counts)
{
    free(counts->entries);
    free(counts->keys);
    free(counts->left);
}

/* Return -1 if there is not as much memory. */
static int
counts_open(Counts *counts)
{
    *counts = (Counts){.mask = FIRST_ENTRIES - 1, .keys_size = FIRST_KEY_BYTES, .left_size = FIRST_LEFT};
    counts->seed = seed_of_process();
    counts->entries = calloc(FIRST_ENTRIES, sizeof(Entry));
    counts->keys = malloc(FIRST_KEY_BYTES);
    counts->left = malloc(FIRST_LEFT * sizeof(*counts->left));
    return counts->entries && counts->keys && counts->left ? 0 : -1;
}

/* Return the place of a key: its entry, or an empty one. */
static inline size_t
place_of_key(const Counts *counts, const byte *key, Py_ssize_t size, uint64_t hash)
{
    size_t place = hash & counts->mask;
    for (;; place = (place + 1) & counts->mask) {
        const Entry *entry = &counts->entries[place];
        if (!entry->count || (entry->hash == hash && entry->size == size && !memcmp(counts->keys + entry->key, key, (size_t)size)))
            return place;
    }
}

static int
double_entries(Counts *counts)
{
    size_t size = counts->mask + 1;
    Entry *old = counts->entries, *entries = calloc(2 * size, sizeof(Entry));
    if (!entries)
        return -1;
    counts->entries = entries;
    counts->mask = 2 * size - 1;
    for (size_t i = 0; i < size; i++) {
        if (!old[i].count)
            continue;
        size_t place = old[i].hash & counts->mask;
        while (entries[place].count)
            place = (place + 1) & counts->mask;
        entries[place] = old[i];
    }
    free(old);
    return 0;
}

/* Return memory of `size` bytes at least, with what was there; NULL if there is not as much. */
static void *
grown(void *memory, size_t wanted, size_t *size, size_t unit)
{
    size_t larger = *size * 2 > wanted ? *size * 2 : wanted;
    void *found = realloc(memory, larger * unit);
    if (found)
        *size = larger;
    return found;
}

static int
count_key(Counts *counts, const byte *key, Py_ssize_t size)
{
    uint64_t hash = hash_of(counts->seed, key, size);
    const Entry *last = &counts->entries[counts->last];
    if (!last->count || last->hash != hash || last->size != size || memcmp(counts->keys + last->key, key, (size_t)size))
        counts->last = place_of_key(counts, key, size, hash);
    Entry *entry = &counts->entries[counts->last];
    if (entry->count++)
        return 0;
    if (counts->keys_used + (size_t)size > counts->keys_size) {
        byte *keys = grown(counts->keys, counts->keys_used + (size_t)size, &counts->keys_size, 1);
        if (!keys)
            return -1;
        counts->keys = keys;
    }
    memcpy(counts->keys + counts->keys_used, key, (size_t)size);
    entry->hash = hash;
    entry->size = size;
    entry->key = counts->keys_used;
    counts->keys_used += (size_t)size;
    if (++counts->used * 2 <= counts->mask)
        return 0;
    counts->last = 0;
    return double_entries(counts);
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
    if (counts->left_used + 2 > counts->left_size) {
        Py_ssize_t *left = grown(counts->left, counts->left_used + 2, &counts->left_size, sizeof(*left));
        if (!left)
            return -1;
        counts->left = left;
    }
    counts->left[counts->left_used++] = start;
    counts->left[counts->left_used++] = end;
    return 0;
}

/* Return -1 if there is not as much memory. */
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
    return 0;
}

static PyObject *
dictionary_of(const Counts *counts)
{
    PyObject *found = PyDict_New();
    for (size_t i = 0; found && i <= counts->mask; i++) {
        const Entry *entry = &counts->entries[i];
        if (!entry->count)
            continue;
        PyObject *key = PyBytes_FromStringAndSize((const char *)counts->keys + entry->key, entry->size);
        PyObject *count = PyLong_FromSsize_t(entry->count);
        if (!key || !count || PyDict_SetItem(found, key, count) < 0)
            Py_CLEAR(found);
        Py_XDECREF(key);
        Py_XDECREF(count);
    }
    return found;
}

static PyObject *
list_of_left(const Counts *counts)
{
    PyObject *found = PyList_New((Py_ssize_t)(counts->left_used / 2));
    for (size_t i = 0; found && i < counts->left_used; i += 2) {
        PyObject *range = Py_BuildValue("nn", counts->left[i], counts->left[i + 1]);
        if (!range)
            Py_CLEAR(found);
        else
            PyList_SET_ITEM(found, (Py_ssize_t)(i / 2), range);
    }
    return found;
}

PyObject *
count_records(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer data;
    int parts, failed;
    PyObject *result = NULL;
    Counts counts;
    if (!PyArg_ParseTuple(arguments, "y*i", &data, &parts))
        return NULL;
    if (check_whole_lines(data.buf, data.len) < 0) {
        PyBuffer_Release(&data);
        return NULL;
    }
    failed = counts_open(&counts);
    if (!failed) {
        PyThreadState *unlocked = data.len < WORTH_UNLOCKING ? NULL : PyEval_SaveThread();
        failed = count_lines(&counts, data.buf, (const byte *)data.buf + data.len, parts);
        if (unlocked)
            PyEval_RestoreThread(unlocked);
    }
    PyObject *found = failed ? PyErr_NoMemory() : dictionary_of(&counts);
    PyObject *left = found ? list_of_left(&counts) : NULL;
    if (left)
        result = PyTuple_Pack(2, found, left);
    Py_XDECREF(found);
    Py_XDECREF(left);
    counts_close(&counts);
    PyBuffer_Release(&data);
    return result;
}
