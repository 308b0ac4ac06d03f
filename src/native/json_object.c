/* Reads lines that are JSON objects: see json_object.h. */
#include "json_object.h"
#include "levels.h"
#include "times.h"

/* What reading needs to know, and what it finds on its way. */
typedef struct {
    const byte *end;
    byte inner_newline;
    int has_control_space;
} Reader;

static inline const byte *
skip_white(Reader *reader, const byte *at)
{
    while (*at <= ' ') {
        if (*at != ' ') {
            if (*at == '\n' || (*at != '\t' && *at != '\r' && *at != reader->inner_newline))
                return at;
            reader->has_control_space = 1;
        }
        at++;
    }
    return at;
}

static inline const byte *
skip_digits(const byte *at)
{
    while (IS(*at, DIGIT))
        at++;
    return at;
}

/* Return the position after a number; NULL if it is not a number. */
static inline const byte *
skip_number(const byte *at)
{
    at += *at == '-';
    if (!IS(*at, DIGIT))
        return NULL;
    at = *at == '0' ? at + 1 : skip_digits(at);
    if (*at == '.') {
        if (!IS(at[1], DIGIT))
            return NULL;
        at = skip_digits(at + 1);
    }
    if ((*at | 0x20) == 'e') {
        at++;
        at += *at == '+' || *at == '-';
        if (!IS(*at, DIGIT))
            return NULL;
        at = skip_digits(at);
    }
    return at;
}

/* Return the position after a value that is neither an object nor an array, and set its kind; NULL if it is none. */
static inline const byte *
skip_scalar(const Reader *reader, const byte *at, int *kind)
{
    *kind = KIND_OTHER;
    switch (*at) {
    case '"':
        *kind = KIND_TEXT;
        return skip_string(at + 1, reader->end);
    case 't':
        return SKIP(at, reader->end, "true");
    case 'f':
        return SKIP(at, reader->end, "false");
    case 'n':
        return SKIP(at, reader->end, "null");
    default:
        *kind = KIND_NUMBER;
        return skip_number(at);
    }
}

/* Return the beginning of the value after a key; NULL if there is none. */
static inline const byte *
skip_colon(Reader *reader, const byte *at)
{
    at = skip_white(reader, at);
    return *at == ':' ? skip_white(reader, at + 1) : NULL;
}

static const byte *
skip_key(Reader *reader, const byte *at)
{
    if (*at != '"' || !(at = skip_string(at + 1, reader->end)))
        return NULL;
    return skip_colon(reader, at);
}

/* Return the position after an object or an array; NULL if it is not JSON, or nested too deeply. */
static const byte *
skip_nested(Reader *reader, const byte *at)
{
    uint64_t are_objects = 0; /* a bit for each open bracket, the innermost last */
    int depth = 0, kind;
    for (;;) {
        if (*at == '{' || *at == '[') {
            int is_object = *at == '{';
            if (depth++ == MOST_NESTED)
                return NULL;
            are_objects = are_objects << 1 | (uint64_t)is_object;
            at = skip_white(reader, at + 1);
            if (*at != (is_object ? '}' : ']')) {
                if (is_object && !(at = skip_key(reader, at)))
                    return NULL;
                continue;
            }
        }
        else {
            if (!(at = skip_scalar(reader, at, &kind)))
                return NULL;
            at = skip_white(reader, at);
        }
        for (;;) {
            int is_object = (int)(are_objects & 1);
            if (*at == ',') {
                at = skip_white(reader, at + 1);
                if (is_object && !(at = skip_key(reader, at)))
                    return NULL;
                break;
            }
            if (*at != (is_object ? '}' : ']'))
                return NULL;
            at++;
            are_objects >>= 1;
            if (!--depth)
                return at;
            at = skip_white(reader, at);
        }
    }
}

static inline const byte *
skip_value(Reader *reader, const byte *at, int *kind)
{
    if (*at != '{' && *at != '[')
        return skip_scalar(reader, at, kind);
    *kind = KIND_OTHER;
    return skip_nested(reader, at);
}

static inline int
has_backslash(const byte *at, const byte *end)
{
    return memchr(at, '\\', (size_t)(end - at)) != NULL;
}

/* Return the kind of a value of `t`: 0 if that is not certain. */
static int
kind_of_t(Reader *reader, const Member *member)
{
    static const char key[] = "\"$date\"";
    if (has_backslash(member->value, member->value_end))
        return 0;
    if (member->kind == KIND_TEXT)
        return is_time(member->value + 1, member->value_end - 1) ? KIND_TIME : KIND_TEXT;
    if (*member->value != '{')
        return member->kind;
    const byte *at = skip_white(reader, member->value + 1);
    if (*at == '}')
        return KIND_OTHER;
    const byte *value = skip_key(reader, at);
    if (!value)
        return 0;
    if (memcmp(at, key, sizeof(key) - 1))
        return KIND_OTHER;
    int kind;
    const byte *value_end = skip_value(reader, value, &kind);
    if (!value_end || *skip_white(reader, value_end) != '}')
        return 0;
    return kind == KIND_TEXT && is_time(value + 1, value_end - 1) ? KIND_DATE : KIND_OTHER;
}

