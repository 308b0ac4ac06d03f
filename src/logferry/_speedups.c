/* The functions that take most of the time on both sides: escaping lines, rendering plain and raw lines, checking
 * UTF-8, validating records, CRC-32 and fingerprints.
 *
 * Each function returns the same result, byte for byte, as the Python code that runs where this module is not built.
 * That code is the reference (tests/properties/test_speedups_properties.py compares them). No function may allocate
 * more than its result, or read beyond the end of its input.
 *
 * SSE2, which every x86-64 CPU has, scans 16 bytes at a time; other machines scan byte by byte.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#if defined(__SSE2__)
#include <emmintrin.h>
#endif
#if defined(__x86_64__) && defined(__GNUC__)
#define HAS_CARRYLESS 1
#include <immintrin.h>
#endif

/* The version of the functions below. It changes together with speedups.py, which ignores any other version. */
#define INTERFACE 2

typedef unsigned char byte;

/* ----------------------------------------------------------------------------------------------- byte classes */

enum { DIGIT = 1, LETTER = 2, CAPITAL = 4, STAMP = 8, BLANK = 16, BASE64 = 32 };

static byte kinds[256];

static void
fill_kinds(void)
{
    for (int c = '0'; c <= '9'; c++)
        kinds[c] |= DIGIT | STAMP | BASE64;
    for (int c = 'a'; c <= 'z'; c++)
        kinds[c] |= LETTER | BASE64;
    for (int c = 'A'; c <= 'Z'; c++)
        kinds[c] |= LETTER | CAPITAL | BASE64;
    for (const char *c = "TZUCGM:., +-"; *c; c++)
        kinds[(byte)*c] |= STAMP;
    for (const char *c = " \t\r\v\f"; *c; c++)
        kinds[(byte)*c] |= BLANK;
    for (const char *c = "+/="; *c; c++)
        kinds[(byte)*c] |= BASE64;
}

#define IS(c, kind) (kinds[(byte)(c)] & (kind))

/* Whether a byte must be escaped in a JSON string: a quote, a backslash or a control character. */
static inline int
is_special(byte c)
{
    return c < 0x20 || c == '"' || c == '\\';
}

#if defined(__SSE2__)
/* Return 16 bits, one per byte, each set if its byte is special. */
static inline unsigned
special_mask(__m128i bytes)
{
    __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control));
}
#endif

/* Return the first special byte, or `end`. */
static inline const byte *
find_special(const byte *at, const byte *end)
{
#if defined(__SSE2__)
    for (; end - at >= 16; at += 16) {
        unsigned mask = special_mask(_mm_loadu_si128((const __m128i *)at));
        if (mask)
            return at + __builtin_ctz(mask);
    }
#endif
    while (at < end && !is_special(*at))
        at++;
    return at;
}

static Py_ssize_t
count_newlines(const byte *at, const byte *end)
{
    Py_ssize_t count = 0;
#if defined(__SSE2__)
    while (end - at >= 16) {
        /* Each of 16 counters counts up to 255. The comparison gives -1 for an equal byte. */
        const byte *stop = end - at < 255 * 16 ? at + (end - at) / 16 * 16 : at + 255 * 16;
        __m128i counters = _mm_setzero_si128();
        for (; at < stop; at += 16) {
            __m128i found = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)at), _mm_set1_epi8('\n'));
            counters = _mm_sub_epi8(counters, found);
        }
        __m128i sums = _mm_sad_epu8(counters, _mm_setzero_si128());
        count += _mm_cvtsi128_si64(sums) + _mm_cvtsi128_si64(_mm_unpackhi_epi64(sums, sums));
    }
#endif
    for (; at < end; at++)
        count += *at == '\n';
    return count;
}

/* ------------------------------------------------------------------------------------------------------- UTF-8 */

/* Return the length of the character at `at`, whose first byte is not ASCII; 0 if it is not UTF-8 (RFC 3629). */
static int
utf8_length(const byte *at, const byte *end)
{
    byte first = at[0];
    Py_ssize_t room = end - at;
    if (first < 0xc2 || first > 0xf4 || room < 2)
        return 0;
    byte second = at[1];
    if ((second & 0xc0) != 0x80)
        return 0;
    if (first < 0xe0)
        return 2;
    if (room < 3 || (at[2] & 0xc0) != 0x80)
        return 0;
    if (first < 0xf0) {
        if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f))
            return 0;
        return 3;
    }
    if (room < 4 || (at[3] & 0xc0) != 0x80)
        return 0;
    if ((first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f))
        return 0;
    return 4;
}

/* Return the first byte that is not part of a UTF-8 character, or `end`. */
static const byte *
find_not_utf8(const byte *at, const byte *end)
{
    while (at < end) {
#if defined(__SSE2__)
        if (end - at >= 16) {
            unsigned mask = (unsigned)_mm_movemask_epi8(_mm_loadu_si128((const __m128i *)at));
            if (!mask) {
                at += 16;
                continue;
            }
            at += __builtin_ctz(mask);
        }
#endif
        if (*at < 0x80) {
            at++;
            continue;
        }
        int length = utf8_length(at, end);
        if (!length)
            return at;
        at += length;
    }
    return end;
}

/* ---------------------------------------------------------------------------------------------------- rendering */

/* A bytes object that grows; `at` is where the next byte goes. */
typedef struct {
    PyObject *object;
    byte *at;
    byte *end;
} Output;

static int
output_open(Output *output, Py_ssize_t size)
{
    output->object = PyBytes_FromStringAndSize(NULL, size);
    if (!output->object)
        return -1;
    output->at = (byte *)PyBytes_AS_STRING(output->object);
    output->end = output->at + size;
    return 0;
}

/* Make room for `size` more bytes. The caller must hold the GIL. */
static int
output_reserve(Output *output, Py_ssize_t size)
{
    if (output->end - output->at >= size)
        return 0;
    Py_ssize_t used = output->at - (byte *)PyBytes_AS_STRING(output->object);
    Py_ssize_t wanted = used + used / 2 + size;
    if (_PyBytes_Resize(&output->object, wanted) < 0)
        return -1;
    output->at = (byte *)PyBytes_AS_STRING(output->object) + used;
    output->end = (byte *)PyBytes_AS_STRING(output->object) + wanted;
    return 0;
}

static PyObject *
output_close(Output *output)
{
    Py_ssize_t used = output->at - (byte *)PyBytes_AS_STRING(output->object);
    if (used != PyBytes_GET_SIZE(output->object) && _PyBytes_Resize(&output->object, used) < 0)
        return NULL;
    return output->object;
}

#define PUT(out, text) (memcpy((out), (text), sizeof(text) - 1), (out) + sizeof(text) - 1)

