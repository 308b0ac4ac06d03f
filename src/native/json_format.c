/* Renders lines in the json format by rules 2, as far as their reading is certain; Python renders the others. */
#include "arguments.h"
#include "json_object.h"
#include "structured.h"

/* What a number or a letter stands for that is a level. */
typedef struct {
    const char *number;
    const char *word;
} NumberWord;

static const NumberWord syslog_words[] = {
    {"0", "EMERGENCY"}, {"1", "ALERT"}, {"2", "CRITICAL"}, {"3", "ERROR"}, {"4", "WARNING"}, {"5", "NOTICE"},
    {"6", "INFO"}, {"7", "DEBUG"}, {NULL, NULL},
};
static const NumberWord monolog_words[] = {
    {"100", "DEBUG"}, {"200", "INFO"}, {"250", "NOTICE"}, {"300", "WARNING"}, {"400", "ERROR"}, {"500", "CRITICAL"},
    {"550", "ALERT"}, {"600", "EMERGENCY"}, {NULL, NULL},
};
static const NumberWord bunyan_words[] = {
    {"10", "TRACE"}, {"20", "DEBUG"}, {"30", "INFO"}, {"40", "WARN"}, {"50", "ERROR"}, {"60", "FATAL"}, {NULL, NULL},
};
static const NumberWord mongodb_words[] = {
    {"F", "FATAL"}, {"E", "ERROR"}, {"W", "WARNING"}, {"I", "INFO"}, {"D1", "DEBUG"}, {"D2", "DEBUG"},
    {"D3", "DEBUG"}, {"D4", "DEBUG"}, {"D5", "DEBUG"}, {NULL, NULL},
};

/* Return the word for what is from `at` to `end`; NULL if it has none. */
static const char *
word_for(const NumberWord *words, const byte *at, const byte *end)
{
    for (; words && words->number; words++)
        if (strlen(words->number) == (size_t)(end - at) && !memcmp(words->number, at, (size_t)(end - at)))
            return words->word;
    return NULL;
}

/* What plays the roles of an object, as `Roles` in roles.py: the name for each, or NAME_NONE. A level or a timestamp
 * that has to be converted comes first in the record; numeric levels stand for words. */
typedef struct {
    Name sources[ROLE_COUNT];
    const byte *level, *level_end;
    const byte *timestamp, *timestamp_end;
    const char *level_word;
    const NumberWord *numbers;
} Roles;

static inline Name
source_of(const Object *object, int role)
{
    if (object->kinds[roles[role].first])
        return roles[role].first;
    for (Name name = roles[role].first + 1; name < roles[role].end; name++)
        if (object->kinds[name] & KINDS_SCALAR)
            return name;
    return NAME_NONE;
}

static const Member *
first_member(const Object *object, Name name)
{
    const Member *member = object->members;
    while (member->name != name)
        member++;
    return member;
}

/* Take the level from a text that stands for a word. Return 0 if that is not certain. */
static int
convert_word(const Object *object, Name name, const NumberWord *words, Roles *found)
{
    const Member *member = first_member(object, name);
    const byte *text = member->value + 1, *text_end = member->value_end - 1;
    if (memchr(text, '\\', (size_t)(text_end - text)))
        return 0;
    found->level_word = word_for(words, text, text_end);
    return 1;
}

/* Find the values that have to be converted: `_conversions` in roles.py. Return 0 if that is not certain. */
static int
find_conversions(const Object *object, const byte *end, byte inner_newline, Roles *found)
{
    const byte *kinds = object->kinds;
    int is_mongodb = kinds[NAME_T] == KIND_DATE && kinds[NAME_CTX];
    if (is_mongodb && found->sources[ROLE_TIMESTAMP] == NAME_NONE) {
        const Member *member = first_member(object, NAME_T);
        const byte *quote = memchr(member->value, ':', (size_t)(member->value_end - member->value));
        found->timestamp = (const byte *)memchr(quote, '"', (size_t)(member->value_end - quote)) + 1;
        found->timestamp_end = memchr(found->timestamp, '"', (size_t)(member->value_end - found->timestamp));
    }
    if (found->sources[ROLE_LEVEL] != NAME_NONE)
        return 1;
    if (is_mongodb && kinds[NAME_S] == KIND_TEXT)
        return convert_word(object, NAME_S, mongodb_words, found);
    if (kinds[NAME_LOG] == KIND_LEVELLED)
        return find_level_within(first_member(object, NAME_LOG), end, inner_newline, &found->level, &found->level_end);
    if (kinds[NAME_JOURNALD_MESSAGE] && kinds[NAME_PRIORITY] == KIND_TEXT)
        return convert_word(object, NAME_PRIORITY, syslog_words, found);
    return 1;
}

/* What numeric levels mean: `_numbers` in roles.py. */
static inline const NumberWord *
number_words(const byte *kinds)
{
    if (kinds[NAME_SHORT_MESSAGE])
        return syslog_words;
    if (kinds[NAME_LEVEL_NAME])
        return monolog_words;
    if (kinds[NAME_MSG] && kinds[NAME_TIME] && (kinds[NAME_PID] || kinds[NAME_HOSTNAME] || kinds[NAME_V]))
        return bunyan_words;
    return NULL;
}

