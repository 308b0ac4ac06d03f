/* Puts the records of usual lines of access logs (rendering/formats/access/combined.py), in the common and the combined
 * format: those in whose fields nothing must be escaped. */
#include "line_program.h"

/* Where the parts of a line begin and end. */
typedef struct {
    const byte *address_end;
    const byte *user, *user_end;
    const byte *time, *time_end;
    const byte *request, *method_end, *path_end, *request_end;
    const byte *status;
    const byte *size, *size_end;
    const byte *referer, *referer_end; /* NULL: neither this nor a user agent */
    const byte *agent, *agent_end;
    const byte *end;  /* of all these */
    const byte *rest; /* NULL: the line has no more */
} Access;

/* What a record has beyond its fields, all keys counted. */
enum { ACCESS_BYTES = 320 };

/* Return the end of a word that a space follows; NULL if it is empty, or has what must be escaped. */
static inline const byte *
skip_word(const byte *at, const byte *end)
{
    const byte *space = find_special_or(' ', at, end);
    return space > at && *space == ' ' ? space : NULL;
}

/* Read `GET /a?b HTTP/1.1"`; return its end, or NULL. A request without these three parts is not usual. */
static inline const byte *
read_request(const byte *at, const byte *end, Access *found)
{
    found->request = at;
    while (IS(*at, CAPITAL))
        at++;
    found->method_end = at;
    if (at == found->request || *at != ' ' || !(at = skip_word(at + 1, end)))
        return NULL;
    found->path_end = at;
    if (end - at < 8 || memcmp(at, " HTTP/", 6))
        return NULL;
    const byte *version = at += 6;
    while (IS(*at, DIGIT) || *at == '.')
        at++;
    found->request_end = at;
    return at > version && *at == '"' ? at : NULL;
}

/* Read `200 2326`: a status that begins with a digit other than 0, and a number as JSON writes it, or a dash. */
static inline const byte *
read_numbers(const byte *at, const byte *end, Access *found)
{
    if (end - at < 6)
        return NULL;
    found->status = at;
    if (!IS(at[0], DIGIT) || at[0] == '0' || !IS(at[1], DIGIT) || !IS(at[2], DIGIT) || at[3] != ' ')
        return NULL;
    found->size = at += 4;
    if (*at == '0' || *at == '-')
        return found->size_end = at + 1;
    while (IS(*at, DIGIT))
        at++;
    return at > found->size && at - found->size <= 18 ? (found->size_end = at) : NULL;
}

/* Read what may follow the numbers, up to the newline or the rest; return 0 if that is not certain. */
static inline int
read_agents(const byte *at, const byte *end, Access *found)
{
    found->referer = found->referer_end = found->agent = found->agent_end = found->rest = NULL;
    if (at[0] == ' ' && at[1] == '"') {
        found->referer = at + 2;
        found->referer_end = at = find_special(at + 2, end);
        if (end - at < 4 || memcmp(at, "\" \"", 3))
            return 0;
        found->agent = at + 3;
        found->agent_end = at = find_special(at + 3, end);
        if (*at++ != '"')
            return 0;
    }
    if (*at == ' ' && at[1] != '\n')
        found->rest = at + 1;
    found->end = at;
    return found->rest || *at == '\n';
}

/* Read a line; return 0 if it is not a usual one. */
static inline int
read_access(const byte *line, const byte *end, Access *found)
{
    const byte *at = found->address_end = skip_word(line, end);
    if (!at || end - at < 4 || memcmp(at, " - ", 3))
        return 0;
    found->user = at + 3;
    found->user_end = at = skip_word(at + 3, end);
    if (!at || at[1] != '[')
        return 0;
    found->time = at + 2;
    found->time_end = at = find_special_or(']', at + 2, end);
    if (at == found->time || end - at < 3 || memcmp(at, "] \"", 3))
        return 0;
    at = read_request(at + 3, end, found);
    if (!at || at[1] != ' ' || !(at = read_numbers(at + 2, end, found)))
        return 0;
    return read_agents(at, end, found);
}

/* Put the level of a status, and all before the message. */
static inline byte *
put_level_of_status(byte *out, byte first_digit)
{
    if (first_digit == '5')
        return PUT(out, "{\"level\": \"ERROR\", \"message\": \"");
    if (first_digit == '4')
        return PUT(out, "{\"level\": \"WARNING\", \"message\": \"");
    return PUT(out, "{\"level\": \"INFO\", \"message\": \"");
}

/* Put the fields up to the rest, in at most ACCESS_BYTES and twice the line. */
static inline byte *
put_fields(byte *out, const byte *line, const Access *found)
{
    out = put_level_of_status(out, *found->status);
    out = copy_part(out, found->request, found->request_end);
    out = PUT(out, "\", \"timestamp\": \"");
    out = copy_part(out, found->time, found->time_end);
    out = PUT(out, "\", \"remote_addr\": ");
    out = put_text_or_null(out, line, found->address_end);
    out = PUT(out, ", \"user\": ");
    out = put_text_or_null(out, found->user, found->user_end);
    out = PUT(out, ", \"method\": \"");
    out = copy_part(out, found->request, found->method_end);
    out = PUT(out, "\", \"path\": \"");
    out = copy_part(out, found->method_end + 1, found->path_end);
    out = PUT(out, "\", \"protocol\": \"");
    out = copy_part(out, found->path_end + 1, found->request_end);
    out = PUT(out, "\", \"status\": ");
    memcpy(out, found->status, 3);
    out = PUT(out + 3, ", \"bytes\": ");
    out = *found->size == '-' ? PUT(out, "null") : copy_part(out, found->size, found->size_end);
    if (!found->referer)
        return PUT(out, ", \"referer\": null, \"user_agent\": null");
    out = PUT(out, ", \"referer\": ");
    out = put_text_or_null(out, found->referer, found->referer_end);
    out = PUT(out, ", \"user_agent\": ");
    return put_text_or_null(out, found->agent, found->agent_end);
}

/* See PutUsual. Holds nothing; reads READ_BEYOND bytes behind the line, so the last lines of a chunk are left. */
static RecordResult
put_access(const byte *line, const byte *end, byte inner_newline, Output *output, const byte **next)
{
    Access found;
    if (!read_access(line, end, &found))
        return RECORD_LEFT;
    const byte *newline = found.rest ? memchr(found.rest, '\n', (size_t)(end - found.rest)) : found.end;
    if (end - newline <= READ_BEYOND)
        return RECORD_LEFT;
    Py_ssize_t rest = found.rest ? MOST_PER_BYTE * (newline - found.rest) : 0;
    if (output_reserve(output, ACCESS_BYTES + 2 * (found.end - line) + rest + SLACK) < 0)
        return RECORD_FAILED;
    byte *out = put_fields(output->at, line, &found);
    if (found.rest) {
        out = PUT(out, ", \"rest\": \"");
        out = escape_line(out, &found.rest, end, inner_newline);
        *out++ = '"';
    }
    output->at = PUT(out, "}\n");
    *next = newline + 1;
    return RECORD_PUT;
}

PyObject *
render_access(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return render_with_program(arguments, put_access);
}