/* One byte becomes at most MOST_PER_BYTE bytes; `escape_line` may write up to SLACK bytes beyond its result. */
#define MOST_PER_BYTE 6
#define SLACK 32

static inline byte *
put_escape(byte *out, byte c, byte inner_newline)
{
    static const char digits[] = "0123456789abcdef";
    byte name = 0;
    if (c == inner_newline)
        name = 'n';
    else if (c == '"' || c == '\\')
        name = c;
    else if (c == '\t')
        name = 't';
    else if (c == '\r')
        name = 'r';
    else if (c == '\b')
        name = 'b';
    else if (c == '\f')
        name = 'f';
    *out++ = '\\';
    if (name) {
        *out++ = name;
        return out;
    }
    *out++ = 'u';
    *out++ = '0';
    *out++ = '0';
    *out++ = (byte)digits[c >> 4];
    *out++ = (byte)digits[c & 15];
    return out;
}

/* Escape from `*from` up to the newline, which must exist, and leave `*from` at that newline. An `inner_newline` that
 * is a newline itself has no effect. */
static inline byte *
escape_line(byte *out, const byte **from, const byte *end, byte inner_newline)
{
    const byte *at = *from;
    for (;;) {
#if defined(__SSE2__)
        while (end - at >= 16) {
            __m128i bytes = _mm_loadu_si128((const __m128i *)at);
            unsigned mask = special_mask(bytes);
            _mm_storeu_si128((__m128i *)out, bytes);
            if (mask) {
                int plain = __builtin_ctz(mask);
                at += plain;
                out += plain;
                goto special;
            }
            at += 16;
            out += 16;
        }
#endif
        while (!is_special(*at))
            *out++ = *at++;
#if defined(__SSE2__)
    special:
#endif
        if (*at == '\n') {
            *from = at;
            return out;
        }
        out = put_escape(out, *at++, inner_newline);
    }
}

/* The parts of a plain line. */
typedef struct {
    const byte *timestamp_end;
    const byte *level;
    const byte *level_end;
    const byte *message;
} Parts;

static inline int
are_digits(const byte *at, int count)
{
    for (int i = 0; i < count; i++)
        if (!IS(at[i], DIGIT))
            return 0;
    return 1;
}

/* Return the end of the time zone at `at`; `at` itself if there is none. */
static const byte *
zone_end(const byte *at)
{
    const byte *zone = *at == ' ' ? at + 1 : at;
    const byte *end;
    if (*zone == 'Z')
        end = zone + 1;
    else if (*zone == 'U' && zone[1] == 'T' && zone[2] == 'C')
        end = zone + 3;
    else if (*zone == 'G' && zone[1] == 'M' && zone[2] == 'T')
        end = zone + 3;
    else if ((*zone == '+' || *zone == '-') && are_digits(zone + 1, 2)) {
        const byte *minutes = zone[3] == ':' ? zone + 4 : zone + 3;
        end = are_digits(minutes, 2) ? minutes + 2 : zone + 3;
    }
    else
        return at;
    return IS(*end, DIGIT | LETTER) ? at : end;
}

/* Find the parts of a plain line (rendering/formats/text/plain.py has the pattern); return 0 if it is not a plain line.
 * The line ends with a newline, which no part can contain, so nothing beyond the newline is read. */
static inline int
parse_plain(const byte *line, byte inner_newline, Parts *parts)
{
    const byte *at = line;
    if (!(are_digits(at, 4) && at[4] == '-' && are_digits(at + 5, 2) && at[7] == '-' && are_digits(at + 8, 2)))
        return 0;
    if (at[10] != ' ' && at[10] != 'T')
        return 0;
    if (!(are_digits(at + 11, 2) && at[13] == ':' && are_digits(at + 14, 2) && at[16] == ':' && are_digits(at + 17, 2)))
        return 0;
    at += 19;
    if ((*at == '.' || *at == ',') && IS(at[1], DIGIT))
        for (at += 2; IS(*at, DIGIT); at++)
            ;
    at = zone_end(at);
    parts->timestamp_end = at;
    if (*at == '\t')
        at++;
    else if (*at == ' ')
        while (*at == ' ')
            at++;
    else
        return 0;
    int is_bracketed = *at == '[';
    at += is_bracketed;
    parts->level = at;
    while (IS(*at, LETTER))
        at++;
    parts->level_end = at;
    if (at == parts->level)
        return 0;
    if (is_bracketed) {
        if (*at++ != ']')
            return 0;
    }
    else if (*at == ':')
        at++;
    if (*at == ' ' || *at == '\t' || (*at == inner_newline && inner_newline != '\n'))
        at++;
    else if (*at != '\n')
        return 0;
    parts->message = at;
    return 1;
}

static inline int
is_blank(const byte *line, byte inner_newline)
{
    while (IS(*line, BLANK) && *line != inner_newline)
        line++;
    return *line == '\n';
}

/* An upper bound on the bytes of a record beyond those of its line. */
#define RECORD_BYTES 96

/* Room at the end for a few lines of nothing but escapes. Without it, most outputs would grow for their last line. */
#define SPARE_BYTES 8192

/* Render lines. With `is_plain`, lines in the plain format are split into parts; all others are whole messages. */
static PyObject *
render_lines(const byte *at, const byte *end, byte inner_newline, int is_plain)
{
    Py_ssize_t lines = 0, blank = 0;
    Output output;
    if (output_open(&output, end - at + (end - at) / 16 + 64 * count_newlines(at, end) + SPARE_BYTES) < 0)
        return NULL;
    while (at < end) {
        const byte *newline = memchr(at, '\n', (size_t)(end - at));
        if (output_reserve(&output, MOST_PER_BYTE * (newline - at) + RECORD_BYTES + SLACK) < 0)
            return NULL;
        byte *out = output.at;
        Parts parts;
        if (is_plain && parse_plain(at, inner_newline, &parts)) {
            const byte *line = at;
            out = PUT(out, "{\"level\": \"");
            for (const byte *c = parts.level; c < parts.level_end; c++)
                *out++ = *c & 0xdf;
            out = PUT(out, "\", \"message\": \"");
            at = parts.message;
            out = escape_line(out, &at, end, inner_newline);
            out = PUT(out, "\", \"timestamp\": \"");
            memcpy(out, line, (size_t)(parts.timestamp_end - line));
            out += parts.timestamp_end - line;
            out = PUT(out, "\"}\n");
            lines++;
        }
        else if (is_blank(at, inner_newline))
            blank++;
        else {
            out = PUT(out, "{\"level\": \"UNKNOWN\", \"message\": \"");
            out = escape_line(out, &at, end, inner_newline);
            out = PUT(out, "\", \"timestamp\": null}\n");
            lines++;
        }
        output.at = out;
        at = newline + 1;
    }
    PyObject *payload = output_close(&output);
    return payload ? Py_BuildValue("Nnn", payload, lines, blank) : NULL;
}