/* Find what plays the roles. Return 0 if that is not certain. */
static inline int
find_roles(const Object *object, const byte *end, byte inner_newline, Roles *found)
{
    memset(found, 0, sizeof(*found));
    for (int role = 0; role < ROLE_COUNT; role++)
        found->sources[role] = source_of(object, role);
    if (found->sources[ROLE_TIMESTAMP] == NAME_NONE && object->kinds[NAME_T] == KIND_TIME)
        found->sources[ROLE_TIMESTAMP] = NAME_T;
    found->numbers = number_words(object->kinds);
    return find_conversions(object, end, inner_newline, found);
}

/* Put the opening brace, and the roles that nothing in the line plays. */
static byte *
put_missing(byte *out, const byte *line, const byte *end, byte inner_newline, const Object *object, const Roles *found)
{
    const Name *sources = found->sources;
    *out++ = '{';
    if (sources[ROLE_LEVEL] == NAME_NONE) {
        out = PUT(out, "\"level\": \"");
        if (found->level)
            out = put_capitals(out, found->level, found->level_end);
        else
            out = put_word(out, found->level_word ? found->level_word : "UNKNOWN");
        out = PUT(out, "\", ");
    }
    if (sources[ROLE_MESSAGE] == NAME_NONE) {
        out = PUT(out, "\"message\": \"");
        out = escape_line(out, &line, end, inner_newline);
        out = PUT(out, "\", ");
    }
    if (sources[ROLE_TIMESTAMP] == NAME_NONE) {
        out = PUT(out, "\"timestamp\": ");
        if (found->timestamp) {
            *out++ = '"';
            out = put_bytes(out, found->timestamp, found->timestamp_end);
            *out++ = '"';
        }
        else
            out = PUT(out, "null");
        out = PUT(out, ", ");
    }
    return object->is_empty ? out - 2 : out; /* an empty object lacks all roles: nothing follows the last */
}

/* Copy a part of a line; bytes behind the part may be read, too, but none from `end` on. */
static inline byte *
copy_part(byte *out, const byte *from, const byte *to, const byte *end)
{
    return end - to >= READ_BEYOND ? copy_bytes(out, from, (size_t)(to - from)) : put_bytes(out, from, to);
}

/* Put the members of an object with their new keys and levels, and the closing brace; NULL if that is not certain. */
static inline byte *
put_members(byte *out, const byte *end, const Object *object, const Roles *found)
{
    const byte *done = object->body;
    for (const Member *member = object->members; member < object->members + object->count; member++) {
        int role = 0;
        while (role < ROLE_COUNT && found->sources[role] != member->name)
            role++;
        if (role == ROLE_COUNT || !(member->kind & KINDS_SCALAR))
            continue;
        if (member->name != roles[role].first) {
            out = copy_part(out, done, member->key, end);
            memcpy(out, roles[role].key, sizeof roles[role].key);
            out += roles[role].key_size;
            done = member->key_end;
        }
        if (role != ROLE_LEVEL)
            continue;
        const char *word;
        if (member->kind == KIND_TEXT) {
            if (!is_ascii_text(member->value, member->value_end))
                return NULL;
            out = copy_part(out, done, member->value, end);
            out = put_capitals(out, member->value, member->value_end);
            done = member->value_end;
        }
        else if ((word = word_for(found->numbers, member->value, member->value_end))) {
            out = copy_part(out, done, member->value, end);
            *out++ = '"';
            out = put_word(out, word);
            *out++ = '"';
            done = member->value_end;
        }
    }
    return copy_part(out, done, object->close + 1, end);
}

/* An upper bound on what a record has beyond its line and its missing message: new keys and levels of every member that
 * has a name, and the roles that are missing. */
#define ADDED_BYTES (MOST_NAMED * 32 + RECORD_BYTES)

/* Render a line that is not blank. Of control characters, only white space between the parts of an object is left in a
 * record, and becomes spaces. */
static LineResult
put_json(const byte *line, const byte *newline, const byte *end, byte inner_newline, void *layout, Output *output)
{
    Object object;
    Roles found;
    ObjectResult result = read_object(line, end, inner_newline, layout, &object);
    if (result == UNCERTAIN_OBJECT)
        return LINE_LEFT;
    if (result == AN_OBJECT && !find_roles(&object, end, inner_newline, &found))
        return LINE_LEFT;
    Py_ssize_t most = ADDED_BYTES + SLACK;
    if (result == AN_OBJECT) { /* what stands within another value is copied twice */
        most += newline - line;
        if (found.level)
            most += found.level_end - found.level;
        if (found.timestamp)
            most += found.timestamp_end - found.timestamp;
    }
    if (result == NOT_AN_OBJECT || found.sources[ROLE_MESSAGE] == NAME_NONE)
        most += MOST_PER_BYTE * (newline - line);
    if (output_reserve(output, most) < 0)
        return LINE_FAILED;
    byte *out = output->at;
    if (result == NOT_AN_OBJECT)
        out = put_unknown(out, line, end, inner_newline);
    else {
        out = put_missing(out, line, end, inner_newline, &object, &found);
        out = put_members(out, end, &object, &found);
        if (!out)
            return LINE_LEFT;
        for (byte *c = output->at; object.has_control_space && c < out; c++)
            *c = *c < ' ' ? ' ' : *c;
        *out++ = '\n';
    }
    output->at = out;
    return LINE_RENDERED;
}

static PyObject *
render_json_lines(const byte *at, const byte *end, byte inner_newline)
{
    Layout layout;
    memset(layout.size, 0, sizeof layout.size);
    return render_each_line(at, end, inner_newline, put_json, &layout);
}

PyObject *
render_json(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return with_lines(arguments, render_json_lines);
}
