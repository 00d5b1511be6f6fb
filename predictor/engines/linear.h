/* Linear layers in whole numbers or in bf16, for encoder.c.
 *
 * A product of 32 rows by 32 columns stays in the registers until it is whole, and what follows is
 * done while it is in the nearest cache. Weights and activations lie in tiles of 16 lines of 64
 * bytes, so both kinds of numbers lie alike.
 *
 * Products are by AMX, or else by AVX-512, which reads the same layouts.
 *
 * Whole activations are steps from 0 to 255, of which each is worth the same and 0 is not zero:
 * what that adds is the same for all rows and stands in `shift`.
 */
#ifndef LINEAR_H
#define LINEAR_H

#include "kernels.h"

#if defined(__x86_64__) && defined(__linux__)

#define PAIR (2 * SIDE) /* rows and columns of a product that stays in the registers */
#define PANEL (192 << 10) /* weights that meet all rows before the next: a part of a large cache */
#define EVEN 3 /* parts for each hand at least, so that hands are done at about the same time */

enum bytes { WHOLE = 1, BF16 = 2 }; /* of a weight, and of an activation */

typedef struct {
    const uint8_t *weights; /* by 16 columns, then by 64 bytes of rows: tiles */
    const float *scale;     /* of each column: what a whole number in it is worth */
    const float *shift;     /* of each column: its bias, and what the step 0 is worth */
    const float *by;        /* of each row: what its activation is multiplied with to be in steps */
    float zero;             /* which step an activation of zero is */
    int rows, columns;
    enum bytes bytes; /* BF16 has no scale, by and zero */
} linear;

/* What becomes of a product. */
enum after { ROUNDED, ACTIVATED, ADDED };

typedef struct {
    enum after kind;
    bf16 *rounded;      /* ROUNDED: here, in bf16 */
    uint8_t *active;    /* ACTIVATED: here, as the activations of `next`, of as many bytes */
    const linear *next;
    float *sums;        /* ADDED: to these */
} destination;

/* out, of PAIR x PAIR, int32_t or float = the activations of `count` rows, at most PAIR, by two
 * columns of tiles, each of `tiles`. What is behind the last row is read and means nothing. `soon`
 * is a column of tiles that will be read next, or NULL. */
typedef void product(int32_t *out, const uint8_t *active, const uint8_t *weights, int tiles,
                     int count, const uint8_t *soon);

TILES INLINE void call(const uint8_t *soon) {
    for (int line = 0; line < TILE; line += DEEP)
        _mm_prefetch(soon + line, _MM_HINT_T1);
}

/* The registers are named in the code itself, so this cannot be a function. */
#define ADD_PRODUCT(to, left, right)        \
    do {                                    \
        if (bytes == WHOLE)                 \
            _tile_dpbusd(to, left, right);  \
        else                                \
            _tile_dpbf16ps(to, left, right); \
    } while (0)

TILES INLINE void by_tiles(int32_t *out, const uint8_t *active, const uint8_t *weights, int tiles,
                           int count, const uint8_t *soon, enum bytes bytes) {
    const uint8_t *right = weights + (size_t)tiles * TILE;
    const uint8_t *below = active + (size_t)tiles * TILE;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int at = 0; at < tiles * TILE; at += TILE) {
        _tile_loadd(4, active + at, DEEP);
        _tile_loadd(6, weights + at, DEEP);
        ADD_PRODUCT(0, 4, 6);
        _tile_loadd(7, right + at, DEEP);
        ADD_PRODUCT(1, 4, 7);
        if (count > SIDE) {
            _tile_loadd(5, below + at, DEEP);
            ADD_PRODUCT(2, 5, 6);
            ADD_PRODUCT(3, 5, 7);
        }
        if (soon)
            call(soon + at);
    }
    _tile_stored(0, out, PAIR * sizeof *out);
    _tile_stored(1, out + SIDE, PAIR * sizeof *out);
    _tile_stored(2, out + SIDE * PAIR, PAIR * sizeof *out);
    _tile_stored(3, out + SIDE * PAIR + SIDE, PAIR * sizeof *out);
}

VECTORS INLINE __m512i plus(__m512i sum, __m512i left, __m512i right, enum bytes bytes) {
    if (bytes == WHOLE)
        return _mm512_dpbusd_epi32(sum, left, right);
    return _mm512_castps_si512(
        _mm512_dpbf16_ps(_mm512_castsi512_ps(sum), (__m512bh)left, (__m512bh)right));
}

