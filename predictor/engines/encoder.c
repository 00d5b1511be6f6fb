/* The layers of a BERT or DeBERTa as one operation, for one thread.
 *
 * A library multiplies at a quarter of what AMX can do in whole numbers, and at half of that in
 * bf16, where it goes through memory between rounding, product, activation, sum and norm. Here all
 * of that is done to a block while it is near. States stay in fp32 between the layers; attention.c
 * does the attention, linear.h the products.
 *
 * encoder.py says what goes in and out, and puts weights in the order of tiles.
 */
#include "linear.h"

#if defined(__x86_64__) && defined(__linux__)

typedef struct {
    const float *scale, *shift; /* NULL for 1 and 0 */
    float least;                /* what is added to a variance */
} norm;

typedef struct {
    linear mixed, out, wide, narrow;
    norm seen, last;
    const uint32_t *key;
    const bf16 *query;
    int table;
} layer;

VECTORS INLINE __m512 widened(const bf16 *from) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(
        _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from)), 16));
}

/* The states of each row as the activations of `next`. */
VECTORS INLINE void read_states(const float *states, int total, const linear *next,
                                uint8_t *active, enum bytes bytes) {
    for (int row = 0; row < total; row++, states += next->rows)
        for (int at = 0; at < next->rows; at += SIDE)
            put(active, row, at, next, _mm512_loadu_ps(states + at), bytes);
}

VECTORS static void activate(const float *states, int total, const linear *next, uint8_t *active) {
    if (next->bytes == WHOLE)
        read_states(states, total, next, active, WHOLE);
    else
        read_states(states, total, next, active, BF16);
}

/* The same of what attention gives, in bf16; of some rows, or of all. */
VECTORS INLINE void read_seen(const bf16 *seen, const int32_t *kept, int total, const linear *next,
                              uint8_t *active, enum bytes bytes) {
    for (int row = 0; row < total; row++) {
        const bf16 *one = seen + (size_t)(kept ? kept[row] : row) * next->rows;
        for (int at = 0; at < next->rows; at += SIDE)
            put(active, row, at, next, widened(one + at), bytes);
    }
}

VECTORS static void activate_seen(const bf16 *seen, const int32_t *kept, int total,
                                  const linear *next, uint8_t *active) {
    if (next->bytes == WHOLE)
        read_seen(seen, kept, total, next, active, WHOLE);
    else
        read_seen(seen, kept, total, next, active, BF16);
}

/* Each row with a mean of 0 and a variance of 1, scaled and shifted. */
VECTORS static void normalise(float *states, int total, int width, const norm *by) {
    for (int row = 0; row < total; row++, states += width) {
        __m512 sum = _mm512_setzero_ps(), squares = sum;
        for (int at = 0; at < width; at += SIDE)
            sum = _mm512_add_ps(sum, _mm512_loadu_ps(states + at));
        const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / width);
        for (int at = 0; at < width; at += SIDE) {
            const __m512 off = _mm512_sub_ps(_mm512_loadu_ps(states + at), mean);
            squares = _mm512_fmadd_ps(off, off, squares);
        }
        const float variance = _mm512_reduce_add_ps(squares) / width + by->least;
        const __m512 share =
            _mm512_div_ps(_mm512_set1_ps(1), _mm512_sqrt_ps(_mm512_set1_ps(variance)));
        for (int at = 0; at < width; at += SIDE) {
            __m512 x = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(states + at), mean), share);
            if (by->scale)
                x = _mm512_mul_ps(x, _mm512_loadu_ps(by->scale + at));
            if (by->shift)
                x = _mm512_add_ps(x, _mm512_loadu_ps(by->shift + at));
            _mm512_storeu_ps(states + at, x);
        }
    }
}

VECTORS static void widen(const bf16 *from, size_t count, float *to) {
    for (size_t at = 0; at < count; at += SIDE)
        _mm512_storeu_ps(to + at, widened(from + at));
}

VECTORS static void narrow(const float *from, size_t count, bf16 *to) {
    for (size_t at = 0; at < count; at += SIDE)
        _mm256_storeu_si256((__m256i *)(to + at),
                            (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from + at)));
}

EXPORT int encode(const bf16 *given, bf16 *out, int total, const int32_t *sizes, int texts,
                  const int32_t *rows, int furthest, const int32_t *kept, int left,
                  const layer *layers, int count, int heads, int level) {
    const int width = layers->mixed.rows;
    int wide = 0, bytes = 0;
    for (const layer *at = layers; at < layers + count; at++) {
        wide = at->wide.columns > wide ? at->wide.columns : wide;
        bytes = (int)at->wide.bytes > bytes ? (int)at->wide.bytes : bytes;
    }
    const size_t most = total > left ? total : left, padded = (most + PAIR - 1) / PAIR * PAIR;
    const size_t floats = padded * width * sizeof(float);
    const size_t mixes = padded * 3 * width * sizeof(bf16), active = padded * bytes;
    const size_t all = floats + floats / 2 + mixes + active * (width + wide) + 5 * 64;
    char *next = scratch(PASS, all);
    if (!next)
        return 1;
    float *states = taken(&next, floats);
    bf16 *seen = taken(&next, floats / 2), *mixed = taken(&next, mixes);
    uint8_t *asked = taken(&next, active * width), *between = taken(&next, active * wide);
    widen(given, (size_t)total * width, states);
    int failed = 0;
    for (const layer *at = layers; at < layers + count && !failed; at++) {
        activate(states, total, &at->mixed, asked);
        if (level == AMX)
            configure();
        multiply(&at->mixed, asked, total, &(destination){.kind = ROUNDED, .rounded = mixed},
                 level);
        failed = attention(mixed, seen, total, sizes, texts, heads, width / heads, at->key,
                           at->query, at->table, rows, furthest, level);
        const int32_t *chosen = at == layers + count - 1 ? kept : NULL;
        if (chosen) {
            float *fewer = (float *)mixed; /* which nobody reads any more */
            for (int row = 0; row < left; row++)
                memcpy(fewer + (size_t)row * width, states + (size_t)chosen[row] * width,
                       width * sizeof *states);
            states = fewer, total = left;
        }
        activate_seen(seen, chosen, total, &at->out, asked);
        if (level == AMX)
            configure();
        multiply(&at->out, asked, total, &(destination){.kind = ADDED, .sums = states}, level);
        normalise(states, total, width, &at->seen);
        activate(states, total, &at->wide, asked);
        multiply(&at->wide, asked, total,
                 &(destination){.kind = ACTIVATED, .active = between, .next = &at->narrow}, level);
        multiply(&at->narrow, between, total, &(destination){.kind = ADDED, .sums = states},
                 level);
        normalise(states, total, width, &at->last);
    }
    if (level == AMX)
        release();
    narrow(states, (size_t)total * width, out);
    return failed;
}

#endif