static PyObject *
render_plain_lines(const byte *at, const byte *end, byte inner_newline)
{
    return render_lines(at, end, inner_newline, 1);
}

static PyObject *
render_raw_lines(const byte *at, const byte *end, byte inner_newline)
{
    return render_lines(at, end, inner_newline, 0);
}

/* What is to be done with a line of the plain format, by rules 2 (rendering/formats/text/plain.py). */
typedef enum { ASK_PYTHON, WITH_LEVEL, WITH_TIMESTAMP, WHOLE } Reading;

static const char *const level_words[] = {
    "TRACE", "DEBUG", "INFO", "NOTICE", "WARNING", "WARN", "ERROR", "ERR", "CRITICAL", "CRIT", "ALERT", "EMERGENCY",
    "EMERG", "FATAL", "SEVERE", "PANIC",
};

/* Whether the letters from `at` to `end` are a level in any case. */
static inline int
is_level_word(const byte *at, const byte *end)
{
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

/* Whether a word without a mark is a level right after a timestamp although it is in small letters. */
static inline int
is_small_level(const byte *at, const byte *end)
{
    static const char *const words[] = {"debug", "info", "warn", "warning", "error", "err", "crit", "fatal"};
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (strlen(words[i]) == (size_t)(end - at) && !memcmp(at, words[i], (size_t)(end - at)))
            return 1;
    return 0;
}

static inline int
are_capitals(const byte *at, const byte *end)
{
    while (at < end && IS(*at, CAPITAL))
        at++;
    return at == end;
}

/* Whether nothing after the word from `word` to `end` can precede a level: the word ends its line, or is followed by
 * one space and by neither a dash, a bar nor, perhaps after another name, a bracket. */
static int
is_prose(const byte *end, byte inner_newline)
{
    if (*end == '\n' || *end == inner_newline)
        return 1;
    if (*end != ' ')
        return 0;
    const byte *at = end + 1;
    if (*at == ' ' || *at == '-' || *at == '|' || *at == '[' || *at == '\t')
        return 0;
    if (!IS(*at, DIGIT | LETTER))
        return 1;
    while (IS(*at, DIGIT | LETTER) || *at == '_' || *at == '.' || *at == '/' || *at == '$' || *at == '-')
        at++;
    while (*at == ' ')
        at++;
    return *at != '[';
}

/* Decide about a line whose timestamp and first word parse_plain has found. */
static inline Reading
read_dated(const Parts *parts, byte inner_newline, int has_own_levels)
{
    const byte *zone = parts->timestamp_end - 4;
    if (*zone == ' ' && (zone[1] == '+' || zone[1] == '-'))
        return ASK_PYTHON; /* an hour after a space may be a number of the message */
    int is_marked = parts->level[-1] == '[' || *parts->level_end == ':';
    if ((is_marked || are_capitals(parts->level, parts->level_end)) && is_level_word(parts->level, parts->level_end))
        return WITH_LEVEL;
    if (!is_marked && is_small_level(parts->level, parts->level_end))
        return WITH_LEVEL;
    if (is_marked || has_own_levels || are_capitals(parts->level, parts->level_end))
        return ASK_PYTHON;
    if (parts->timestamp_end[0] != ' ' || parts->timestamp_end + 1 != parts->level)
        return ASK_PYTHON;
    return is_prose(parts->level_end, inner_newline) ? WITH_TIMESTAMP : ASK_PYTHON;
}

/* Decide about any other line by its beginning: the timestamps and levels of all layouts begin with a digit, a bracket,
 * an escape, or certain words. */
static inline Reading
read_undated(const byte *at, int has_own_levels)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDecMonTueWedThuFriSatSun";
    if (IS(*at, DIGIT) || *at == '[' || *at == '<' || *at == 0x1b)
        return ASK_PYTHON;
    if (!IS(*at, LETTER))
        return WHOLE;
    const byte *end = at;
    while (IS(*end, LETTER))
        end++;
    if (has_own_levels || *end == ':' || are_capitals(at, end))
        return ASK_PYTHON;
    for (const char *name = names; end - at == 3 && *name; name += 3)
        if (!memcmp(at, name, 3))
            return ASK_PYTHON;
    return WHOLE;
}

/* Put a line, or what is left of it from `at` on, as a message with its level before and its timestamp after it. */
static byte *
put_record(byte *out, const byte *line, const byte *at, const byte *end, byte inner_newline, Reading reading,
           const Parts *parts)
{
    out = PUT(out, "{\"level\": \"");
    if (reading == WITH_LEVEL)
        for (const byte *c = parts->level; c < parts->level_end; c++)
            *out++ = *c & 0xdf;
    else
        out = PUT(out, "UNKNOWN");
    out = PUT(out, "\", \"message\": \"");
    out = escape_line(out, &at, end, inner_newline);
    if (reading == WHOLE)
        return PUT(out, "\", \"timestamp\": null}\n");
    out = PUT(out, "\", \"timestamp\": \"");
    memcpy(out, line, (size_t)(parts->timestamp_end - line));
    out += parts->timestamp_end - line;
    return PUT(out, "\"}\n");
}

/* Add `count` lines that Python has to read to the gaps between records, at an offset of the payload. */
static int
add_gap(PyObject *gaps, Py_ssize_t offset, Py_ssize_t count)
{
    PyObject *gap = count ? Py_BuildValue("nn", offset, count) : NULL;
    if (!gap)
        return count ? -1 : 0;
    int failed = PyList_Append(gaps, gap);
    Py_DECREF(gap);
    return failed;
}

