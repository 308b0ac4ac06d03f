/* Replaces what the built-in redactions find, as rendering/redaction.py does it.
 *
 * A scanner finds the next piece from `at` on. Beside a byte that is not ASCII, where Python would ask what kind of
 * character that is, a scanner is unsure: then the whole event is left to Python. No piece contains a newline, so the
 * newline at the end of the data ends every search; a scanner looks back no further than `begin`. Each takes time in
 * proportion to the data.
 */
#include "arguments.h"
#include "bytes.h"
#include "output.h"
#include "selection.h"

/* A piece to replace, or a place where a scanner is unsure. */
typedef struct {
    const byte *start;
    const byte *end;
    int is_unsure;
} Piece;

/* Find the next piece; return 0 if there is none. */
typedef int (*Scanner)(const byte *begin, const byte *at, const byte *end, Piece *piece);

static inline int
is_word(byte c)
{
    return IS(c, DIGIT | LETTER) || c == '_';
}

static inline int
is_in_domain(byte c)
{
    return is_word(c) || c == '-';
}

static inline int
is_local(byte c)
{
    return is_word(c) || c == '.' || c == '%' || c == '+' || c == '-';
}

/* Return the end of the domain that begins at `at`, NULL if it has less than two parts. A part may go on with what is
 * not ASCII. */
static const byte *
domain_end(const byte *at, int *is_unsure)
{
    const byte *end = at;
    for (int parts = 0;; parts++) {
        const byte *part = end + (parts > 0);
        const byte *part_end = part;
        while (is_in_domain(*part_end))
            part_end++;
        if (*part_end >= 0x80) {
            *is_unsure = 1;
            return part_end;
        }
        if (part_end == part)
            return parts > 1 ? end : NULL;
        end = part_end;
        if (*end != '.')
            return parts ? end : NULL;
    }
}

static int
find_email(const byte *begin, const byte *at, const byte *end, Piece *piece)
{
    for (const byte *from = at; (from = memchr(from, '@', (size_t)(end - from))); from++) {
        const byte *start = from;
        while (start > begin && is_local(start[-1]))
            start--;
        int is_unsure = start > begin && start[-1] >= 0x80;
        if ((start == from && !is_unsure) || start < at)
            continue;
        const byte *stop = domain_end(from + 1, &is_unsure);
        if (!stop)
            continue;
        *piece = (Piece){start, stop, is_unsure};
        return 1;
    }
    return 0;
}

/* Return the next digit that a point and another digit follow, or `end`. */
static const byte *
find_decimal_point(const byte *at, const byte *end)
{
#if defined(__SSE2__)
    const __m128i zero = _mm_set1_epi8('0'), nine = _mm_set1_epi8(9);
    for (; end - at >= 18; at += 16) {
        __m128i points = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(at + 1)), _mm_set1_epi8('.'));
        if (!_mm_movemask_epi8(points))
            continue;
        __m128i before = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)at), zero);
        __m128i after = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)(at + 2)), zero);
        __m128i digits = _mm_cmpeq_epi8(_mm_min_epu8(_mm_max_epu8(before, after), nine), _mm_max_epu8(before, after));
        unsigned mask = (unsigned)_mm_movemask_epi8(_mm_and_si128(points, digits));
        if (mask)
            return at + __builtin_ctz(mask);
    }
#endif
    for (; end - at > 2; at++)
        if (IS(at[0], DIGIT) && at[1] == '.' && IS(at[2], DIGIT))
            return at;
    return end;
}

/* Return the end of the digits at `at`, and whether they are a number up to 255 without a zero before it. */
static const byte *
number_end(const byte *at, int *is_byte)
{
    const byte *end = at;
    int value = 0;
    for (; IS(*end, DIGIT); end++)
        if (end - at < 3)
            value = value * 10 + *end - '0';
    *is_byte = end > at && end - at <= 3 && value <= 255 && (*at != '0' || end == at + 1);
    return end;
}

