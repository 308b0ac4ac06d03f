/* Puts the records of usual lines of syslog daemons (rendering/formats/text/syslog.py): those without a priority. */
#include "levels.h"
#include "line_program.h"
#include "times.h"

typedef struct {
    const byte *time_end;
    const byte *host, *host_end;
    const byte *app, *app_end; /* NULL: there is no tag */
    const byte *pid, *pid_end; /* NULL: the tag has no process id */
    const byte *message;
} SyslogLine;

/* What a record has beyond its fields, all keys counted. */
enum { SYSLOG_BYTES = 160 };

/* Read `sshd[4711]: `, if that is there, and set where the message begins. */
static inline void
read_tag(const byte *at, SyslogLine *found)
{
    const byte *end = at;
    found->app = found->app_end = found->pid = found->pid_end = NULL;
    found->message = at;
    while (IS(*end, TAG))
        end++;
    if (end == at)
        return;
    found->app_end = end;
    if (*end == '[') {
        found->pid = ++end;
        while (IS(*end, TAG) || *end == ':')
            end++;
        if (end == found->pid || *end != ']')
            return;
        found->pid_end = end++;
    }
    if (*end++ != ':' || (*end != ' ' && *end != '\n'))
        return;
    found->app = at;
    found->message = end + (*end == ' ');
}

/* Read a line; return 0 if it is not a usual one. */
static inline int
read_syslog(const byte *line, const byte *end, SyslogLine *found)
{
    const byte *at = skip_rfc_3164(line, end);
    if (!at && !(at = skip_rfc_3339(line, end)))
        return 0;
    if (*at != ' ')
        return 0;
    found->time_end = at;
    found->host = at + 1;
    found->host_end = at = find_special_or(' ', at + 1, end);
    if (*at != ' ' || at == found->host)
        return 0;
    read_tag(at + 1, found);
    return 1;
}

/* Put the level that the message begins with, and all before the message. */
static inline byte *
put_level(byte *out, const byte *message)
{
    const byte *level, *level_end;
    out = PUT(out, "{\"level\": \"");
    if (!find_level_ahead(message, &level, &level_end))
        return PUT(out, "UNKNOWN\", \"message\": \"");
    for (; level < level_end; level++)
        *out++ = *level & 0xdf;
    return PUT(out, "\", \"message\": \"");
}

/* Put what follows the message, in at most SYSLOG_BYTES and the line. */
static inline byte *
put_fields(byte *out, const byte *line, const SyslogLine *found)
{
    out = PUT(out, "\", \"timestamp\": \"");
    out = copy_part(out, line, found->time_end);
    out = PUT(out, "\", \"facility\": null, \"host\": ");
    out = put_text_or_null(out, found->host, found->host_end);
    if (!found->app)
        return PUT(out, ", \"app\": null, \"pid\": null}\n");
    out = PUT(out, ", \"app\": \"");
    out = copy_part(out, found->app, found->app_end);
    if (!found->pid)
        return PUT(out, "\", \"pid\": null}\n");
    out = PUT(out, "\", \"pid\": \"");
    out = copy_part(out, found->pid, found->pid_end);
    return PUT(out, "\"}\n");
}

/* See PutUsual. Holds nothing; reads READ_BEYOND bytes behind the line, so the last lines of a chunk are left. */
static RecordResult
put_syslog(const byte *line, const byte *end, byte inner_newline, Output *output, const byte **next)
{
    SyslogLine found;
    if (!read_syslog(line, end, &found))
        return RECORD_LEFT;
    const byte *newline = memchr(found.message, '\n', (size_t)(end - found.message));
    if (end - newline <= READ_BEYOND)
        return RECORD_LEFT;
    Py_ssize_t size = found.message - line + MOST_PER_BYTE * (newline - found.message);
    if (output_reserve(output, SYSLOG_BYTES + size + SLACK) < 0)
        return RECORD_FAILED;
    byte *out = put_level(output->at, found.message);
    const byte *at = found.message;
    out = escape_line(out, &at, end, inner_newline);
    output->at = put_fields(out, line, &found);
    *next = newline + 1;
    return RECORD_PUT;
}

PyObject *
render_syslog(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return render_with_program(arguments, put_syslog);
}
