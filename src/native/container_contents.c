/* Takes what containers wrote out of the lines of their runtimes, as far as that is certain; the others are left. */
#include "arguments.h"
#include "bytes.h"
#include "containers.h"
#include "json_text.h"
#include "output.h"
#include "plain.h"
#include "times.h"

/* What a line of a runtime consists of. */
typedef struct {
    const byte *time, *time_end;
    byte stream;
} RuntimeLine;

/* Write the content of a line, without its newline, to `*out`, which has room for the line; return 0 if the line or its
 * content is unusual, blank, or would be another line if it was alone. */
typedef int (*TakeContent)(const byte *line, const byte *newline, RuntimeLine *found, byte **out);

static inline const byte *
skip_stream(const byte *at, const byte *end, byte *stream)
{
    const byte *after = SKIP(at, end, "stdout");
    if (!after)
        after = SKIP(at, end, "stderr");
    if (after)
        *stream = after[-1] == 't' ? 'o' : 'e';
    return after;
}

static inline int
is_blank_part(const byte *at, const byte *end)
{
    while (at < end && IS(*at, BLANK))
        at++;
    return at == end;
}

static int
take_cri(const byte *line, const byte *newline, RuntimeLine *found, byte **out)
{
    found->time = line;
    const byte *at = found->time_end = skip_rfc_3339(line, newline + 1);
    if (!at || *at++ != ' ' || !(at = skip_stream(at, newline, &found->stream)) || !(at = SKIP(at, newline, " F ")))
        return 0;
    size_t size = (size_t)(newline - at);
    if (is_blank_part(at, newline) || memchr(at, '\r', size))
        return 0;
    memcpy(*out, at, size);
    *out += size;
    return 1;
}

static inline int
hexadecimal(const byte *at)
{
    int value = 0;
    for (int i = 0; i < 4; i++, at++) {
        int letter = *at | 0x20;
        if (!IS(*at, DIGIT) && !(letter >= 'a' && letter <= 'f'))
            return -1;
        value = value * 16 + (IS(*at, DIGIT) ? *at - '0' : letter - 'a' + 10);
    }
    return value;
}

static inline byte *
put_character(byte *out, int code)
{
    if (code < 0x80)
        *out++ = (byte)code;
    else if (code < 0x800) {
        *out++ = (byte)(0xc0 | code >> 6);
        *out++ = (byte)(0x80 | (code & 0x3f));
    }
    else {
        *out++ = (byte)(0xe0 | code >> 12);
        *out++ = (byte)(0x80 | (code >> 6 & 0x3f));
        *out++ = (byte)(0x80 | (code & 0x3f));
    }
    return out;
}

/* Write the character of the escape at `*from`, after its backslash; return NULL if it is unusual. */
static inline byte *
put_unescaped(byte *out, const byte **from, const byte *newline)
{
    const byte *at = *from;
    int code;
    *from = at + 1;
    switch (*at) {
    case '"':
    case '\\':
    case '/':
        *out++ = *at;
        return out;
    case 't':
        *out++ = '\t';
        return out;
    case 'u':
        if (newline - at < 5)
            return NULL;
        code = hexadecimal(at + 1);
        if ((code < 0x20 && code != 0x1b && code != '\t') || (code >= 0xd800 && code < 0xe000))
            return NULL;
        *from = at + 5;
        return put_character(out, code);
    default:
        return NULL;
    }
}

/* Copy up to the next backslash, and return the position after it; NULL if another byte that JSON escapes comes first. What
 * is written is never longer than what was read of all lines, so there is room for 16 bytes wherever 16 can be read. */
static inline const byte *
copy_unescaped(byte **to, const byte *at, const byte *newline)
{
    byte *out = *to;
#if defined(__SSE2__)
    for (; newline - at >= 16; at += 16, out += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)at);
        unsigned mask = special_mask(bytes);
        _mm_storeu_si128((__m128i *)out, bytes);
        if (mask) {
            at += __builtin_ctz(mask);
            *to = out + __builtin_ctz(mask);
            return *at == '\\' ? at + 1 : NULL;
        }
    }
#endif
    while (at < newline && !is_special(*at))
        *out++ = *at++;
    *to = out;
    return at < newline && *at == '\\' ? at + 1 : NULL;
}