static int
find_ipv4(const byte *begin, const byte *at, const byte *end, Piece *piece)
{
    while ((at = find_decimal_point(at, end)) < end) {
        const byte *start = at;
        while (start > begin && IS(start[-1], DIGIT))
            start--;
        int numbers = 0, are_bytes = 1;
        for (at = start;; at++) {
            int is_byte;
            at = number_end(at, &is_byte);
            are_bytes &= is_byte;
            numbers += numbers < 5;
            if (*at != '.' || !IS(at[1], DIGIT))
                break;
        }
        if (numbers == 4 && are_bytes) {
            *piece = (Piece){start, at, 0};
            return 1;
        }
    }
    return 0;
}

#define MIN_CARD_DIGITS 13
#define MAX_CARD_DIGITS 19

static inline int
is_in_card(byte c)
{
    return IS(c, DIGIT) || c == ' ' || c == '-';
}

/* Whether the check digit of the last of these digits is that of the others (ISO/IEC 7812, Luhn). */
static int
is_luhn(const byte *digits, int count)
{
    int sum = 0;
    for (int i = 0; i < count; i++) {
        int doubled = 2 * digits[count - 1 - i];
        sum += i % 2 ? doubled / 10 + doubled % 10 : doubled / 2;
    }
    return sum % 10 == 0;
}

/* Return the end of the card number at `at`, the longest one; NULL if there is none. */
static const byte *
card_end(const byte *begin, const byte *at)
{
    if (*at < '2' || *at > '6' || (at > begin && IS(at[-1], DIGIT)))
        return NULL;
    byte digits[MAX_CARD_DIGITS];
    const byte *ends[MAX_CARD_DIGITS];
    int count = 0;
    while (count < MAX_CARD_DIGITS && IS(*at, DIGIT)) {
        digits[count] = *at - '0';
        ends[count++] = ++at;
        if ((*at == ' ' || *at == '-') && IS(at[1], DIGIT))
            at++;
    }
    for (; count >= MIN_CARD_DIGITS; count--)
        if (!IS(*ends[count - 1], DIGIT) && is_luhn(digits, count))
            return ends[count - 1];
    return NULL;
}

#if defined(__SSE2__)
/* Return 16 bits, one per byte, each set if its byte is a digit; and set those of `*card` for separators, too. */
static inline unsigned
digit_mask(const byte *at, unsigned *card)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)at);
    __m128i values = _mm_sub_epi8(bytes, _mm_set1_epi8('0'));
    __m128i spaces = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(' ')), dashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('-'));
    unsigned digits = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(values, _mm_set1_epi8(9)), values));
    *card = digits | (unsigned)_mm_movemask_epi8(_mm_or_si128(spaces, dashes));
    return digits;
}
#endif

/* Return a place inside of the next run of at least 13 digits and separators, or of a shorter one; `end` if there is
 * none. */
static const byte *
find_card_bytes(const byte *at, const byte *end)
{
#if defined(__SSE2__)
    /* Of such a run, 7 bytes in a row are in one of two blocks. */
    for (; end - at >= 16; at += 16) {
        unsigned mask;
        digit_mask(at, &mask);
        mask &= mask >> 1;
        mask &= mask >> 2;
        mask &= mask >> 3;
        if (mask)
            return at + __builtin_ctz(mask);
    }
#endif
    while (at < end && !is_in_card(*at))
        at++;
    return at;
}

/* Return the end of the run of digits and separators at `at` if it is certain to have less than 13 digits, as dates do;
 * else `at`. */
static const byte *
skip_few_digits(const byte *at, const byte *end)
{
#if defined(__SSE2__)
    if (end - at >= 16) {
        unsigned card, digits = digit_mask(at, &card);
        int size = __builtin_ctz(~card);
        if (size < 16 && __builtin_popcount(digits & ((1u << size) - 1)) < MIN_CARD_DIGITS)
            return at + size;
    }
#endif
    (void)end;
    return at;
}