/* Render the lines whose reading is certain. The others are put together, with the places where their records belong. */
static PyObject *
render_certain_lines(const byte *at, const byte *end, byte inner_newline, int has_own_levels)
{
    Py_ssize_t lines = 0, blank = 0, waiting = 0;
    Output output, others;
    PyObject *gaps = PyList_New(0);
    if (!gaps)
        return NULL;
    if (output_open(&output, end - at + (end - at) / 16 + 64 * count_newlines(at, end) + SPARE_BYTES) < 0)
        goto no_output;
    if (output_open(&others, 0) < 0)
        goto no_others;
    while (at < end) {
        const byte *newline = memchr(at, '\n', (size_t)(end - at));
        Parts parts;
        Reading reading;
        if (parse_plain(at, inner_newline, &parts))
            reading = read_dated(&parts, inner_newline, has_own_levels);
        else if (is_blank(at, inner_newline)) {
            blank++;
            at = newline + 1;
            continue;
        }
        else
            reading = read_undated(at, has_own_levels);
        if (reading == ASK_PYTHON) {
            if (output_reserve(&others, newline + 1 - at) < 0)
                goto failed;
            memcpy(others.at, at, (size_t)(newline + 1 - at));
            others.at += newline + 1 - at;
            waiting++;
        }
        else {
            if (add_gap(gaps, output.at - (byte *)PyBytes_AS_STRING(output.object), waiting) < 0)
                goto failed;
            waiting = 0;
            if (output_reserve(&output, MOST_PER_BYTE * (newline - at) + RECORD_BYTES + SLACK) < 0)
                goto failed;
            const byte *message = reading == WITH_LEVEL ? parts.message : reading == WITH_TIMESTAMP ? parts.level : at;
            output.at = put_record(output.at, at, message, end, inner_newline, reading, &parts);
            lines++;
        }
        at = newline + 1;
    }
    if (add_gap(gaps, output.at - (byte *)PyBytes_AS_STRING(output.object), waiting) < 0)
        goto failed;
    PyObject *payload = output_close(&output), *left = output_close(&others);
    if (payload && left)
        return Py_BuildValue("NnnNN", payload, lines, blank, left, gaps);
    Py_XDECREF(payload);
    Py_XDECREF(left);
    Py_DECREF(gaps);
    return NULL;
failed:
    Py_XDECREF(others.object);
no_others:
    Py_XDECREF(output.object);
no_output:
    Py_DECREF(gaps);
    return NULL;
}

static PyObject *
render_certain_known_levels(const byte *at, const byte *end, byte inner_newline)
{
    return render_certain_lines(at, end, inner_newline, 0);
}

static PyObject *
render_certain_own_levels(const byte *at, const byte *end, byte inner_newline)
{
    return render_certain_lines(at, end, inner_newline, 1);
}

static PyObject *
escape_lines(const byte *at, const byte *end, byte inner_newline)
{
    Output output;
    if (output_open(&output, end - at + (end - at) / 16 + SPARE_BYTES) < 0)
        return NULL;
    while (at < end) {
        const byte *newline = memchr(at, '\n', (size_t)(end - at));
        if (output_reserve(&output, MOST_PER_BYTE * (newline - at) + 1 + SLACK) < 0)
            return NULL;
        output.at = escape_line(output.at, &at, end, inner_newline);
        *output.at++ = '\n';
        at = newline + 1;
    }
    return output_close(&output);
}

/* --------------------------------------------------------------------------------------------------- validation */

/* Return the position after `text`, which must be at `at`; NULL if it is not. */
#define SKIP(at, end, text) \
    ((end) - (at) >= (Py_ssize_t)sizeof(text) - 1 && !memcmp((at), (text), sizeof(text) - 1) ? (at) + sizeof(text) - 1 : NULL)

/* Return the position after a JSON string, given the position after its first quote; NULL if it is not a string. */
static inline const byte *
skip_string(const byte *at, const byte *end)
{
    for (;;) {
        at = find_special(at, end);
        if (at == end || *at < 0x20)
            return NULL;
        if (*at++ == '"')
            return at;
        if (at == end)
            return NULL;
        byte escape = *at++;
        if (escape == 'u') {
            if (end - at < 4)
                return NULL;
            for (int i = 0; i < 4; i++)
                if (!(IS(at[i], DIGIT) || (IS(at[i], LETTER) && (at[i] | 0x20) <= 'f')))
                    return NULL;
            at += 4;
        }
        else if (!memchr("\"\\/bfnrt", escape, 8))
            return NULL;
    }
}

/* Return the position after a line in the form that the plain format writes; NULL if it has another form. */
static inline const byte *
skip_canonical_line(const byte *at, const byte *end)
{
    if (!(at = SKIP(at, end, "{\"level\": \"")))
        return NULL;
    const byte *level = at;
    while (at < end && IS(*at, CAPITAL))
        at++;
    if (at == level || !(at = SKIP(at, end, "\", \"message\": \"")) || !(at = skip_string(at, end))
        || !(at = SKIP(at, end, ", \"timestamp\": ")) || at == end)
        return NULL;
    if (*at == '"') {
        const byte *timestamp = ++at;
        while (at < end && IS(*at, STAMP))
            at++;
        if (at == timestamp || at == end || *at++ != '"')
            return NULL;
    }
    else if (!(at = SKIP(at, end, "null")))
        return NULL;
    const byte *mark = SKIP(at, end, ", \"raw\": \"");
    if (mark) {
        for (at = mark; at < end && IS(*at, BASE64); at++)
            ;
        if (at == end || *at++ != '"')
            return NULL;
    }
    mark = SKIP(at, end, ", \"truncated\": true");
    return SKIP(mark ? mark : at, end, "}\n");
}

/* How many objects and arrays may lie in each other, the record included: MAX_NESTING of protocol/long_lines.py. */
#define MOST_NESTED 64

static inline const byte *
skip_space(const byte *at, const byte *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r'))
        at++;
    return at;
}

static const byte *
skip_digits(const byte *at, const byte *end)
{
    const byte *first = at;
    while (at < end && IS(*at, DIGIT))
        at++;
    return at == first ? NULL : at;
}

static const byte *
skip_number(const byte *at, const byte *end)
{
    if (at < end && *at == '-')
        at++;
    if (at < end && *at == '0')
        at++;
    else if (!(at = skip_digits(at, end)))
        return NULL;
    if (at < end && *at == '.' && !(at = skip_digits(at + 1, end)))
        return NULL;
    if (at < end && (*at | 0x20) == 'e') {
        at++;
        if (at < end && (*at == '+' || *at == '-'))
            at++;
        at = skip_digits(at, end);
    }
    return at;
}

static const byte *skip_members(const byte *at, const byte *end, int depth, unsigned *found);

/* Return the position after a JSON value (RFC 8259) that lies in `depth` objects and arrays; NULL if it is not a value,
 * or Python has to decide. */
static const byte *
skip_value(const byte *at, const byte *end, int depth)
{
    if (at == end || (depth == MOST_NESTED && (*at == '{' || *at == '[')))
        return NULL;
    switch (*at) {
    case '"':
        return skip_string(at + 1, end);
    case 't':
        return SKIP(at, end, "true");
    case 'f':
        return SKIP(at, end, "false");
    case 'n':
        return SKIP(at, end, "null");
    case '{':
        return skip_members(at + 1, end, depth, NULL);
    case '[':
        at = skip_space(at + 1, end);
        if (at < end && *at == ']')
            return at + 1;
        for (;;) {
            if (!(at = skip_value(skip_space(at, end), end, depth + 1)))
                return NULL;
            at = skip_space(at, end);
            if (at == end || (*at != ',' && *at != ']'))
                return NULL;
            if (*at++ == ']')
                return at;
        }
    default:
        return skip_number(at, end);
    }
}

