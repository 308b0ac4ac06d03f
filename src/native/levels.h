/* The words that are levels wherever a level may stand: LEVEL_WORDS of rendering/engine/levels.py. */
#ifndef LOGFERRY_LEVELS_H
#define LOGFERRY_LEVELS_H

#include "bytes.h"

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

#endif
