/* The layers of a BERT or DeBERTa in int8 as one operation, for one thread.
 *
 * A library multiplies at a quarter of what AMX can do where it goes through memory between
 * rounding, product, activation, sum and norm. Here a product of 32 rows by 32 columns
 * stays in the registers until it is whole, and what follows is done while it is in the nearest
 * cache. States stay in fp32 between the layers; attention.c does the attention.
 *
 * Products are by AMX; those by AVX-512 read the same layouts, so that these can be tested where
 * there is no AMX. A library is as fast there.
 *
 * A linear layer's activations are rounded to steps from 0 to 255, of which each is worth the
 * same and 0 is not zero: what that adds is the same for all rows and stands in `shift`.
 *
 * encoder.py says what goes in and out, and puts weights in the order of tiles.
 */
#include "kernels.h"

#if defined(__x86_64__) && defined(__linux__)

#define PAIR (2 * SIDE) /* rows and columns of a product that stays in the registers */
#define PANEL (192 << 10) /* bytes of weights that meet all rows before the next: of a large cache */

typedef struct {
    const int8_t *weights; /* by 16 columns, then by 64 rows: tiles */
    const float *scale;    /* of each column: what a whole number in it is worth */
    const float *shift;    /* of each column: its bias, and what the step 0 is worth */
    const float *by;       /* of each row: what its activation is multiplied with */
    float zero;            /* which step an activation of zero is */
    int rows, columns;
} linear;

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

/* What becomes of a product. */
enum after { ROUNDED, ACTIVATED, ADDED };

typedef struct {
    enum after kind;
    bf16 *rounded;       /* ROUNDED: here, in bf16 */
    uint8_t *steps;      /* ACTIVATED: here, as the activations of `next` */
    const linear *next;
    float *sums;         /* ADDED: to these */
} destination;

/* out, of PAIR x PAIR = the steps of `count` rows, at most PAIR, by two columns of tiles, each of
 * `tiles`. What is behind the last row is read and means nothing. `soon` is a column of tiles that
 * will be read next, or NULL. */
typedef void product(int32_t *out, const uint8_t *steps, const int8_t *weights, int tiles,
                     int count, const int8_t *soon);

TILES INLINE void call(const int8_t *soon) {
    for (int line = 0; line < TILE; line += DEEP)
        _mm_prefetch(soon + line, _MM_HINT_T1);
}

TILES static void by_tiles(int32_t *out, const uint8_t *steps, const int8_t *weights, int tiles,
                           int count, const int8_t *soon) {
    const int8_t *right = weights + (size_t)tiles * TILE;
    const uint8_t *below = steps + (size_t)tiles * TILE;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int at = 0; at < tiles * TILE; at += TILE) {
        _tile_loadd(4, steps + at, DEEP);
        _tile_loadd(6, weights + at, DEEP);
        _tile_dpbusd(0, 4, 6);
        _tile_loadd(7, right + at, DEEP);
        _tile_dpbusd(1, 4, 7);
        if (count > SIDE) {
            _tile_loadd(5, below + at, DEEP);
            _tile_dpbusd(2, 5, 6);
            _tile_dpbusd(3, 5, 7);
        }
        if (soon)
            call(soon + at);
    }
    _tile_stored(0, out, PAIR * sizeof *out);
    _tile_stored(1, out + SIDE, PAIR * sizeof *out);
    _tile_stored(2, out + SIDE * PAIR, PAIR * sizeof *out);
    _tile_stored(3, out + SIDE * PAIR + SIDE, PAIR * sizeof *out);
}

VECTORS static void by_vectors(int32_t *out, const uint8_t *steps, const int8_t *weights,
                               int tiles, int count, const int8_t *soon) {
    enum { ROWS = 8 };
    const int8_t *right = weights + (size_t)tiles * TILE;
    for (int first = 0; first < count; first += ROWS, out += ROWS * PAIR) {
        const uint8_t *own = steps + (first / SIDE * (size_t)tiles * SIDE + first % SIDE) * DEEP;
        __m512i sums[2][ROWS];
        for (int row = 0; row < ROWS; row++)
            sums[0][row] = sums[1][row] = _mm512_setzero_si512();
        for (int four = 0; four < tiles * SIDE; four++) {
            const __m512i one = _mm512_loadu_si512(weights + four * DEEP);
            const __m512i other = _mm512_loadu_si512(right + four * DEEP);
            for (int row = 0; row < ROWS; row++) {
                int32_t both;
                memcpy(&both, own + (four / SIDE * SIDE + row) * DEEP + four % SIDE * 4, 4);
                const __m512i all = _mm512_set1_epi32(both);
                sums[0][row] = _mm512_dpbusd_epi32(sums[0][row], all, one);
                sums[1][row] = _mm512_dpbusd_epi32(sums[1][row], all, other);
            }
        }
        for (int row = 0; row < ROWS; row++) {
            _mm512_storeu_si512(out + row * PAIR, sums[0][row]);
            _mm512_storeu_si512(out + row * PAIR + SIDE, sums[1][row]);
        }
    }
    (void)soon; /* slow enough for the processor to see by itself what comes */
}

