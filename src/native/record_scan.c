/* Validates a record a piece at a time: it may be longer than what is in memory. */
#include "arguments.h"
#include "json_text.h"
#include "validation.h"

/* The state of a scan that may stop after any byte: the layout of protocol/lines/long_lines.py, whose `scan_record` is the
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

PyObject *
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