enum { HAS_LEVEL = 1, HAS_MESSAGE = 2 };

/* Return the position after the members of an object and its brace; NULL as above. `found`, if not NULL, gets a flag
 * for each of the required keys. */
static const byte *
skip_members(const byte *at, const byte *end, int depth, unsigned *found)
{
    at = skip_space(at, end);
    if (at < end && *at == '}')
        return at + 1;
    for (;;) {
        at = skip_space(at, end);
        if (at == end || *at++ != '"')
            return NULL;
        const byte *key = at;
        if (!(at = skip_string(at, end)))
            return NULL;
        if (found) {
            Py_ssize_t length = at - 1 - key;
            if (length == 5 && !memcmp(key, "level", 5))
                *found |= HAS_LEVEL;
            else if (length == 7 && !memcmp(key, "message", 7))
                *found |= HAS_MESSAGE;
        }
        at = skip_space(at, end);
        if (at == end || *at++ != ':')
            return NULL;
        if (!(at = skip_value(skip_space(at, end), end, depth + 1)))
            return NULL;
        at = skip_space(at, end);
        if (at == end || (*at != ',' && *at != '}'))
            return NULL;
        if (*at++ == '}')
            return at;
    }
}

/* Return the position after an object with level and message in one line; NULL if not, or if Python has to decide. */
static const byte *
skip_record(const byte *at, const byte *end)
{
    unsigned found = 0;
    if (at == end || *at != '{' || !(at = skip_members(at + 1, end, 0, &found)))
        return NULL;
    if (found != (HAS_LEVEL | HAS_MESSAGE) || at == end || *at != '\n')
        return NULL;
    return at + 1;
}

/* ----------------------------------------------------------------------------------- records, a piece at a time */

/* The state of a scan that may stop after any byte: the layout of protocol/long_lines.py, whose `scan_record` is the
 * reference. Each array index below is that of a byte of the state. */
enum {
    MODE, FOUND, DEPTH, KEY, MATCHING, MATCHED, COUNT, UNIT_HIGH, UNIT_LOW, STACK,
    STATE_BYTES = STACK + MOST_NESTED
};
enum { IS_VALUE, IS_RECORD_KEY, IS_OTHER_KEY };
enum { MATCHES_NOTHING = 255 };
enum {
    AT_RECORD, AT_VALUE, AT_ELEMENT, AT_MEMBER, AT_KEY, AT_COLON, AFTER_VALUE, AT_END, IN_STRING, IN_ESCAPE, IN_HEX,
    IN_TRUE, IN_FALSE, IN_NULL, AFTER_MINUS, AFTER_ZERO, IN_INTEGER, AFTER_POINT, IN_FRACTION, AFTER_E, AFTER_SIGN,
    IN_EXPONENT
};

static const char *const required_keys[] = {"", "level", "message"};
static const char *const literals[] = {"true", "false", "null"};

/* Compare the next character of a key of the record with those of the required keys. */
static void
match_key(byte *state, unsigned character)
{
    if (state[KEY] != IS_RECORD_KEY || state[MATCHED] == MATCHES_NOTHING)
        return;
    if (!state[MATCHED])
        state[MATCHING] = character == 'l' ? HAS_LEVEL : character == 'm' ? HAS_MESSAGE : 0;
    byte wanted = (byte)required_keys[state[MATCHING]][state[MATCHED]];
    state[MATCHED] = wanted && character == wanted ? state[MATCHED] + 1 : MATCHES_NOTHING;
}

static void
end_string(byte *state)
{
    if (state[KEY] == IS_VALUE) {
        state[MODE] = AFTER_VALUE;
        return;
    }
    if (state[KEY] == IS_RECORD_KEY && state[MATCHED] && state[MATCHED] != MATCHES_NOTHING
        && !required_keys[state[MATCHING]][state[MATCHED]])
        state[FOUND] |= state[MATCHING];
    state[MODE] = AT_COLON;
}

static void
begin_string(byte *state, int is_key)
{
    state[KEY] = !is_key ? IS_VALUE : state[DEPTH] == 1 ? IS_RECORD_KEY : IS_OTHER_KEY;
    state[MATCHING] = state[MATCHED] = 0;
    state[MODE] = IN_STRING;
}

static int
open_container(byte *state, byte bracket)
{
    if (state[DEPTH] == MOST_NESTED) {
        state[DEPTH]++;
        return 0;
    }
    state[STACK + state[DEPTH]++] = bracket;
    state[MODE] = bracket == '{' ? AT_MEMBER : AT_ELEMENT;
    return 1;
}

static int
close_container(byte *state, byte bracket)
{
    if (state[STACK + state[DEPTH] - 1] != (bracket == '}' ? '{' : '['))
        return 0;
    state[MODE] = --state[DEPTH] ? AFTER_VALUE : AT_END;
    return 1;
}

static int
begin_value(byte *state, byte c)
{
    state[COUNT] = 1;
    switch (c) {
    case '"':
        begin_string(state, 0);
        return 1;
    case '{':
    case '[':
        return open_container(state, c);
    case 't':
        state[MODE] = IN_TRUE;
        return 1;
    case 'f':
        state[MODE] = IN_FALSE;
        return 1;
    case 'n':
        state[MODE] = IN_NULL;
        return 1;
    case '-':
        state[MODE] = AFTER_MINUS;
        return 1;
    case '0':
        state[MODE] = AFTER_ZERO;
        return 1;
    }
    state[MODE] = IN_INTEGER;
    return IS(c, DIGIT);
}

/* Take what follows a value: a comma or the end of its container. */
static int
after_value(byte *state, byte c)
{
    if (c != ',')
        return (c == '}' || c == ']') && close_container(state, c);
    state[MODE] = state[STACK + state[DEPTH] - 1] == '{' ? AT_KEY : AT_VALUE;
    return 1;
}

static int
take_escape(byte *state, byte c)
{
    if (c == 'u') {
        state[COUNT] = state[UNIT_HIGH] = state[UNIT_LOW] = 0;
        state[MODE] = IN_HEX;
        return 1;
    }
    match_key(state, MATCHES_NOTHING);
    state[MODE] = IN_STRING;
    return c && strchr("\"\\/bfnrt", c) != NULL;
}

static int
take_hex(byte *state, byte c)
{
    if (!(IS(c, DIGIT) || (IS(c, LETTER) && (c | 0x20) <= 'f')))
        return 0;
    byte digit = IS(c, DIGIT) ? c - '0' : (c | 0x20) - 'a' + 10;
    state[UNIT_HIGH] = (byte)(state[UNIT_HIGH] << 4 | state[UNIT_LOW] >> 4);
    state[UNIT_LOW] = (byte)(state[UNIT_LOW] << 4 | digit);
    if (++state[COUNT] == 4) {
        match_key(state, state[UNIT_HIGH] ? MATCHES_NOTHING : state[UNIT_LOW]);
        state[MODE] = IN_STRING;
    }
    return 1;
}