static int
find_card(const byte *begin, const byte *at, const byte *end, Piece *piece)
{
    for (const byte *from = at; (from = find_card_bytes(from, end)) < end;) {
        while (from > at && is_in_card(from[-1]))
            from--;
        for (from = skip_few_digits(from, end); is_in_card(*from); from++) {
            const byte *stop = card_end(begin, from);
            if (stop) {
                *piece = (Piece){from, stop, 0};
                return 1;
            }
        }
    }
    return 0;
}

/* Return the next `bea` in any case, or `end`. */
static const byte *
find_bea(const byte *at, const byte *end)
{
#if defined(__SSE2__)
    const __m128i small = _mm_set1_epi8(0x20);
    for (; end - at >= 18; at += 16) {
        __m128i first = _mm_or_si128(_mm_loadu_si128((const __m128i *)at), small);
        __m128i second = _mm_or_si128(_mm_loadu_si128((const __m128i *)(at + 1)), small);
        __m128i third = _mm_or_si128(_mm_loadu_si128((const __m128i *)(at + 2)), small);
        __m128i found = _mm_and_si128(_mm_cmpeq_epi8(first, _mm_set1_epi8('b')),
                                      _mm_cmpeq_epi8(second, _mm_set1_epi8('e')));
        found = _mm_and_si128(found, _mm_cmpeq_epi8(third, _mm_set1_epi8('a')));
        unsigned mask = (unsigned)_mm_movemask_epi8(found);
        if (mask)
            return at + __builtin_ctz(mask);
    }
#endif
    for (; end - at > 2; at++)
        if ((at[0] | 0x20) == 'b' && (at[1] | 0x20) == 'e' && (at[2] | 0x20) == 'a')
            return at;
    return end;
}

static inline int
is_in_token(byte c)
{
    return IS(c, DIGIT | LETTER) || (c && strchr("._~+/-", c));
}

static int
find_bearer(const byte *begin, const byte *at, const byte *end, Piece *piece)
{
    for (; (at = find_bea(at, end)) < end; at += 3) {
        if (end - at < 8 || (at[3] | 0x20) != 'r' || (at[4] | 0x20) != 'e' || (at[5] | 0x20) != 'r')
            continue;
        if (at > begin && is_word(at[-1]))
            continue;
        const byte *token = at + 6;
        while (*token == ' ' || *token == '\t')
            token++;
        const byte *stop = token;
        while (is_in_token(*stop))
            stop++;
        int is_unsure = (at > begin && at[-1] >= 0x80) || *stop >= 0x80;
        if (token == at + 6 || (stop == token && !is_unsure))
            continue;
        while (*stop == '=')
            stop++;
        *piece = (Piece){at, stop, is_unsure};
        return 1;
    }
    return 0;
}

static const struct {
    const char *name;
    Scanner find;
} scanners[] = {{"email", find_email}, {"ipv4", find_ipv4}, {"card", find_card}, {"bearer", find_bearer}};

static Scanner
scanner_named(const char *name)
{
    for (size_t i = 0; i < sizeof(scanners) / sizeof(*scanners); i++)
        if (!strcmp(scanners[i].name, name))
            return scanners[i].find;
    PyErr_Format(PyExc_ValueError, "no redaction is called %s", name);
    return NULL;
}

/* What was written: `copied` is the end of the input that is in the output. The event that begins at `event` of the
 * input begins at `event_offset` of the output, and had `count_before` pieces before it. */
typedef struct {
    Output output;
    const byte *copied;
    const byte *event;
    Py_ssize_t event_offset;
    Py_ssize_t count;
    Py_ssize_t count_before;
    PyObject *unsure;
} Redacted;

static Py_ssize_t
offset_of(const Redacted *redacted)
{
    return redacted->output.at - (byte *)PyBytes_AS_STRING(redacted->output.object);
}

