/* What every file of the compiled part includes first: Python, byte, and what this CPU can do.
 *
 * Each function returns the same result, byte for byte, as the Python code that runs where this module is not built.
 * That code is the reference (tests/properties/test_speedups_properties.py compares them). No function may allocate
 * more than its result, or read beyond the end of its input.
 *
 * SSE2, which every x86-64 CPU has, scans 16 bytes at a time; other machines scan byte by byte.
 *
 * Small functions that run for every line or byte are `static inline` in a header, so that each file has them inlined.
 */
#ifndef LOGFERRY_COMMON_H
#define LOGFERRY_COMMON_H

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
#endif

typedef unsigned char byte;

/* What the files share is of this module alone, so the compiler need not look it up. Functions of the system must be
 * declared above. */
#pragma GCC visibility push(hidden)

#endif
