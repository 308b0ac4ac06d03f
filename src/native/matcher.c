/* Runs programs of patterns: see matcher.h.
 *
 * The meaning is that of Python's `re`, including what it marks: a mark counts unless it was made after a way back that
 * was taken. No instruction takes a newline, so the place is never behind that of the line.
 */
#include "matcher.h"

/* A way back: where to go on, and what the state was. */
typedef struct {
    uint32_t place;
    uint32_t at;
    uint32_t more;
    int16_t last_mark;
    uint16_t barrier;
} Way;

/* How often a match of a short line may go back or repeat, and how many bytes of a line allow for once more. */
enum { TURNS = 4000, BYTES_A_TURN = 4 };

static inline int
has_shape(const Shape *shape, const byte *at)
{
#if defined(__SSE2__)
    __m128i bytes = _mm_loadu_si128((const __m128i *)at);
    bytes = _mm_or_si128(bytes, _mm_loadu_si128((const __m128i *)shape->masks));
    __m128i above = _mm_cmpeq_epi8(_mm_max_epu8(bytes, _mm_loadu_si128((const __m128i *)shape->lowest)), bytes);
    __m128i below = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_loadu_si128((const __m128i *)shape->highest)), bytes);
    unsigned found = (unsigned)_mm_movemask_epi8(_mm_and_si128(above, below));
    return (found & shape->wanted) == shape->wanted;
#else
    for (int i = 0; i < 16 && shape->wanted >> i; i++) {
        byte c = at[i] | shape->masks[i];
        if (c < shape->lowest[i] || c > shape->highest[i])
            return 0;
    }
    return 1;
#endif
}

#if defined(__SSE2__)
/* Return how far each byte is beyond a range of a set: 0 if it is within. */
static inline __m128i
beyond_range(const ByteSet *set, int range, __m128i bytes)
{
    __m128i above = _mm_sub_epi8(bytes, _mm_loadu_si128((const __m128i *)set->lowest[range]));
    return _mm_subs_epu8(above, _mm_loadu_si128((const __m128i *)set->widths[range]));
}
#endif

/* Return the end of the run of bytes of a set, which the newline is not in. */
static inline const byte *
run_end(const ByteSet *set, const byte *at)
{
#if defined(__SSE2__)
    if (set->ranges) {
        const __m128i none = _mm_setzero_si128();
        for (;; at += 16) {
            __m128i bytes = _mm_loadu_si128((const __m128i *)at), found = beyond_range(set, 0, bytes);
            if (set->ranges > 1)
                found = _mm_min_epu8(found, beyond_range(set, 1, bytes));
            if (set->ranges > 2)
                found = _mm_min_epu8(found, beyond_range(set, 2, bytes));
            unsigned outside = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(found, none)) ^ set->inside;
            if (outside)
                return at + __builtin_ctz(outside);
        }
    }
#endif
    while (set->has[*at])
        at++;
    return at;
}

/* Set a mark, and return the last one that counts now: `last`, which is that so far, should stay in a register. */
static inline int
put_mark(Marks *marks, int last, int slot, Py_ssize_t at)
{
    if (last < slot) {
        for (last++; last < slot; last++)
            marks->at[last] = NOWHERE;
    }
    marks->at[slot] = (uint32_t)at;
    return last;
}

#define PUSH(to, extra) \
    do { \
        if (top == MOST_WAYS) \
            return UNDECIDED; \
        ways[top].place = (uint32_t)(to); \
        ways[top].at = (uint32_t)(at - line); \
        ways[top].more = (uint32_t)(extra); \
        ways[top].last_mark = (int16_t)last; \
        ways[top].barrier = barrier; \
        top++; \
    } while (0)

/* Forget the ways since the last barrier, and the barrier. A program without one is not from the translator. */
#define CUT_WAYS() \
    do { \
        if (!barrier) \
            return UNDECIDED; \
        top = barrier; \
        barrier = ways[top].barrier; \
    } while (0)

/* Each instruction ends with a jump of its own to the next one, where the compiler allows that: the CPU then learns what
 * follows what. */
#if defined(__GNUC__)
#define ON(instruction) on_##instruction
#define NEXT goto *places[*next]
#define FIRST NEXT;
#define PLACE(instruction) [instruction] = &&on_##instruction
#else
#define ON(instruction) case instruction
#define NEXT continue
#define FIRST switch ((Instruction)*next)
#endif