static int
take_docker(const byte *line, const byte *newline, RuntimeLine *found, byte **to)
{
    const byte *at = SKIP(line, newline, "{\"log\":\"");
    byte *out = *to;
    if (!at)
        return 0;
    for (;;) {
        if (!(at = copy_unescaped(&out, at, newline)))
            return 0;
        if (*at == '"') {
            *out++ = *at++;
            continue;
        }
        const byte *end = SKIP(at, newline, "r\\n\"");
        if (!end)
            end = SKIP(at, newline, "n\"");
        if (end) {
            at = end;
            break;
        }
        if (!(out = put_unescaped(out, &at, newline)))
            return 0;
    }
    if (!(at = SKIP(at, newline, ",\"stream\":\"")) || !(at = skip_stream(at, newline, &found->stream)) ||
        !(at = SKIP(at, newline, "\",\"time\":\"")))
        return 0;
    found->time = at;
    while (IS(*at, DIGIT) || *at == 'T' || *at == 'Z' || *at == ':' || *at == '.' || *at == '+' || *at == '-')
        at++;
    found->time_end = at;
    if (at == found->time || SKIP(at, newline, "\"}") != newline || is_blank_part(*to, out))
        return 0;
    *to = out;
    return 1;
}

static inline int
is_blank_line(const byte *at, byte inner_newline)
{
    while (IS(*at, BLANK) || (*at == inner_newline && *at != '\n'))
        at++;
    return *at == '\n';
}

/* Take the contents out of lines: each mark is shorter than what its line has around its content. */
static PyObject *
take_contents(const byte *at, const byte *end, byte inner_newline, TakeContent take)
{
    Py_ssize_t blank = 0;
    Output contents = {0}, marks = {0}, others = {0};
    if (output_open(&contents, end - at) < 0 || output_open(&marks, end - at) < 0 || output_open(&others, 0) < 0)
        goto failed;
    for (const byte *newline; at < end; at = newline + 1) {
        RuntimeLine found;
        newline = memchr(at, '\n', (size_t)(end - at));
        if (take(at, newline, &found, &contents.at)) {
            *contents.at++ = '\n';
            *marks.at++ = found.stream;
            memcpy(marks.at, found.time, (size_t)(found.time_end - found.time));
            marks.at += found.time_end - found.time;
        }
        else if (is_blank_line(at, inner_newline)) {
            blank++;
            continue;
        }
        else {
            if (output_reserve(&others, newline + 1 - at) < 0)
                goto failed;
            memcpy(others.at, at, (size_t)(newline + 1 - at));
            others.at += newline + 1 - at;
        }
        *marks.at++ = '\n';
    }
    PyObject *texts = output_close(&contents), *added = output_close(&marks), *left = output_close(&others);
    if (texts && added && left)
        return Py_BuildValue("NNNn", texts, added, left, blank);
    contents.object = texts, marks.object = added, others.object = left;
failed:
    Py_XDECREF(contents.object);
    Py_XDECREF(marks.object);
    Py_XDECREF(others.object);
    return NULL;
}

static PyObject *
take_cri_contents(const byte *at, const byte *end, byte inner_newline)
{
    return take_contents(at, end, inner_newline, take_cri);
}

static PyObject *
take_docker_contents(const byte *at, const byte *end, byte inner_newline)
{
    return take_contents(at, end, inner_newline, take_docker);
}

PyObject *
cri_contents(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return with_lines(arguments, take_cri_contents);
}

PyObject *
docker_contents(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return with_lines(arguments, take_docker_contents);
}

/* Whether no line may be a part other than the last: PartSyntax in rendering/partial_lines.py. */
typedef int (*HasNoParts)(const byte *at, const byte *end);

static int
cri_lines_are_whole(const byte *at, const byte *end)
{
    return !OCCURS(at, end, "stdout P") && !OCCURS(at, end, "stderr P");
}

static int
docker_lines_are_whole(const byte *at, const byte *end)
{
    static const char behind[] = "\",\"stream\":\"";
    for (const byte *begin = at; (at = place_of_text(at, end, behind, sizeof behind - 1)); at++)
        if (at - begin < 2 || at[-1] != 'n' || at[-2] != '\\' || (at - begin > 2 && at[-3] == '\\'))
            return 0;
    return 1;
}

static PyObject *
are_whole(PyObject *arguments, HasNoParts has_no_parts)
{
    Py_buffer data;
    if (!PyArg_ParseTuple(arguments, "y*", &data))
        return NULL;
    int found = has_no_parts(data.buf, (const byte *)data.buf + data.len);
    PyBuffer_Release(&data);
    return PyBool_FromLong(found);
}

PyObject *
cri_are_whole(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return are_whole(arguments, cri_lines_are_whole);
}

PyObject *
docker_are_whole(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return are_whole(arguments, docker_lines_are_whole);
}
