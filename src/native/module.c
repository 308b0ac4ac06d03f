/* The module `logferry._speedups`: its functions, and what they need once. Each file beside this one is a concern. */
#include "bytes.h"
#include "checksums.h"
#include "containers.h"
#include "counting.h"
#include "escape.h"
#include "events.h"
#include "line_program.h"
#include "plain.h"
#include "structured.h"
#include "selection.h"
#include "text_search.h"
#include "utf8.h"
#include "validation.h"

/* The version of the functions below. It changes together with speedups.py, which ignores any other version. */
#define INTERFACE 14

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
    {"render_plain_2", render_plain_2, METH_VARARGS,
     "Render lines in the plain format by rules 2: (NDJSON, records, blank lines, other lines, gaps)."},
    {"line_program", line_program, METH_VARARGS,
     "Return the program of a format, made of the parts of its patterns and records."},
    {"render_lines", render_lines_by, METH_VARARGS,
     "Render lines by the program of their format: (NDJSON, records, blank lines, other lines, gaps)."},
    {"render_access", render_access, METH_VARARGS, "Do the same with access logs, most of whose lines need no program."},
    {"render_syslog", render_syslog, METH_VARARGS, "Do the same with what syslog daemons write."},
    {"render_raw", render_raw, METH_VARARGS, "Render lines as whole messages: (NDJSON, records, blank lines)."},
    {"render_json", render_json, METH_VARARGS,
     "Render what is certain of lines in the json format by rules 2: (NDJSON, records, blank lines, other lines, gaps)."},
    {"render_logfmt", render_logfmt, METH_VARARGS, "Do the same with lines in the logfmt format."},
    {"cri_contents", cri_contents, METH_VARARGS,
     "Take what containers wrote out of lines in the cri format: (contents, marks, other lines, blank lines)."},
    {"docker_contents", docker_contents, METH_VARARGS, "Do the same with lines in the docker format."},
    {"cri_are_whole", cri_are_whole, METH_VARARGS, "Return whether no line in the cri format may be a part of one."},
    {"docker_are_whole", docker_are_whole, METH_VARARGS, "Do the same with lines in the docker format."},
    {"with_runtime", with_runtime, METH_VARARGS,
     "Add the times and streams of marks to the records of contents: (NDJSON, gaps)."},
    {"escape", escape, METH_VARARGS, "Escape lines for JSON. See escape_characters."},
    {"begin_with_timestamp", begin_with_timestamp, METH_VARARGS,
     "Return one byte per line, which is 1 if the line begins with a timestamp, else 0."},
    {"begin_like", begin_like, METH_VARARGS,
     "Return one byte per line: 1 if a program matches the beginning of the line, 0 if not, 2 if Python must decide."},
    {"event_offsets", event_offsets, METH_VARARGS,
     "Return where the first events end, and where the last event begins."},
    {"join_events", join_events, METH_VARARGS,
     "Join the lines of each event: (events, one per line; joined lines; blank lines dropped)."},
    {"select_events", select_events, METH_VARARGS,
     "Return the events that contain a text to include and none to exclude, and the number of the others."},
    {"redact", redact, METH_VARARGS,
     "Replace what a built-in redaction finds: (lines, pieces, where the events are that Python must redact)."},
    {"find_undecodable", find_undecodable, METH_VARARGS,
     "Return the index of the first byte of a part that is not UTF-8; the end of the part if all bytes are."},
    {"canonical_run", (PyCFunction)(void (*)(void))canonical_run, METH_FASTCALL,
     "Return the end of the run of lines in the form that the plain format writes, their number, and their event times."},
    {"record_run", (PyCFunction)(void (*)(void))record_run, METH_FASTCALL,
     "Return the end of the run of lines that are objects with level and message, their number, and their event times."},
    {"scan_record", scan_record, METH_VARARGS,
     "Take the next bytes of a record, and change the state of the scan; return whether they are JSON."},
    {"count_records", count_records, METH_VARARGS,
     "Count stored records by level, minute and message: (counts, where the lines are that Python must count)."},
    {"crc32_joined", crc32_joined, METH_VARARGS,
     "Return the CRC-32 of two pieces in a row, given the CRC-32 of each and the size of the second."},
    {"fingerprint", fingerprint, METH_VARARGS, "Return the BLAKE2b hash of 16 bytes, in hexadecimal."},
    {"find_text", (PyCFunction)(void (*)(void))find_text, METH_FASTCALL,
     "Return where a text is first in a part of the data; -1 if it is not there."},
    {"end_of_lines", (PyCFunction)(void (*)(void))end_of_lines, METH_FASTCALL,
     "Return where a number of lines ends; the end of the data if it has fewer."},
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
    fill_common_keys();
    PyObject *created = PyModule_Create(&module);
    if (created && PyModule_AddIntConstant(created, "interface", INTERFACE) < 0)
        Py_CLEAR(created);
    if (created && has_carryless() && PyModule_AddFunctions(created, fast_crc_methods) < 0)
        Py_CLEAR(created);
    return created;
}