/* Rows whose sums registers hold: so many at a time, few where no more are left. */
enum { MANY = 8, FEW = 4 };

/* `rows` is one of these. */
VECTORS INLINE void by_rows(int32_t *out, const uint8_t *active, const uint8_t *weights, int tiles,
                            enum bytes bytes, const int rows) {
    const uint8_t *right = weights + (size_t)tiles * TILE;
    __m512i sums[2][MANY];
    for (int row = 0; row < rows; row++)
        sums[0][row] = sums[1][row] = _mm512_setzero_si512();
    for (int four = 0; four < tiles * SIDE; four++) {
        const __m512i one = _mm512_loadu_si512(weights + four * DEEP);
        const __m512i other = _mm512_loadu_si512(right + four * DEEP);
        for (int row = 0; row < rows; row++) {
            int32_t some;
            memcpy(&some, active + (four / SIDE * SIDE + row) * DEEP + four % SIDE * 4, 4);
            const __m512i all = _mm512_set1_epi32(some);
            sums[0][row] = plus(sums[0][row], all, one, bytes);
            sums[1][row] = plus(sums[1][row], all, other, bytes);
        }
    }
    for (int row = 0; row < rows; row++) {
        _mm512_storeu_si512(out + row * PAIR, sums[0][row]);
        _mm512_storeu_si512(out + row * PAIR + SIDE, sums[1][row]);
    }
}

VECTORS INLINE void by_vectors(int32_t *out, const uint8_t *active, const uint8_t *weights,
                               int tiles, int count, enum bytes bytes) {
    for (int first = 0; first < count; first += MANY, out += MANY * PAIR) {
        const uint8_t *own = active + (first / SIDE * (size_t)tiles * SIDE + first % SIDE) * DEEP;
        if (count - first > FEW)
            by_rows(out, own, weights, tiles, bytes, MANY);
        else
            by_rows(out, own, weights, tiles, bytes, FEW);
    }
}

#define PRODUCT(kind, bytes)                                                                      \
    TILES static void kind##_by_tiles(int32_t *out, const uint8_t *active,                        \
                                      const uint8_t *weights, int tiles, int count,               \
                                      const uint8_t *soon) {                                      \
        by_tiles(out, active, weights, tiles, count, soon, bytes);                                \
    }                                                                                             \
    /* Slow enough for the processor to see by itself what comes soon. */                         \
    VECTORS static void kind##_by_vectors(int32_t *out, const uint8_t *active,                    \
                                          const uint8_t *weights, int tiles, int count,           \
                                          const uint8_t *soon) {                                  \
        (void)soon;                                                                               \
        by_vectors(out, active, weights, tiles, count, bytes);                                    \
    }

PRODUCT(whole, WHOLE)
PRODUCT(bf16, BF16)

/* x if it is above 0, less what the tail of the normal distribution beyond it takes. For a size z
 * that is z * q(z)^4, and nothing where q is below 0: to within 3e-5, where a step is some 1e-2 and
 * bf16 rounds what is above 0.02 by as much. */
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

/* Where a row's activations from a byte on are: in tiles of SIDE rows, by rows and then by bytes.
 * `width` is that of a row, in bytes. */
INLINE size_t place(int row, int byte, int width) {
    return (row / SIDE * (size_t)width + byte / DEEP * DEEP) * SIDE + row % SIDE * DEEP +
           byte % DEEP;
}

/* Put SIDE activations of a row where `next` reads them, from a column on. */
VECTORS INLINE void put(uint8_t *active, int row, int column, const linear *next, __m512 x,
                        enum bytes bytes) {
    uint8_t *to = active + place(row, bytes * column, bytes * next->rows);
    if (bytes == BF16) {
        _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(x));
        return;
    }
    const __m512 steps = _mm512_fmadd_ps(x, _mm512_loadu_ps(next->by + column),
                                         _mm512_set1_ps(next->zero));
    /* Before it is a whole number: one that does not fit in would be the least there is. */
    const __m512 below = _mm512_min_ps(_mm512_set1_ps(255), steps);
    const __m512i whole = _mm512_max_epi32(_mm512_cvtps_epi32(below), _mm512_setzero_si512());
    _mm_storeu_si128((__m128i *)to, _mm512_cvtusepi32_epi8(whole));
}

