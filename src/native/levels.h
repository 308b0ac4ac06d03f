/* The words that are levels wherever a level may stand: LEVEL_WORDS of rendering/engine/levels.py. */
#ifndef LOGFERRY_LEVELS_H
#define LOGFERRY_LEVELS_H

#include "times.h"

/* Whether the bytes from `at` to `end`, at least one, are a level in any case. */
static inline int
is_level_word(const byte *at, const byte *end)
{
    static const char *const level_words[] = {
        "TRACE", "DEBUG", "INFO", "NOTICE", "WARNING", "WARN", "ERROR", "ERR", "CRITICAL", "CRIT", "ALERT",
        "EMERGENCY", "EMERG", "FATAL", "SEVERE", "PANIC",
    };
    for (size_t i = 0; i < sizeof(level_words) / sizeof(*level_words); i++) {
        const char *word = level_words[i];
        if ((*at & 0xdf) != (byte)*word || strlen(word) != (size_t)(end - at))
            continue;
        const byte *c = at;
        while (c < end && (*c & 0xdf) == (byte)*word)
            c++, word++;
        if (c == end)
            return 1;
    }
    return 0;
}

enum { SHORTEST_LEVEL = 3, LONGEST_LEVEL = 9 };

/* Find the level that a message begins with, as LEVEL_AHEAD does; return 0 if there is none. A quote or a newline ends the
 * message. */
static inline int
find_level_ahead(const byte *message, const byte **level, const byte **level_end)
{
    const byte *at = skip_timestamp_of_message(message);
    int is_bracketed = *at == '[', are_capitals = 1;
    at += is_bracketed;
    const byte *end = at;
    for (; IS(*end, LETTER); end++)
        are_capitals &= IS(*end, CAPITAL) != 0;
    if (end - at < SHORTEST_LEVEL || end - at > LONGEST_LEVEL)
        return 0;
    if (is_bracketed ? *end != ']' : *end != ':' && (!are_capitals || IS(*end, DIGIT) || *end == '_' || *end == '-'))
        return 0;
    *level = at;
    *level_end = end;
    return is_level_word(at, end);
}

#endif
