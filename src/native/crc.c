/* CRC-32 of data, and of pieces in a row. */
#include "checksums.h"

#if defined(HAS_CARRYLESS)
#include <immintrin.h>
#endif

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
fill_bytewise_tables(void)
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

int
has_carryless(void)
{
    return __builtin_cpu_supports("pclmul");
}
#else
int
has_carryless(void)
{
    return 0;
}
#endif

void
fill_crc_tables(void)
{
    fill_bytewise_tables();
#if defined(HAS_CARRYLESS)
    fill_fold_factors();
#endif
}

PyObject *
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

PyObject *
crc32_joined(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    unsigned int first, second;
    unsigned long long size;
    if (!PyArg_ParseTuple(arguments, "IIK", &first, &second, &size))
        return NULL;
    return PyLong_FromUnsignedLong(crc_multiply(crc_shift(size), first) ^ second);
}
