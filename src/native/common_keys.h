/* The keys of objects and pairs that may play the role of level, message or timestamp. */
#ifndef LOGFERRY_COMMON_KEYS_H
#define LOGFERRY_COMMON_KEYS_H

#include "common.h"

/* The keys that may have a role, in the order of rendering/formats/json/roles.py: of each role the best name first, and
 * then the keys that show which program wrote an object. The first names of each role are those of logfmt, too
 * (rendering/engine/field_roles.py). */
#define LEVEL_NAMES(X) \
    X(LEVEL, "level") X(SEVERITY, "severity") X(LVL, "lvl") X(LOG_LEVEL, "log.level") X(LEVELNAME, "levelname") \
    X(LOGLEVEL, "loglevel") X(AT_L, "@l") X(AT_LEVEL, "@level") X(CAPITAL_LEVEL, "Level") X(LOG_LEVEL_2, "LogLevel") \
    X(LOG_LEVEL_3, "logLevel") X(LEVEL_NAME, "level_name") X(ERROR_SEVERITY, "error_severity")
#define MESSAGE_NAMES(X) \
    X(MESSAGE, "message") X(MSG, "msg") X(LOG, "log") X(TEXT, "text") X(EVENT, "event") X(JOURNALD_MESSAGE, "MESSAGE") \
    X(AT_M, "@m") X(AT_MESSAGE, "@message") X(SHORT_MESSAGE, "short_message") X(RENDERED_MESSAGE, "RenderedMessage") \
    X(CAPITAL_MESSAGE, "Message") X(AT_MT, "@mt") X(MESSAGE_TEMPLATE, "MessageTemplate")
#define TIMESTAMP_NAMES(X) \
    X(TIMESTAMP, "timestamp") X(TIME, "time") X(TS, "ts") X(AT_TIMESTAMP, "@timestamp") X(DATETIME, "datetime") \
    X(DATE, "date") X(ASCTIME, "asctime") X(AT_T, "@t") X(CAPITAL_TIMESTAMP, "Timestamp") \
    X(REALTIME_TIMESTAMP, "__REALTIME_TIMESTAMP")
#define EVIDENCE_NAMES(X) \
    X(T, "t") X(S, "s") X(CTX, "ctx") X(PRIORITY, "PRIORITY") X(PID, "pid") X(HOSTNAME, "hostname") X(V, "v")
#define ALL_NAMES(X) LEVEL_NAMES(X) MESSAGE_NAMES(X) TIMESTAMP_NAMES(X) EVIDENCE_NAMES(X)

#define NAME_OF(name, text) NAME_##name,
typedef enum { ALL_NAMES(NAME_OF) NAME_COUNT, NAME_NONE = NAME_COUNT } Name;
#undef NAME_OF

/* The roles, in the order in which a record has those that its line lacks. */
enum { ROLE_LEVEL, ROLE_MESSAGE, ROLE_TIMESTAMP, ROLE_COUNT };

typedef struct {
    char key[16]; /* in quotes */
    size_t key_size;
    Name first, end_of_logfmt, end; /* the names under which the role is found, the best first */
} Role;

extern const Role roles[ROLE_COUNT];

typedef struct {
    const char *text;
    byte size;
} NameText;

extern const NameText names[NAME_COUNT];

/* Where a name is found: at its place, or at one of the next, up to the first that is free. */
#define PLACES 256
extern byte places[PLACES];
extern byte longest_name;

static inline unsigned
place_of(const byte *key, size_t size)
{
    return (key[0] * 7u + key[size - 1] * 31u + (unsigned)size * 17u) % PLACES;
}

static inline Name
name_of(const byte *key, const byte *key_end)
{
    size_t size = (size_t)(key_end - key);
    if (!size || size > longest_name)
        return NAME_NONE;
    for (unsigned place = place_of(key, size); places[place] != NAME_NONE; place = (place + 1) % PLACES) {
        Name name = (Name)places[place];
        if (names[name].size == size && !memcmp(names[name].text, key, size))
            return name;
    }
    return NAME_NONE;
}

/* Fill the table of the names: once, before any other function runs. */
void fill_common_keys(void);

#endif