/* Copy the input up to `stop`. */
static int
copy_to(Redacted *redacted, const byte *stop)
{
    Py_ssize_t size = stop - redacted->copied;
    if (output_reserve(&redacted->output, size) < 0)
        return -1;
    memcpy(redacted->output.at, redacted->copied, (size_t)size);
    redacted->output.at += size;
    redacted->copied = stop;
    return 0;
}

/* Return the beginning of the line that `place` is in, but not less than `from`. */
static const byte *
line_start(const byte *from, const byte *place)
{
#if defined(__GLIBC__)
    const byte *newline = memrchr(from, '\n', (size_t)(place - from));
    return newline ? newline + 1 : from;
#else
    while (place > from && place[-1] != '\n')
        place--;
    return place;
#endif
}

/* Copy the input up to the event that `place` is in, if it is another one than before. */
static int
begin_event(Redacted *redacted, const byte *place)
{
    const byte *event = line_start(redacted->copied, place);
    if (event == redacted->copied && event > redacted->event && event[-1] != '\n')
        return 0;
    if (copy_to(redacted, event) < 0)
        return -1;
    redacted->event = event;
    redacted->event_offset = offset_of(redacted);
    redacted->count_before = redacted->count;
    return 0;
}

/* Put the mark in the place of a piece. */
static int
replace_piece(Redacted *redacted, const Piece *piece)
{
    if (copy_to(redacted, piece->start) < 0 || output_reserve(&redacted->output, 16) < 0)
        return -1;
    redacted->output.at = PUT(redacted->output.at, "[redacted]");
    redacted->copied = piece->end;
    redacted->count++;
    return 0;
}

/* Undo what was done to the event, copy it as it is, and note where it is. */
static int
leave_event(Redacted *redacted, const byte *newline)
{
    redacted->output.at = (byte *)PyBytes_AS_STRING(redacted->output.object) + redacted->event_offset;
    redacted->copied = redacted->event;
    redacted->count = redacted->count_before;
    if (copy_to(redacted, newline) < 0)
        return -1;
    PyObject *place = Py_BuildValue("nn", redacted->event_offset, offset_of(redacted));
    int failed = !place || PyList_Append(redacted->unsure, place) < 0;
    Py_XDECREF(place);
    return failed ? -1 : 0;
}

/* Replace the pieces that a scanner finds in the data. The first one is known. */
static PyObject *
redact_pieces(const byte *begin, const byte *end, Scanner find, Piece piece)
{
    Redacted redacted = {{NULL, NULL, NULL}, begin, begin, 0, 0, 0, PyList_New(0)};
    if (!redacted.unsure)
        return NULL;
    if (output_open(&redacted.output, end - begin) < 0)
        goto failed;
    const byte *at;
    do {
        if (begin_event(&redacted, piece.start) < 0)
            goto failed;
        at = piece.end;
        if (piece.is_unsure) {
            at = memchr(at, '\n', (size_t)(end - at));
            if (leave_event(&redacted, at) < 0)
                goto failed;
        }
        else if (replace_piece(&redacted, &piece) < 0)
            goto failed;
    } while (find(begin, at, end, &piece));
    if (copy_to(&redacted, end) < 0)
        goto failed;
    PyObject *result = output_close(&redacted.output);
    if (result)
        return Py_BuildValue("NnN", result, redacted.count, redacted.unsure);
failed:
    Py_XDECREF(redacted.output.object);
    Py_DECREF(redacted.unsure);
    return NULL;
}

PyObject *
redact(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *data;
    const char *name;
    if (!PyArg_ParseTuple(arguments, "Ss", &data, &name))
        return NULL;
    const byte *begin = (const byte *)PyBytes_AS_STRING(data), *end = begin + PyBytes_GET_SIZE(data);
    Scanner find = scanner_named(name);
    Piece piece;
    if (!find || check_whole_lines(begin, end - begin) < 0)
        return NULL;
    if (begin < end && find(begin, begin, end, &piece))
        return redact_pieces(begin, end, find, piece);
    return Py_BuildValue("On[]", data, (Py_ssize_t)0);
}