/* x if it is above 0, less what the tail of the normal distribution beyond it takes. For a size z
 * that is z * q(z)^4, and nothing where q is below 0: to within 3e-5, where a step is some 1e-2. */
VECTORS INLINE __m512 gelu(__m512 x) {
    const __m512 z = _mm512_abs_ps(x), zero = _mm512_setzero_ps();
    __m512 q = _mm512_set1_ps(-4.91764834e-4f);
    q = _mm512_fmadd_ps(q, z, _mm512_set1_ps(2.84143630e-3f));
    q = _mm512_fmadd_ps(q, z, _mm512_set1_ps(8.50224583e-3f));
    q = _mm512_fmadd_ps(q, z, _mm512_set1_ps(-5.46290605e-2f));
    q = _mm512_fmadd_ps(q, z, _mm512_set1_ps(-1.65751504e-1f));
    q = _mm512_fmadd_ps(q, z, _mm512_set1_ps(8.40627627e-1f));
    q = _mm512_max_ps(q, zero);
    q = _mm512_mul_ps(q, q);
    return _mm512_fnmadd_ps(_mm512_mul_ps(q, q), z, _mm512_max_ps(x, zero));
}

/* Activations as steps, of which there are 256. */
VECTORS INLINE __m128i stepped(__m512 x, __m512 by, __m512 zero) {
    const __m512i whole = _mm512_cvtps_epi32(_mm512_fmadd_ps(x, by, zero));
    return _mm512_cvtusepi32_epi8(_mm512_max_epi32(whole, _mm512_setzero_si512()));
}

/* Where a row's steps from a column on are: in tiles of SIDE rows, by rows and then by columns. */
INLINE size_t place(int row, int column, int width) {
    return (row / SIDE * (size_t)width + column / DEEP * DEEP) * SIDE + row % SIDE * DEEP +
           column % DEEP;
}

VECTORS INLINE void finish(const int32_t *found, int first, int count, int column,
                           const linear *by, const destination *to, enum after kind) {
    for (int from = column; from < column + PAIR; from += SIDE, found += SIDE) {
        const __m512 scale = _mm512_loadu_ps(by->scale + from);
        const __m512 shift = _mm512_loadu_ps(by->shift + from);
        __m512 next = scale, zero = shift;
        if (kind == ACTIVATED) {
            next = _mm512_loadu_ps(to->next->by + from);
            zero = _mm512_set1_ps(to->next->zero);
        }
        for (int row = 0; row < count; row++) {
            const size_t at = (size_t)(first + row) * by->columns + from;
            const __m512 sum = _mm512_cvtepi32_ps(_mm512_loadu_si512(found + row * PAIR));
            const __m512 x = _mm512_fmadd_ps(sum, scale, shift);
            if (kind == ROUNDED)
                _mm256_storeu_si256((__m256i *)(to->rounded + at),
                                    (__m256i)_mm512_cvtneps_pbh(x));
            else if (kind == ACTIVATED)
                _mm_storeu_si128(
                    (__m128i *)(to->steps + place(first + row, from, by->columns)),
                    stepped(gelu(x), next, zero));
            else
                _mm512_storeu_ps(to->sums + at, _mm512_add_ps(x, _mm512_loadu_ps(to->sums + at)));
        }
    }
}

VECTORS static void finish_rounded(const int32_t *found, int first, int count, int column,
                                   const linear *by, const destination *to) {
    finish(found, first, count, column, by, to, ROUNDED);
}

VECTORS static void finish_activated(const int32_t *found, int first, int count, int column,
                                     const linear *by, const destination *to) {
    finish(found, first, count, column, by, to, ACTIVATED);
}

VECTORS static void finish_added(const int32_t *found, int first, int count, int column,
                                 const linear *by, const destination *to) {
    finish(found, first, count, column, by, to, ADDED);
}