int
find_level_within(const Member *member, const byte *end, byte inner_newline, const byte **level,
                  const byte **level_end)
{
    Reader reader = {end, inner_newline, 0};
    int found = 0, kind;
    const byte *at = skip_white(&reader, member->value + 1);
    while (*at == '"') {
        const byte *value = skip_key(&reader, at);
        const byte *value_end = value ? skip_value(&reader, value, &kind) : NULL;
        if (!value_end)
            return 0;
        if (!memcmp(at, "\"level\"", 7)) {
            if (found++ || kind != KIND_TEXT || value_end - value < 3)
                return 0;
            *level = value + 1;
            *level_end = value_end - 1;
        }
        at = skip_white(&reader, value_end);
        if (*at != ',')
            break;
        at = skip_white(&reader, at + 1);
    }
    return found && is_level_word(*level, *level_end);
}

/* Return the kind of a value of `log`: 0 if that is not certain. */
static int
kind_of_log(const Reader *reader, const Member *member)
{
    const byte *level, *level_end;
    if (*member->value != '{')
        return member->kind;
    if (has_backslash(member->value, member->value_end))
        return 0;
    if (find_level_within(member, reader->end, reader->inner_newline, &level, &level_end))
        return KIND_LEVELLED;
    /* Python takes the last one of several levels. */
    const byte *at = member->value;
    for (int times = 0; (at = memchr(at, '"', (size_t)(member->value_end - at))); at++)
        if (member->value_end - at > 7 && !memcmp(at, "\"level\"", 7) && times++)
            return 0;
    return KIND_OTHER;
}

/* Add a member whose key is a name; return whether the object is still certain. */
static inline int
add_named(Reader *reader, Object *object, Member member)
{
    int kind = member.kind;
    if (member.name == NAME_T)
        kind = kind_of_t(reader, &member);
    else if (member.name == NAME_LOG)
        kind = kind_of_log(reader, &member);
    if (!kind || object->count == MOST_NAMED)
        return 0;
    member.kind = (byte)kind;
    object->kinds[member.name] |= (byte)kind;
    object->members[object->count++] = member;
    return 1;
}

/* Read the key of a member, given the brace or the comma before it; return where its value begins, or NULL. */
static inline const byte *
read_key(Reader *reader, const byte *begin, Layout *layout, int place, Member *member)
{
    if (place < MOST_EXPECTED && is_expected(layout->at[place], layout->size[place], begin, reader->end)) {
        member->name = layout->name[place];
        member->key = begin + layout->key_at[place];
        member->key_end = member->key + layout->key_size[place];
        return skip_white(reader, begin + layout->size[place]);
    }
    const byte *key = member->key = skip_white(reader, begin + 1);
    if (*key != '"')
        return NULL;
    const byte *key_end = find_special(key + 1, reader->end);
    if (key_end == reader->end || *key_end != '"')
        return NULL;
    member->name = (byte)name_of(key + 1, key_end++);
    member->key_end = key_end;
    const byte *value = skip_colon(reader, key_end);
    if (value && place < MOST_EXPECTED && value - begin <= LONGEST_EXPECTED && !reader->has_control_space) {
        layout->at[place] = begin;
        layout->size[place] = (byte)(value - begin);
        layout->key_at[place] = (byte)(key - begin);
        layout->key_size[place] = (byte)(key_end - key);
        layout->name[place] = member->name;
    }
    return value;
}

ObjectResult
read_object(const byte *line, const byte *end, byte inner_newline, Layout *layout, Object *object)
{
    Reader reader = {end, inner_newline, 0};
    const byte *at = skip_white(&reader, line);
    if (*at != '{')
        return NOT_AN_OBJECT;
    object->body = at + 1;
    object->count = 0;
    memset(object->kinds, 0, sizeof(object->kinds));
    object->is_empty = *skip_white(&reader, at + 1) == '}';
    if (object->is_empty)
        at = skip_white(&reader, at + 1);
    for (int place = 0; !object->is_empty; place++) {
        Member member;
        int kind;
        member.value = read_key(&reader, at, layout, place, &member);
        if (!member.value || !(at = skip_value(&reader, member.value, &kind)))
            return UNCERTAIN_OBJECT;
        member.kind = (byte)kind;
        member.value_end = at;
        if (member.name != NAME_NONE && !add_named(&reader, object, member))
            return UNCERTAIN_OBJECT;
        at = skip_white(&reader, at);
        if (*at == '}')
            break;
        if (*at != ',')
            return UNCERTAIN_OBJECT;
    }
    object->close = at;
    at = skip_white(&reader, at + 1);
    object->has_control_space = reader.has_control_space;
    return *at == '\n' ? AN_OBJECT : UNCERTAIN_OBJECT;
}