/* Take a byte of a number that is not over after the byte before; return 0 if it is none. */
static int
take_number(byte *state, byte c)
{
    int is_digit = IS(c, DIGIT) != 0;
    switch (state[MODE]) {
    case AFTER_MINUS:
        state[MODE] = c == '0' ? AFTER_ZERO : IN_INTEGER;
        return is_digit;
    case AFTER_POINT:
        state[MODE] = IN_FRACTION;
        return is_digit;
    case AFTER_E:
        state[MODE] = is_digit ? IN_EXPONENT : AFTER_SIGN;
        return is_digit || c == '+' || c == '-';
    case AFTER_SIGN:
        state[MODE] = IN_EXPONENT;
        return is_digit;
    }
    if (is_digit && state[MODE] != AFTER_ZERO)
        return 1;
    if (c == '.' && (state[MODE] == AFTER_ZERO || state[MODE] == IN_INTEGER)) {
        state[MODE] = AFTER_POINT;
        return 1;
    }
    if ((c | 0x20) == 'e' && state[MODE] != IN_EXPONENT) {
        state[MODE] = AFTER_E;
        return 1;
    }
    state[MODE] = AFTER_VALUE;
    return IS(c, BLANK) && c != '\v' && c != '\f' ? 1 : after_value(state, c);
}

static int
take_literal(byte *state, byte c)
{
    const char *literal = literals[state[MODE] - IN_TRUE];
    if (c != (byte)literal[state[COUNT]++])
        return 0;
    if (!literal[state[COUNT]])
        state[MODE] = AFTER_VALUE;
    return 1;
}

static int
take_in_string(byte *state, byte c)
{
    if (c == '"')
        end_string(state);
    else if (c == '\\')
        state[MODE] = IN_ESCAPE;
    else
        match_key(state, c);
    return c >= 0x20;
}

static int
take_between(byte *state, byte c)
{
    if (c == ' ' || c == '\t' || c == '\r')
        return 1;
    switch (state[MODE]) {
    case AT_RECORD:
        return c == '{' && open_container(state, c);
    case AT_ELEMENT:
        return c == ']' ? close_container(state, c) : begin_value(state, c);
    case AT_VALUE:
        return begin_value(state, c);
    case AT_MEMBER:
        if (c == '}')
            return close_container(state, c);
        /* fall through */
    case AT_KEY:
        begin_string(state, 1);
        return c == '"';
    case AT_COLON:
        state[MODE] = AT_VALUE;
        return c == ':';
    case AFTER_VALUE:
        return after_value(state, c);
    }
    return 0;
}

/* Take the bytes of a record up to `end`; return 0 at the first byte that is not JSON, or nested too deeply. */
static int
scan_bytes(byte *state, const byte *at, const byte *end)
{
    while (at < end) {
        int is_taken;
        if (state[MODE] == IN_STRING) {
            if (state[KEY] != IS_RECORD_KEY || state[MATCHED] == MATCHES_NOTHING)
                if ((at = find_special(at, end)) == end)
                    return 1;
            is_taken = take_in_string(state, *at);
        }
        else if (state[MODE] == IN_ESCAPE)
            is_taken = take_escape(state, *at);
        else if (state[MODE] == IN_HEX)
            is_taken = take_hex(state, *at);
        else if (state[MODE] >= AFTER_MINUS)
            is_taken = take_number(state, *at);
        else if (state[MODE] >= IN_TRUE)
            is_taken = take_literal(state, *at);
        else
            is_taken = take_between(state, *at);
        if (!is_taken)
            return 0;
        at++;
    }
    return 1;
}

/* ------------------------------------------------------------------------------------------------------- CRC-32 */

/* CRC-32 as in zlib: bits are in reverse order, so the coefficient of x^0 is the highest bit. */
#define CRC_POLYNOMIAL 0xedb88320u

static uint32_t crc_table[256];
static uint32_t powers_of_x[64]; /* x to the power of 2^n, modulo the polynomial */

/* Multiply two polynomials modulo that of the CRC. */
static uint32_t
crc_multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (uint32_t bit = 0x80000000u; bit; bit >>= 1) {
        if (a & bit)
            product ^= b;
        b = b & 1 ? (b >> 1) ^ CRC_POLYNOMIAL : b >> 1;
    }
    return product;
}

static void
fill_crc_tables(void)
{
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t crc = n;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? (crc >> 1) ^ CRC_POLYNOMIAL : crc >> 1;
        crc_table[n] = crc;
    }
    powers_of_x[0] = 0x40000000u;
    for (int n = 1; n < 64; n++)
        powers_of_x[n] = crc_multiply(powers_of_x[n - 1], powers_of_x[n - 1]);
}

/* Return x to the power of 8 * `count`. */
static uint32_t
crc_shift(uint64_t count)
{
    uint32_t product = 0x80000000u;
    for (int n = 3; count; n++, count >>= 1)
        if (count & 1)
            product = crc_multiply(powers_of_x[n & 63], product);
    return product;
}

static uint32_t
crc_bytewise(uint32_t crc, const byte *at, const byte *end)
{
    while (at < end)
        crc = crc_table[(crc ^ *at++) & 0xff] ^ (crc >> 8);
    return crc;
}

#if defined(HAS_CARRYLESS)
/* Folding as in "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction" (Gopal and others, Intel
 * 2009): to move 128 bits n bits ahead, multiply them by x^n and add the product to the data there. The factors are
 * x^(n+32) and x^(n-32) modulo the polynomial, in reverse order and shifted by one. */
static uint64_t fold_64_bytes[2], fold_16_bytes[2];

static uint64_t
fold_factor(int power)
{
    uint32_t product = 0x80000000u;
    for (int n = 0; power; n++, power >>= 1)
        if (power & 1)
            product = crc_multiply(powers_of_x[n], product);
    return (uint64_t)product << 1;
}

static void
fill_fold_factors(void)
{
    fold_64_bytes[0] = fold_factor(512 + 32);
    fold_64_bytes[1] = fold_factor(512 - 32);
    fold_16_bytes[0] = fold_factor(128 + 32);
    fold_16_bytes[1] = fold_factor(128 - 32);
}

#define FOLD(what, factors, onto) \
    _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128((what), (factors), 0x00), \
                                _mm_clmulepi64_si128((what), (factors), 0x11)), (onto))