/* A linear layer over `total` rows of steps; those up to a multiple of PAIR may be anything. */
static void multiply(const linear *by, const uint8_t *steps, int total, const destination *to,
                     product *way) {
    _Alignas(64) int32_t found[PAIR * PAIR];
    const int tiles = by->rows / DEEP, pairs = PANEL / (PAIR * by->rows);
    const int group = PAIR * (pairs ? pairs : 1);
    for (int start = 0; start < by->columns; start += group) {
        const int end = start + group < by->columns ? start + group : by->columns;
        for (int row = 0; row < total; row += PAIR) {
            const int count = total - row < PAIR ? total - row : PAIR;
            for (int column = start; column < end; column += PAIR) {
                const int8_t *weights = by->weights + (size_t)column * by->rows;
                /* The next ones come from far: the first two blocks of rows call them, half each. */
                const int8_t *soon = NULL;
                if (row <= PAIR && column + group < by->columns)
                    soon = weights + (size_t)(group + row / 2) * by->rows;
                way(found, steps + (size_t)row * by->rows, weights, tiles, count, soon);
                if (to->kind == ROUNDED)
                    finish_rounded(found, row, count, column, by, to);
                else if (to->kind == ACTIVATED)
                    finish_activated(found, row, count, column, by, to);
                else
                    finish_added(found, row, count, column, by, to);
            }
        }
    }
}

VECTORS static void step(const float *states, int total, const linear *next, uint8_t *steps) {
    const int width = next->rows;
    const __m512 zero = _mm512_set1_ps(next->zero);
    for (int row = 0; row < total; row++, states += width)
        for (int at = 0; at < width; at += SIDE)
            _mm_storeu_si128((__m128i *)(steps + place(row, at, width)),
                             stepped(_mm512_loadu_ps(states + at),
                                     _mm512_loadu_ps(next->by + at), zero));
}

VECTORS INLINE __m512 widened(const bf16 *from) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(
        _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from)), 16));
}

VECTORS static void step_bf16(const bf16 *states, const int32_t *kept, int total,
                              const linear *next, uint8_t *steps) {
    const int width = next->rows;
    const __m512 zero = _mm512_set1_ps(next->zero);
    for (int row = 0; row < total; row++) {
        const bf16 *one = states + (size_t)(kept ? kept[row] : row) * width;
        for (int at = 0; at < width; at += SIDE)
            _mm_storeu_si128(
                (__m128i *)(steps + place(row, at, width)),
                stepped(widened(one + at), _mm512_loadu_ps(next->by + at), zero));
    }
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
    int wide = 0;
    for (const layer *at = layers; at < layers + count; at++)
        wide = at->wide.columns > wide ? at->wide.columns : wide;
    const size_t most = total > left ? total : left, padded = (most + PAIR - 1) / PAIR * PAIR;
    const size_t floats = padded * width * sizeof(float);
    const size_t mixes = padded * 3 * width * sizeof(bf16), steps = padded * (width + wide);
    const size_t all = floats + floats / 2 + mixes + steps + 5 * 64;
    char *memory = aligned_alloc(64, (all + 63) / 64 * 64), *next = memory;
    if (!memory)
        return 1;
    float *states = taken(&next, floats);
    bf16 *seen = taken(&next, floats / 2), *mixed = taken(&next, mixes);
    uint8_t *asked = taken(&next, padded * width), *between = taken(&next, padded * wide);
    product *way = level == AMX ? by_tiles : by_vectors;
    widen(given, (size_t)total * width, states);
    int failed = 0;
    for (const layer *at = layers; at < layers + count && !failed; at++) {
        step(states, total, &at->mixed, asked);
        if (level == AMX)
            configure();
        multiply(&at->mixed, asked, total, &(destination){.kind = ROUNDED, .rounded = mixed},
                 way);
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
        step_bf16(seen, chosen, total, &at->out, asked);
        if (level == AMX)
            configure();
        multiply(&at->out, asked, total, &(destination){.kind = ADDED, .sums = states}, way);
        normalise(states, total, width, &at->seen);
        step(states, total, &at->wide, asked);
        multiply(&at->wide, asked, total,
                 &(destination){.kind = ACTIVATED, .steps = between, .next = &at->narrow}, way);
        multiply(&at->narrow, between, total, &(destination){.kind = ADDED, .sums = states}, way);
        normalise(states, total, width, &at->last);
    }
    if (level == AMX)
        release();
    narrow(states, (size_t)total * width, out);
    free(memory);
    return failed;
}

#endif