int
match_line(const Pattern *pattern, const byte *line, const byte *newline, Marks *marks)
{
    const uint32_t *code = pattern->code, *next = code + BEGINNING;
    const byte *at = line;
    Way ways[MOST_WAYS];
    uint16_t top = 1, barrier = 0;
    uint32_t more = 0, count = 0;
    Py_ssize_t turns = TURNS + (newline - line) / BYTES_A_TURN;
#if defined(__GNUC__)
    static const void *const places[INSTRUCTIONS] = {
        PLACE(FAIL), PLACE(CHAR), PLACE(SET), PLACE(SHAPE), PLACE(RUN), PLACE(REST), PLACE(GREEDY), PLACE(GIVE_BACK),
        PLACE(LAZY), PLACE(TAKE_MORE), PLACE(CHOOSE), PLACE(CHOOSE_NEXT), PLACE(TRY), PLACE(TRY_IF), PLACE(CUT),
        PLACE(CUT_AND_GO), PLACE(COUNT), PLACE(TRY_COUNTED), PLACE(CUT_COUNTED), PLACE(CUT_LOOK), PLACE(CUT_FAIL),
        PLACE(PEEK), PLACE(PEEK_SHAPE), PLACE(PEEK_NOT), PLACE(BEHIND), PLACE(NOT_BEHIND), PLACE(MARK), PLACE(MARK_RUN),
        PLACE(MARK_REST), PLACE(IF_MARKED), PLACE(GO), PLACE(MATCHED),
    };
#endif
    int last = -1;
    for (;;) {
        FIRST {
        ON(CHAR):
            if (*at != next[1])
                goto fail;
            at++;
            next += 2;
            NEXT;
        ON(SET):
            if (!pattern->sets[next[1]].has[*at])
                goto fail;
            at++;
            next += 2;
            NEXT;
        ON(SHAPE):
            if (!has_shape(pattern->shapes + next[1], at))
                goto fail;
            at += next[2];
            next += 3;
            NEXT;
        ON(RUN): {
            const byte *end = run_end(pattern->sets + next[1], at);
            if (end - at < next[2])
                goto fail;
            turns -= (end - at) / 64;
            at = end - at > next[3] ? at + next[3] : end;
            next += 4;
            NEXT;
        }
        ON(REST):
            at = newline;
            next += 1;
            NEXT;
        ON(GREEDY): {
            const byte *end = run_end(pattern->sets + next[1], at);
            if (end - at < next[2])
                goto fail;
            turns -= (end - at) / 64;
            if (end - at > next[3])
                end = at + next[3];
            uint32_t least = (uint32_t)(at - line) + next[2];
            at = end;
            if (at - line > least)
                PUSH(next + 4 - code, least);
            next += 5;
            NEXT;
        }
        ON(GIVE_BACK): {
            uint32_t least = more;
            at--;
            if (at - line > least)
                PUSH(next - code, least);
            next += 1;
            NEXT;
        }
        ON(LAZY):
            PUSH(next + 2 - code, 0);
            next += 4;
            NEXT;
        ON(TAKE_MORE):
            if (!pattern->sets[next[1]].has[*at])
                goto fail;
            at++;
            PUSH(next - code, 0);
            next += 2;
            NEXT;
        ON(CHOOSE):
            more = pattern->tables[next[1]][*at];
            /* fall through */
        ON(CHOOSE_NEXT): {
            const uint32_t *list = pattern->lists + more;
            if (!list[0])
                goto fail;
            if (list[1])
                PUSH(NEXT_CHOICE, more + 1);
            next = code + list[0];
            NEXT;
        }
        ON(TRY_IF):
            if (!pattern->sets[next[1]].has[*at]) {
                next = code + next[2];
                NEXT;
            }
            PUSH(next[2], 0);
            barrier = (uint16_t)(top - 1);
            next += 3;
            NEXT;
        ON(TRY):
            PUSH(next[1], 0);
            barrier = (uint16_t)(top - 1);
            next += 2;
            NEXT;
        ON(CUT):
            CUT_WAYS();
            next += 1;
            NEXT;
        ON(CUT_AND_GO):
            CUT_WAYS();
            if (--turns < 0)
                return UNDECIDED;
            next = code + next[1];
            NEXT;
        ON(COUNT):
            count = 0;
            next += 1;
            NEXT;
        ON(TRY_COUNTED):
            if (count == next[2] || !pattern->sets[next[1]].has[*at]) {
                next = code + next[3];
                NEXT;
            }
            PUSH(next[3], 0);
            barrier = (uint16_t)(top - 1);
            next += 4;
            NEXT;
        ON(CUT_COUNTED):
            CUT_WAYS();
            turns--;
            count++;
            next = code + next[1];
            NEXT;
        ON(CUT_LOOK):
            CUT_WAYS();
            at = line + ways[top].at;
            next += 1;
            NEXT;
        ON(CUT_FAIL):
            CUT_WAYS();
            goto fail;
        ON(PEEK):
            if (!pattern->sets[next[1]].has[*at])
                goto fail;
            next += 2;
            NEXT;
        ON(PEEK_SHAPE):
            if (!has_shape(pattern->shapes + next[1], at))
                goto fail;
            next += 2;
            NEXT;
        ON(PEEK_NOT):
            if (has_shape(pattern->shapes + next[1], at))
                goto fail;
            next += 2;
            NEXT;
        ON(BEHIND):
            if (at - line < next[1] || !pattern->sets[next[2]].has[*(at - next[1])])
                goto fail;
            next += 3;
            NEXT;
        ON(NOT_BEHIND):
            if (at > line && pattern->sets[next[1]].has[at[-1]])
                goto fail;
            next += 2;
            NEXT;
        ON(MARK):
            last = put_mark(marks, last, (int)next[1], at - line);
            next += 2;
            NEXT;
        ON(MARK_RUN): {
            const byte *end = run_end(pattern->sets + next[2], at);
            if (end - at < next[3])
                goto fail;
            turns -= (end - at) / 64;
            last = put_mark(marks, last, (int)next[1], at - line);
            at = end - at > next[4] ? at + next[4] : end;
            last = put_mark(marks, last, (int)next[1] + 1, at - line);
            next += 5;
            NEXT;
        }
        ON(MARK_REST):
            last = put_mark(marks, last, (int)next[1], at - line);
            at = newline;
            last = put_mark(marks, last, (int)next[1] + 1, at - line);
            next += 2;
            NEXT;
        ON(IF_MARKED):
            marks->last = last;
            next = has_matched(marks, (int)next[1]) ? next + 3 : code + next[2];
            NEXT;
        ON(GO):
            next = code + next[1];
            NEXT;
        ON(MATCHED):
            if (at == newline) {
                marks->last = last;
                return (int)next[1];
            }
            /* fall through */
        ON(FAIL):
            goto fail;
        }
    fail:
        if (top == 1)
            return NO_KIND;
        if (--turns < 0)
            return UNDECIDED;
        top--;
        next = code + ways[top].place;
        at = line + ways[top].at;
        more = ways[top].more;
        last = ways[top].last_mark;
        barrier = ways[top].barrier;
    }
}