__attribute__((target("pclmul,sse2"))) static uint32_t
crc_carryless(uint32_t crc, const byte *at, const byte *end)
{
    const __m128i *from = (const __m128i *)at;
    __m128i far = _mm_loadu_si128((const __m128i *)fold_64_bytes);
    __m128i near = _mm_loadu_si128((const __m128i *)fold_16_bytes);
    __m128i a = _mm_xor_si128(_mm_loadu_si128(from), _mm_cvtsi32_si128((int)crc));
    __m128i b = _mm_loadu_si128(from + 1), c = _mm_loadu_si128(from + 2), d = _mm_loadu_si128(from + 3);
    for (from += 4; end - (const byte *)from >= 64; from += 4) {
        a = FOLD(a, far, _mm_loadu_si128(from));
        b = FOLD(b, far, _mm_loadu_si128(from + 1));
        c = FOLD(c, far, _mm_loadu_si128(from + 2));
        d = FOLD(d, far, _mm_loadu_si128(from + 3));
    }
    b = FOLD(a, near, b);
    c = FOLD(b, near, c);
    d = FOLD(c, near, d);
    byte rest[16];
    _mm_storeu_si128((__m128i *)rest, d);
    return crc_bytewise(crc_bytewise(0, rest, rest + 16), (const byte *)from, end);
}

static int
has_carryless(void)
{
    return __builtin_cpu_supports("pclmul");
}
#else
static int
has_carryless(void)
{
    return 0;
}
#endif

/* ------------------------------------------------------------------------------------------------- the functions */

static int
check_lines(const Py_buffer *data, const Py_buffer *inner_newline)
{
    if (inner_newline->len != 1)
        PyErr_SetString(PyExc_ValueError, "inner_newline is not one byte");
    else if (data->len && ((const byte *)data->buf)[data->len - 1] != '\n')
        PyErr_SetString(PyExc_ValueError, "the last line has no newline");
    else
        return 0;
    return -1;
}

static int
check_part(const Py_buffer *data, Py_ssize_t start, Py_ssize_t stop)
{
    if (start >= 0 && start <= stop && stop <= data->len)
        return 0;
    PyErr_SetString(PyExc_ValueError, "not a part of the data");
    return -1;
}

typedef PyObject *(*LinesFunction)(const byte *at, const byte *end, byte inner_newline);

static PyObject *
with_lines(PyObject *arguments, LinesFunction function)
{
    Py_buffer data, inner_newline;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(arguments, "y*y*", &data, &inner_newline))
        return NULL;
    if (check_lines(&data, &inner_newline) == 0)
        result = function(data.buf, (const byte *)data.buf + data.len, *(const byte *)inner_newline.buf);
    PyBuffer_Release(&data);
    PyBuffer_Release(&inner_newline);
    return result;
}

static PyObject *
render_plain(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return with_lines(arguments, render_plain_lines);
}

static PyObject *
render_certain(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return with_lines(arguments, render_certain_known_levels);
}

static PyObject *
render_certain_of_own_levels(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return with_lines(arguments, render_certain_own_levels);
}

static PyObject *
render_raw(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return with_lines(arguments, render_raw_lines);
}

static PyObject *
escape(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return with_lines(arguments, escape_lines);
}

static PyObject *
find_undecodable(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer data;
    Py_ssize_t start, stop;
    if (!PyArg_ParseTuple(arguments, "y*nn", &data, &start, &stop))
        return NULL;
    if (check_part(&data, start, stop) < 0) {
        PyBuffer_Release(&data);
        return NULL;
    }
    const byte *begin = data.buf;
    Py_ssize_t found = find_not_utf8(begin + start, begin + stop) - begin;
    PyBuffer_Release(&data);
    return PyLong_FromSsize_t(found);
}

/* For fewer bytes than this, keep the GIL: reacquiring it may take much longer than the work. */
#define WORTH_UNLOCKING (64 * 1024)

typedef const byte *(*LineFunction)(const byte *at, const byte *end);

/* Return the end of the run of lines that `skip` accepts, and the number of these lines. */
static PyObject *
run_of(PyObject *arguments, LineFunction skip)
{
    Py_buffer data;
    Py_ssize_t start, stop, lines = 0;
    if (!PyArg_ParseTuple(arguments, "y*nn", &data, &start, &stop))
        return NULL;
    if (check_part(&data, start, stop) < 0) {
        PyBuffer_Release(&data);
        return NULL;
    }
    const byte *at = (const byte *)data.buf + start, *end = (const byte *)data.buf + stop, *next;
    PyThreadState *unlocked = stop - start < WORTH_UNLOCKING ? NULL : PyEval_SaveThread();
    while (at < end && (next = skip(at, end))) {
        at = next;
        lines++;
    }
    if (unlocked)
        PyEval_RestoreThread(unlocked);
    Py_ssize_t found = at - (const byte *)data.buf;
    PyBuffer_Release(&data);
    return Py_BuildValue("nn", found, lines);
}

static PyObject *
canonical_run(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return run_of(arguments, skip_canonical_line);
}

static PyObject *
record_run(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return run_of(arguments, skip_record);
}

/* No state that a scan has left fails this; any other must not make it read beyond a key or a literal. */
static int
check_state(const byte *state, Py_ssize_t size)
{
    int is_known = size == STATE_BYTES && state[MODE] <= IN_EXPONENT && state[DEPTH] <= MOST_NESTED
        && state[MATCHING] <= HAS_MESSAGE
        && (state[DEPTH] || state[MODE] == AT_RECORD || state[MODE] == AT_END)
        && (state[MATCHED] == MATCHES_NOTHING || state[MATCHED] <= strlen(required_keys[state[MATCHING]]));
    if (is_known && (state[MODE] == IN_TRUE || state[MODE] == IN_FALSE || state[MODE] == IN_NULL))
        is_known = state[COUNT] < strlen(literals[state[MODE] - IN_TRUE]);
    if (is_known)
        return 0;
    PyErr_SetString(PyExc_ValueError, "not the state of a scan");
    return -1;
}

static PyObject *
scan_record(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer data, state;
    Py_ssize_t start, stop;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(arguments, "y*nnw*", &data, &start, &stop, &state))
        return NULL;
    if (check_part(&data, start, stop) == 0 && check_state(state.buf, state.len) == 0)
        result = PyBool_FromLong(
            scan_bytes(state.buf, (const byte *)data.buf + start, (const byte *)data.buf + stop));
    PyBuffer_Release(&data);
    PyBuffer_Release(&state);
    return result;
}

static PyObject *
crc32(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer data;
    unsigned int value = 0;
    if (!PyArg_ParseTuple(arguments, "y*|I", &data, &value))
        return NULL;
    uint32_t crc = ~(uint32_t)value;
    const byte *at = data.buf, *end = at + data.len;
#if defined(HAS_CARRYLESS)
    if (data.len >= 64)
        crc = crc_carryless(crc, at, end);
    else
#endif
        crc = crc_bytewise(crc, at, end);
    PyBuffer_Release(&data);
    return PyLong_FromUnsignedLong(~crc & 0xffffffffu);
}

