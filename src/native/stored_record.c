/* Reads stored lines: see stored_record.h. */
#include "stored_record.h"
#include "json_text.h"
#include "validation.h"

#define IS_KEY(key, length, name) ((length) == sizeof(name) - 1 && !memcmp((key), (name), sizeof(name) - 1))

/* Return the value between two positions. */
static inline StoredValue
value_between(const byte *at, const byte *end)
{
    if (*at == '"')
        return (StoredValue){at + 1, end - 1};
    if (*at == '-' || IS(*at, DIGIT))
        return (StoredValue){at, end};
    return (StoredValue){NULL, NULL};
}

static inline int
has_escape(const StoredValue *value)
{
    return value->at && memchr(value->at, '\\', (size_t)(value->end - value->at)) != NULL;
}

const byte *
read_stored_record(const byte *at, const byte *end, StoredRecord *record)
{
    *record = (StoredRecord){{NULL, NULL}, {NULL, NULL}, {NULL, NULL}};
    if (at == end || *at++ != '{')
        return NULL;
    at = skip_space(at, end);
    while (at < end && *at == '"') {
        const byte *key = at + 1, *key_end = find_special(key, end);
        if (key_end == end || *key_end != '"')
            return NULL;
        at = skip_space(key_end + 1, end);
        if (at == end || *at != ':')
            return NULL;
        const byte *value = skip_space(at + 1, end);
        at = value < end && *value == '"' ? skip_string(value + 1, end) : skip_json_value(value, end, 1);
        if (!at)
            return NULL;
        size_t length = (size_t)(key_end - key);
        if (IS_KEY(key, length, "level"))
            record->level = value_between(value, at);
        else if (IS_KEY(key, length, "message"))
            record->message = *value == '"' ? value_between(value, at) : (StoredValue){NULL, NULL};
        else if (IS_KEY(key, length, "timestamp"))
            record->timestamp = value_between(value, at);
        at = skip_space(at, end);
        if (at == end || *at != ',')
            break;
        at = skip_space(at + 1, end);
        if (at == end || *at != '"')
            return NULL;
    }
    if (at == end || *at++ != '}' || at == end || *at++ != '\n')
        return NULL;
    return has_escape(&record->level) || has_escape(&record->timestamp) ? NULL : at;
}
