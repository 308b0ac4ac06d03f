/* The hash of fingerprints. */
#include "checksums.h"

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

PyObject *
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
