/* The layers of a BERT or DeBERTa as one operation.
 *
 * A library multiplies at a quarter of what AMX can do in whole numbers, and at half of that in
 * bf16, where it goes through memory between rounding, product, activation, sum and norm. Here all
 * of that is done to a block while it is near; with AVX-512, whose products are slower, there is
 * less to gain. States stay in fp32 between the layers; attention.c does the attention, linear.h
 * the products.
 *
 * encoder.py says what goes in and out, and puts weights in the order of tiles.
 */
#include "linear.h"

#if defined(__x86_64__) && defined(__linux__)

typedef struct {
    const float *scale, *shift; /* NULL for 1 and 0 */
    float least;                /* what is added to a variance */
} norm;

enum { ROWS = 8 }; /* at a time between products */

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

/* A row with a mean of 0 and a variance of 1, scaled and shifted. */
VECTORS static void normalise(float *row, int width, const norm *by) {
    __m512 sum = _mm512_setzero_ps(), squares = sum;
    for (int at = 0; at < width; at += SIDE)
        sum = _mm512_add_ps(sum, _mm512_loadu_ps(row + at));
    const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / width);
    for (int at = 0; at < width; at += SIDE) {
        const __m512 off = _mm512_sub_ps(_mm512_loadu_ps(row + at), mean);
        squares = _mm512_fmadd_ps(off, off, squares);
    }
    const float variance = _mm512_reduce_add_ps(squares) / width + by->least;
    const __m512 share =
        _mm512_div_ps(_mm512_set1_ps(1), _mm512_sqrt_ps(_mm512_set1_ps(variance)));
    for (int at = 0; at < width; at += SIDE) {
        __m512 x = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(row + at), mean), share);
        if (by->scale)
            x = _mm512_mul_ps(x, _mm512_loadu_ps(by->scale + at));
        if (by->shift)
            x = _mm512_add_ps(x, _mm512_loadu_ps(by->shift + at));
        _mm512_storeu_ps(row + at, x);
    }
}

/* What is between two products: norms, and what the next reads. */
typedef struct {
    int total;
    float *states;
    const norm *by; /* of states, NULL for none */
    const bf16 *seen; /* in place of states: what attention gives, of all rows or of those kept */
    const int32_t *kept;
    const linear *next; /* NULL for none */
    uint8_t *active;
    int width;
} between;

VECTORS INLINE void put_states(uint8_t *active, int row, const linear *next, const float *states,
                               enum bytes bytes) {
    for (int at = 0; at < next->rows; at += SIDE)
        put(active, row, at, next, _mm512_loadu_ps(states + at), bytes);
}

VECTORS INLINE void put_seen(uint8_t *active, int row, const linear *next, const bf16 *seen,
                             enum bytes bytes) {
    for (int at = 0; at < next->rows; at += SIDE)
        put(active, row, at, next, widened(seen + at), bytes);
}

VECTORS static void prepare_rows(const void *what, int part) {
    const between *of = what;
    const linear *next = of->next;
    const int first = part * ROWS, end = first + ROWS < of->total ? first + ROWS : of->total;
    for (int row = first; row < end; row++) {
        float *states = of->states + (size_t)row * of->width;
        const bf16 *seen = of->seen;
        if (of->by)
            normalise(states, of->width, of->by);
        if (seen)
            seen += (size_t)(of->kept ? of->kept[row] : row) * of->width;
        if (next && seen && next->bytes == WHOLE)
            put_seen(of->active, row, next, seen, WHOLE);
        else if (next && seen)
            put_seen(of->active, row, next, seen, BF16);
        else if (next && next->bytes == WHOLE)
            put_states(of->active, row, next, states, WHOLE);
        else if (next)
            put_states(of->active, row, next, states, BF16);
    }
}

static void prepare(team *team, const between *of) {
    together(team, prepare_rows, of, (of->total + ROWS - 1) / ROWS);
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
                  const layer *layers, int count, int heads, int level, int cores) {
    const int width = layers->mixed.rows;
    int wide = 0, bytes = 0, used = 0;
    for (int text = 0; text < texts; text++)
        used += sizes[text];
    if (!kept) {
        memset(out + (size_t)used * width, 0, (size_t)(total - used) * width * sizeof *out);
        left = used;
    }
    total = used; /* what is behind the last text is padding, which nobody reads */
    for (const layer *at = layers; at < layers + count; at++) {
        wide = at->wide.columns > wide ? at->wide.columns : wide;
        bytes = (int)at->wide.bytes > bytes ? (int)at->wide.bytes : bytes;
    }
    const size_t most = total > left ? total : left, padded = (most + PAIR - 1) / PAIR * PAIR;
    const size_t floats = padded * width * sizeof(float);
    const size_t mixes = padded * 3 * width * sizeof(bf16), each = padded * bytes;
    const size_t all = floats + floats / 2 + mixes + each * (width + wide) + 5 * 64;
    char *next = scratch(PASS, all);
    if (!next)
        return 1;
    float *states = taken(&next, floats);
    bf16 *seen = taken(&next, floats / 2), *mixed = taken(&next, mixes);
    uint8_t *asked = taken(&next, each * width), *active = taken(&next, each * wide);
    widen(given, (size_t)total * width, states);
    team *team = enter(cores);
    const uint64_t pass = new_pass();
    int failed = 0;
    if (level == AMX)
        configure();
    between step = {.total = total, .states = states, .width = width, .active = asked};
    step.next = &layers->mixed;
    prepare(team, &step);
    for (const layer *at = layers; at < layers + count && !failed; at++) {
        multiply(team, &at->mixed, asked, total, &(destination){.kind = ROUNDED, .rounded = mixed},
                 level);
        failed = attend(team, &(attending){mixed, seen, total, sizes, texts, heads, width / heads,
                                           at->key, at->query, at->table, rows, furthest, level,
                                           pass});
        const int32_t *chosen = at == layers + count - 1 ? kept : NULL;
        if (chosen) {
            float *fewer = (float *)mixed; /* which nobody reads any more */
            for (int row = 0; row < left; row++)
                memcpy(fewer + (size_t)row * width, states + (size_t)chosen[row] * width,
                       width * sizeof *states);
            states = fewer, total = left;
        }
        step = (between){.total = total, .states = states, .width = width, .active = asked};
        step.seen = seen, step.kept = chosen, step.next = &at->out;
        prepare(team, &step);
        multiply(team, &at->out, asked, total, &(destination){.kind = ADDED, .sums = states},
                 level);
        step.seen = NULL, step.by = &at->seen, step.next = &at->wide;
        prepare(team, &step);
        multiply(team, &at->wide, asked, total,
                 &(destination){.kind = ACTIVATED, .active = active, .next = &at->narrow}, level);
        multiply(team, &at->narrow, active, total, &(destination){.kind = ADDED, .sums = states},
                 level);
        step.by = &at->last, step.next = at == layers + count - 1 ? NULL : &at[1].mixed;
        prepare(team, &step);
    }
    if (level == AMX)
        release();
    leave(team);
    narrow(states, (size_t)total * width, out);
    return failed;
}

#endif