VECTORS INLINE void finish(const int32_t *found, int first, int count, int column,
                           const linear *by, const destination *to, enum after kind,
                           enum bytes bytes) {
    for (int from = column; from < column + PAIR; from += SIDE, found += SIDE) {
        const __m512 shift = _mm512_loadu_ps(by->shift + from);
        const __m512 scale = bytes == WHOLE ? _mm512_loadu_ps(by->scale + from) : shift;
        for (int row = 0; row < count; row++) {
            const size_t at = (size_t)(first + row) * by->columns + from;
            const __m512i sum = _mm512_loadu_si512(found + row * PAIR);
            const __m512 x = bytes == WHOLE
                                 ? _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scale, shift)
                                 : _mm512_add_ps(_mm512_castsi512_ps(sum), shift);
            if (kind == ROUNDED)
                _mm256_storeu_si256((__m256i *)(to->rounded + at),
                                    (__m256i)_mm512_cvtneps_pbh(x));
            else if (kind == ACTIVATED)
                put(to->active, first + row, from, to->next, gelu(x), bytes);
            else
                _mm512_storeu_ps(to->sums + at, _mm512_add_ps(x, _mm512_loadu_ps(to->sums + at)));
        }
    }
}

typedef void finisher(const int32_t *found, int first, int count, int column, const linear *by,
                      const destination *to);

#define FINISHER(name, kind, bytes)                                                               \
    VECTORS static void name(const int32_t *found, int first, int count, int column,              \
                             const linear *by, const destination *to) {                           \
        finish(found, first, count, column, by, to, kind, bytes);                                 \
    }

FINISHER(whole_rounded, ROUNDED, WHOLE)
FINISHER(whole_activated, ACTIVATED, WHOLE)
FINISHER(whole_added, ADDED, WHOLE)
FINISHER(bf16_rounded, ROUNDED, BF16)
FINISHER(bf16_activated, ACTIVATED, BF16)
FINISHER(bf16_added, ADDED, BF16)

static finisher *const finishers[][3] = {
    [WHOLE] = {[ROUNDED] = whole_rounded, [ACTIVATED] = whole_activated, [ADDED] = whole_added},
    [BF16] = {[ROUNDED] = bf16_rounded, [ACTIVATED] = bf16_activated, [ADDED] = bf16_added},
};
static product *const products[][2] = {
    [WHOLE] = {whole_by_vectors, whole_by_tiles},
    [BF16] = {bf16_by_vectors, bf16_by_tiles},
};

/* A linear layer over `total` rows of activations. */
typedef struct {
    const linear *by;
    const uint8_t *active;
    int total;
    const destination *to;
    int level, group, hands;
} multiplication;

/* A group of columns. */
static void multiply_group(const void *what, int part) {
    _Alignas(64) int32_t found[PAIR * PAIR];
    const multiplication *of = what;
    const linear *by = of->by;
    product *const way = products[by->bytes][of->level == AMX];
    finisher *const then = finishers[by->bytes][of->to->kind];
    const int width = by->rows * by->bytes, start = part * of->group;
    const int end = start + of->group < by->columns ? start + of->group : by->columns;
    for (int row = 0; row < of->total; row += PAIR) {
        const int count = of->total - row < PAIR ? of->total - row : PAIR;
        for (int column = start; column < end; column += PAIR) {
            const uint8_t *weights = by->weights + (size_t)column * width;
            /* The next ones come from far: the first two blocks of rows call them, half each. */
            const uint8_t *soon = NULL;
            const int next = of->hands * of->group;
            if (row <= PAIR && column + next < by->columns)
                soon = weights + (size_t)(next + row / 2) * width;
            way(found, of->active + (size_t)row * width, weights, width / DEEP, count, soon);
            then(found, row, count, column, by, of->to);
        }
    }
}

/* Rows up to a multiple of PAIR may be anything. */
static void multiply(team *by_whom, const linear *by, const uint8_t *active, int total,
                     const destination *to, int level) {
    const int pairs = by->columns / PAIR, whole = PANEL / (PAIR * by->rows), many = hands(by_whom);
    int group = whole ? whole : 1;
    while (many > 1 && group > 1 && (pairs + group - 1) / group < EVEN * many)
        group /= 2;
    const multiplication of = {by, active, total, to, level, PAIR * group, many};
    together(by_whom, multiply_group, &of, (pairs + group - 1) / group);
}

#endif
#endif