static PyObject *
crc32_joined(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    unsigned int first, second;
    unsigned long long size;
    if (!PyArg_ParseTuple(arguments, "IIK", &first, &second, &size))
        return NULL;
    return PyLong_FromUnsignedLong(crc_multiply(crc_shift(size), first) ^ second);
}

/* ------------------------------------------------------------------------------------------------- fingerprints */

/* BLAKE2b (RFC 7693) without a key and with a digest of 16 bytes. hashlib has it too, but also loads OpenSSL: four
 * megabytes that a client needs for nothing else. */
enum { FINGERPRINT_BYTES = 16, BLAKE_BLOCK = 128, BLAKE_ROUNDS = 12 };

static const uint64_t blake_initial[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

static const byte blake_order[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

static uint64_t
rotated_right(uint64_t value, int bits)
{
    return value >> bits | value << (64 - bits);
}

static void
blake_mix(uint64_t *v, int a, int b, int c, int d, uint64_t x, uint64_t y)
{
    v[a] += v[b] + x;
    v[d] = rotated_right(v[d] ^ v[a], 32);
    v[c] += v[d];
    v[b] = rotated_right(v[b] ^ v[c], 24);
    v[a] += v[b] + y;
    v[d] = rotated_right(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = rotated_right(v[b] ^ v[c], 63);
}

/* Compress a block of BLAKE_BLOCK bytes. `total` counts the hashed bytes, including this block. */
static void
blake_compress(uint64_t *state, const byte *block, uint64_t total, int is_last)
{
    uint64_t v[16], m[16];
    for (int i = 0; i < 16; i++) {
        m[i] = 0;
        for (int at = 7; at >= 0; at--)
            m[i] = m[i] << 8 | block[8 * i + at];
    }
    for (int i = 0; i < 8; i++) {
        v[i] = state[i];
        v[i + 8] = blake_initial[i];
    }
    v[12] ^= total;
    if (is_last)
        v[14] = ~v[14];
    for (int round = 0; round < BLAKE_ROUNDS; round++) {
        const byte *order = blake_order[round % 10];
        for (int i = 0; i < 4; i++)
            blake_mix(v, i, 4 + i, 8 + i, 12 + i, m[order[2 * i]], m[order[2 * i + 1]]);
        for (int i = 0; i < 4; i++)
            blake_mix(v, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, m[order[8 + 2 * i]],
                      m[order[9 + 2 * i]]);
    }
    for (int i = 0; i < 8; i++)
        state[i] ^= v[i] ^ v[i + 8];
}

static PyObject *
fingerprint(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer data;
    if (!PyArg_ParseTuple(arguments, "y*", &data))
        return NULL;
    uint64_t state[8], taken = 0;
    memcpy(state, blake_initial, sizeof state);
    state[0] ^= 0x01010000 ^ FINGERPRINT_BYTES;
    const byte *at = data.buf;
    size_t left = (size_t)data.len;
    for (; left > BLAKE_BLOCK; left -= BLAKE_BLOCK, at += BLAKE_BLOCK)
        blake_compress(state, at, taken += BLAKE_BLOCK, 0);
    byte last[BLAKE_BLOCK] = {0};
    if (left)
        memcpy(last, at, left);
    blake_compress(state, last, taken + left, 1);
    PyBuffer_Release(&data);
    char text[2 * FINGERPRINT_BYTES];
    for (int i = 0; i < FINGERPRINT_BYTES; i++) {
        byte value = (byte)(state[i / 8] >> (8 * (i % 8)));
        text[2 * i] = "0123456789abcdef"[value >> 4];
        text[2 * i + 1] = "0123456789abcdef"[value & 15];
    }
    return PyUnicode_FromStringAndSize(text, sizeof text);
}

/* Let malloc keep up to `size` freed bytes: returning every chunk to the system and requesting it again takes a
 * tenth of a client's time. Does nothing where malloc lacks this setting. */
static PyObject *
keep_freed_memory(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    int size;
    if (!PyArg_ParseTuple(arguments, "i", &size))
        return NULL;
#if defined(__GLIBC__)
    mallopt(M_MMAP_THRESHOLD, size);
    mallopt(M_TRIM_THRESHOLD, size);
#endif
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"render_plain", render_plain, METH_VARARGS,
     "Render lines in the plain format by rules 1: (NDJSON, records, blank lines)."},
    {"render_certain", render_certain, METH_VARARGS,
     "Render what is certain of lines in the plain format: (NDJSON, records, blank lines, other lines, gaps)."},
    {"render_certain_of_own_levels", render_certain_of_own_levels, METH_VARARGS,
     "Do the same where the user has added words that are levels."},
    {"render_raw", render_raw, METH_VARARGS, "Render lines as whole messages: (NDJSON, records, blank lines)."},
    {"escape", escape, METH_VARARGS, "Escape lines for JSON. See escape_characters."},
    {"find_undecodable", find_undecodable, METH_VARARGS,
     "Return the index of the first byte of a part that is not UTF-8; the end of the part if all bytes are."},
    {"canonical_run", canonical_run, METH_VARARGS,
     "Return the end of the run of lines in the form that the plain format writes, and the number of these lines."},
    {"record_run", record_run, METH_VARARGS,
     "Return the end of the run of lines that are objects with level and message, and the number of these lines."},
    {"scan_record", scan_record, METH_VARARGS,
     "Take the next bytes of a record, and change the state of the scan; return whether they are JSON."},
    {"crc32_joined", crc32_joined, METH_VARARGS,
     "Return the CRC-32 of two pieces in a row, given the CRC-32 of each and the size of the second."},
    {"fingerprint", fingerprint, METH_VARARGS, "Return the BLAKE2b hash of 16 bytes, in hexadecimal."},
    {"keep_freed_memory", keep_freed_memory, METH_VARARGS, "Let malloc keep up to this many freed bytes."},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef fast_crc_methods[] = {
    {"crc32", crc32, METH_VARARGS, "Return what zlib.crc32 returns. Missing where zlib is as fast."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "logferry._speedups", "The functions that take most of the time.", 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__speedups(void)
{
    fill_kinds();
    fill_crc_tables();
#if defined(HAS_CARRYLESS)
    fill_fold_factors();
#endif
    PyObject *created = PyModule_Create(&module);
    if (created && PyModule_AddIntConstant(created, "interface", INTERFACE) < 0)
        Py_CLEAR(created);
    if (created && has_carryless() && PyModule_AddFunctions(created, fast_crc_methods) < 0)
        Py_CLEAR(created);
    return created;
}
