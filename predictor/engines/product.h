/* Products of attention.c: by AMX, or else by AVX-512 BF16, which reads the same layouts. */
#ifndef PRODUCT_H
#define PRODUCT_H

#include "kernels.h"

#if defined(__x86_64__) && defined(__linux__)

#define STEP 32 /* bf16 in a row of a tile */

/* out, of SIDE rows and so many blocks of SIDE columns, in floats = left, of SIDE x steps * STEP, by
 * right, whose rows are in pairs: dword (r, c) holds rows 2 r and 2 r + 1 of column c. Pitches are
 * in elements. */
typedef void product(float *out, int out_pitch, const bf16 *left, int left_pitch,
                     const uint32_t *right, int right_pitch, int steps, int blocks);

TILES static void by_tiles(float *out, int out_pitch, const bf16 *left, int left_pitch,
                           const uint32_t *right, int right_pitch, int steps, int blocks) {
    for (; blocks; blocks--, out += SIDE, right += SIDE) {
        _tile_zero(0);
        for (int step = 0; step < steps; step++) {
            _tile_loadd(1, left + step * STEP, left_pitch * sizeof *left);
            _tile_loadd(2, right + step * SIDE * right_pitch, right_pitch * sizeof *right);
            _tile_dpbf16ps(0, 1, 2);
        }
        _tile_stored(0, out, out_pitch * sizeof *out);
    }
}

/* One block or two, by as many rows as registers hold the places of. */
VECTORS INLINE void some_by_vectors(float *out, int out_pitch, const bf16 *left, int left_pitch,
                                    const uint32_t *right, int right_pitch, int steps,
                                    const int blocks) {
    enum { ROWS = 8 };
    for (int first = 0; first < SIDE; first += ROWS) {
        __m512 sums[ROWS][2];
        for (int row = 0; row < ROWS; row++)
            sums[row][0] = sums[row][1] = _mm512_setzero_ps();
        for (int pair = 0; pair < steps * SIDE; pair++) {
            const uint32_t *from = right + pair * right_pitch;
            const __m512i others = _mm512_loadu_si512(from);
            const __m512i more = blocks == 2 ? _mm512_loadu_si512(from + SIDE) : others;
            for (int row = 0; row < ROWS; row++) {
                int own;
                memcpy(&own, left + (first + row) * left_pitch + 2 * pair, sizeof own);
                const __m512bh all = (__m512bh)_mm512_set1_epi32(own);
                sums[row][0] = _mm512_dpbf16_ps(sums[row][0], all, (__m512bh)others);
                if (blocks == 2)
                    sums[row][1] = _mm512_dpbf16_ps(sums[row][1], all, (__m512bh)more);
            }
        }
        for (int row = 0; row < ROWS; row++)
            for (int block = 0; block < blocks; block++)
                _mm512_storeu_ps(out + (first + row) * out_pitch + block * SIDE, sums[row][block]);
    }
}

VECTORS static void by_vectors(float *out, int out_pitch, const bf16 *left, int left_pitch,
                               const uint32_t *right, int right_pitch, int steps, int blocks) {
    for (; blocks > 1; blocks -= 2, out += 2 * SIDE, right += 2 * SIDE)
        some_by_vectors(out, out_pitch, left, left_pitch, right, right_pitch, steps, 2);
    if (blocks)
        some_by_vectors(out, out_pitch, left, left_pitch, right, right_pitch, steps, 1);
}

#endif
#endif
