/* Attention of BERT and DeBERTa over texts of different lengths, in bf16, for one thread.
 *
 * A graph of a library's operations does this in some fifteen steps a layer, each through memory
 * and padded to the longest text. Here sixteen queries at a time meet the keys of their own text
 * while the scores are in the nearest cache. Products are of bf16 and summed in fp32: by AMX where
 * there is AMX, else by AVX-512 BF16; both read the same layouts.
 *
 * In DeBERTa the score of query i and key j, at the distance i - j, is the sum of three products:
 * of the query and the key, of the query and the row of `key` for the distance, and of the key and
 * the row of `query` for it. The latter two are made by distance and read along their diagonals.
 *
 * attention.py says what goes in and out.
 */
#include "product.h"

#if defined(__x86_64__) && defined(__linux__)

#define FAR -1e30f /* a score that weighs nothing */

/* What is computed with, of one head. */
typedef struct {
    product *multiply;
    int width;     /* of a head */
    int wide;      /* positions of the longest text, in whole steps */
    int distances; /* columns of `ahead`, rows of `behind` */
    bf16 *queries, *keys;
    uint32_t *turned; /* keys, as the right side of a product */
    uint32_t *values; /* the same */
    uint32_t *ahead;  /* the table `key`: column c is for the distance wide - 1 - c */
    bf16 *behind;     /* the table `query`: row r is for the distance r - wide */
    float *scores;    /* SIDE queries by all keys */
    float *diagonal;  /* SIDE queries by all distances of their block */
    float *backward;  /* for each SIDE keys, 2 SIDE distances by SIDE keys */
    bf16 *weights;    /* SIDE queries by all keys, e to the score */
    float *seen;      /* SIDE queries by width, and what each is to be multiplied with */
} head;

static int up(int size, int step) { return (size + step - 1) / step * step; }

VECTORS static __mmask16 lanes(int count) {
    return count >= SIDE ? 0xffff : (__mmask16)((1u << count) - 1);
}

VECTORS static __m512i counted(void) {
    return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

/* Queries and keys of a text side by side, keys and values as right sides; zeros behind the last. */
VECTORS static void load(const head *at, const bf16 *mixed, int model, int size) {
    const int width = at->width, rows = up(size, STEP), pitch = 3 * model;
    const size_t line = width * sizeof(bf16);
    for (int row = 0; row < size; row++) {
        const bf16 *one = mixed + (size_t)row * pitch;
        memcpy(at->queries + row * width, one, line);
        memcpy(at->keys + row * width, one + model, line);
    }
    memset(at->queries + size * width, 0, (rows - size) * line);
    memset(at->keys + size * width, 0, (rows - size) * line);
    const __m512i places = _mm512_mullo_epi32(counted(), _mm512_set1_epi32(width / 2));
    for (int row = 0; row < rows; row += SIDE)
        for (int pair = 0; pair < width / 2; pair++) {
            const int *from = (const int *)(at->keys + row * width) + pair;
            _mm512_storeu_si512(at->turned + pair * rows + row,
                                _mm512_i32gather_epi32(places, from, 4));
        }
    const __m512i order =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    for (int row = 0; row < rows; row += 2)
        for (int from = 0; from < width; from += SIDE) {
            const bf16 *one = mixed + (size_t)row * pitch + 2 * model + from;
            __m256i even = _mm256_setzero_si256(), odd = even;
            if (row < size)
                even = _mm256_loadu_si256((const __m256i *)one);
            if (row + 1 < size)
                odd = _mm256_loadu_si256((const __m256i *)(one + pitch));
            const __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(even), odd, 1);
            _mm512_storeu_si512(at->values + row / 2 * width + from,
                                _mm512_permutexvar_epi16(order, both));
        }
}

/* The rows of both tables for the distances that texts of up to `longest` positions have. */
VECTORS static void place(const head *at, const uint32_t *key, const bf16 *query, int table,
                          const int32_t *rows, int longest) {
    const int width = at->width, count = 2 * longest - 1;
    for (int column = 0; column < count; column++)
        memcpy(at->behind + (size_t)(at->wide + longest - 1 - column) * width,
               query + (size_t)rows[column] * width, width * sizeof(bf16));
    for (int pair = 0; pair < width / 2; pair++) {
        uint32_t *to = at->ahead + (size_t)pair * at->distances + at->wide - longest;
        for (int from = 0; from < count; from += SIDE) {
            const __mmask16 real = lanes(count - from);
            const __m512i found = _mm512_mask_i32gather_epi32(
                _mm512_setzero_si512(), real, _mm512_maskz_loadu_epi32(real, rows + from),
                (const int *)(key + (size_t)pair * table), 4);
            _mm512_mask_storeu_epi32(to + from, real, found);
        }
    }
}

/* e to the x, of at most 0: its whole powers of 2 by the exponent, the rest by a polynomial. What is
 * no number stays none: of two such operands a maximum gives the second. */
VECTORS static __m512 exponential(__m512 x) {
    x = _mm512_mul_ps(_mm512_max_ps(_mm512_set1_ps(-87), x), _mm512_set1_ps(1.44269504f));
    const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 rest = _mm512_sub_ps(x, whole);
    __m512 power = _mm512_set1_ps(1.33335581e-3f);
    power = _mm512_fmadd_ps(power, rest, _mm512_set1_ps(9.61812911e-3f));
    power = _mm512_fmadd_ps(power, rest, _mm512_set1_ps(5.55041087e-2f));
    power = _mm512_fmadd_ps(power, rest, _mm512_set1_ps(2.40226507e-1f));
    power = _mm512_fmadd_ps(power, rest, _mm512_set1_ps(6.93147181e-1f));
    power = _mm512_fmadd_ps(power, rest, _mm512_set1_ps(1));
    return _mm512_scalef_ps(power, whole);
}

/* The products of a block of queries with all keys and with all distances. */
static void score(const head *at, int block, int blocks, int rows, int relative) {
    const int width = at->width, steps = width / STEP, pitch = at->wide + STEP, first = block * SIDE;
    const bf16 *asked = at->queries + first * width;
    at->multiply(at->scores, pitch, asked, width, at->turned, rows, steps, blocks);
    if (!relative)
        return;
    /* Column c of the diagonal is for the distance first + SIDE - 1 - c. */
    at->multiply(at->diagonal, pitch, asked, width, at->ahead + at->wide - SIDE - first,
                 at->distances, steps, blocks + 1);
    /* A block of keys needs 2 SIDE - 1 distances, half of which the queries before have left. */
    for (int other = 0; other < blocks; other++)
        for (int tile = block - other - !block; tile <= block - other; tile++)
            at->multiply(at->backward + (2 * other + (tile & 1)) * SIDE * SIDE, SIDE,
                         at->behind + (at->wide + tile * SIDE) * width, width,
                         at->turned + other * SIDE, rows, steps, 1);
}

/* What positions of a block of keys add to SIDE queries, from where `score` left it by distance:
 * row i of `added` is for query i, and its column j for key j has what row i - j of the distances
 * has in that column. Each column moves down by its number, in steps of 8, 4, 2 and 1. */
VECTORS static void shift(__m512 added[SIDE], const float *backward, int distance) {
    enum { BEFORE = SIDE - 1 }; /* rows for keys behind the query */
    __m512 moved[BEFORE + SIDE];
#pragma GCC unroll 31
    for (int row = 0; row < BEFORE + SIDE; row++) {
        const int place = (distance + row - BEFORE) & (2 * SIDE - 1);
        moved[row] = _mm512_loadu_ps(backward + place * SIDE);
    }
    /* From the last row on: those above have not moved yet. */
#pragma GCC unroll 31
    for (int row = BEFORE + SIDE - 1; row >= 8; row--)
        moved[row] = _mm512_mask_mov_ps(moved[row], 0xff00, moved[row - 8]);
#pragma GCC unroll 31
    for (int row = BEFORE + SIDE - 1; row >= 12; row--)
        moved[row] = _mm512_mask_mov_ps(moved[row], 0xf0f0, moved[row - 4]);
#pragma GCC unroll 31
    for (int row = BEFORE + SIDE - 1; row >= 14; row--)
        moved[row] = _mm512_mask_mov_ps(moved[row], 0xcccc, moved[row - 2]);
#pragma GCC unroll 31
    for (int row = BEFORE + SIDE - 1; row >= BEFORE; row--)
        added[row - BEFORE] = _mm512_mask_mov_ps(moved[row], 0xaaaa, moved[row - 1]);
}

/* Scores of a block of queries with all that positions add; for each the largest of each lane. */
VECTORS static void add_positions(const head *at, int first, int size, int relative,
                                  __m512 most[SIDE]) {
    const int pitch = at->wide + STEP;
    for (int row = 0; row < SIDE; row++)
        most[row] = _mm512_set1_ps(FAR);
    for (int from = 0; from < size; from += SIDE) {
        const __mmask16 real = lanes(size - from);
        __m512 added[SIDE];
        if (relative)
            shift(added, at->backward + from * 2 * SIDE, first - from);
        for (int row = 0; row < SIDE; row++) {
            float *scores = at->scores + row * pitch + from;
            __m512 found = _mm512_loadu_ps(scores);
            if (relative) {
                const float *diagonal = at->diagonal + row * (pitch - 1) + SIDE - 1 + from;
                found = _mm512_add_ps(found, _mm512_loadu_ps(diagonal));
                found = _mm512_add_ps(found, added[row]);
            }
            found = _mm512_mask_mov_ps(_mm512_set1_ps(FAR), real, found);
            most[row] = _mm512_max_ps(most[row], found);
            _mm512_storeu_ps(scores, found);
        }
    }
}

/* One text: of each block of queries its scores, their softmax, and the values by that. */
VECTORS static void see(const head *at, bf16 *out, int model, int size, int relative) {
    const int width = at->width, rows = up(size, STEP), blocks = up(size, SIDE) / SIDE;
    float *shares = at->seen + SIDE * width;
    for (int block = 0; block < blocks; block++) {
        const int first = block * SIDE, count = size - first < SIDE ? size - first : SIDE;
        __m512 largest[SIDE];
        score(at, block, blocks, rows, relative);
        add_positions(at, first, size, relative, largest);
        for (int row = 0; row < count; row++) {
            const __m512 most = _mm512_set1_ps(_mm512_reduce_max_ps(largest[row]));
            const float *scores = at->scores + row * (at->wide + STEP);
            __m512 sum = _mm512_setzero_ps();
            for (int from = 0; from < rows; from += STEP) {
                __m512 low = exponential(_mm512_sub_ps(_mm512_loadu_ps(scores + from), most));
                __m512 high = _mm512_setzero_ps();
                if (from + SIDE < size)
                    high = exponential(_mm512_sub_ps(_mm512_loadu_ps(scores + from + SIDE), most));
                sum = _mm512_add_ps(sum, _mm512_add_ps(low, high));
                _mm512_storeu_si512(at->weights + row * rows + from,
                                    (__m512i)_mm512_cvtne2ps_pbh(high, low));
            }
            shares[row] = 1 / _mm512_reduce_add_ps(sum);
        }
        at->multiply(at->seen, width, at->weights, rows, at->values, width, rows / STEP,
                     width / SIDE);
        for (int row = 0; row < count; row++)
            for (int from = 0; from < width; from += SIDE) {
                const __m512 seen = _mm512_loadu_ps(at->seen + row * width + from);
                const __m512 shared = _mm512_mul_ps(seen, _mm512_set1_ps(shares[row]));
                _mm256_storeu_si256((__m256i *)(out + (size_t)(first + row) * model + from),
                                    (__m256i)_mm512_cvtneps_pbh(shared));
            }
    }
}

/* All heads of a layer. */
typedef struct {
    const attending *of;
    int longest;
    _Atomic int failed;
} layer;

/* Where a thread has what it computes with; 0 where there is too little memory. Zeros at first in
 * each pass: what is behind the last row of a tile weighs nothing but must be a number. */
static int prepare(head *at, const attending *of, int longest) {
    *at = (head){.multiply = of->level == AMX ? by_tiles : by_vectors,
                 .width = of->width,
                 .wide = up(longest, STEP)};
    at->distances = 2 * at->wide + STEP;
    const size_t states = (size_t)at->wide * at->width * sizeof(bf16);
    const size_t band = of->key ? (size_t)at->distances * at->width * sizeof(bf16) : 0;
    const size_t lines = (size_t)SIDE * (at->wide + STEP) * sizeof(float);
    const size_t pairs = (size_t)at->wide * 2 * SIDE * sizeof(float);
    const size_t block = (size_t)SIDE * (at->width + 1) * sizeof(float);
    const size_t all = 4 * states + 2 * band + 3 * lines + pairs + block + 11 * 64;
    struct {
        uint64_t pass;
        size_t size;
    } *cleared;
    char *next = scratch(HEAD, sizeof *cleared + 64 + all);
    if (!next)
        return 0;
    cleared = taken(&next, sizeof *cleared);
    if (cleared->pass != of->pass || cleared->size != all) {
        memset(next, 0, all);
        cleared->pass = of->pass, cleared->size = all;
    }
    at->queries = taken(&next, states), at->keys = taken(&next, states);
    at->turned = taken(&next, states), at->values = taken(&next, states);
    at->ahead = taken(&next, band), at->behind = taken(&next, band);
    at->scores = taken(&next, lines), at->diagonal = taken(&next, lines);
    at->weights = taken(&next, lines), at->backward = taken(&next, pairs);
    at->seen = taken(&next, block);
    return 1;
}

static void attend_head(const void *what, int number) {
    layer *whole = (layer *)what;
    const attending *of = whole->of;
    const int width = of->width, model = of->heads * width;
    const bf16 *from = of->mixed + number * width;
    bf16 *to = of->out + number * width;
    head at;
    if (!prepare(&at, of, whole->longest)) {
        whole->failed = 1;
        return;
    }
    if (of->key)
        place(&at, of->key + (size_t)number * width / 2 * of->table,
              of->query + (size_t)number * of->table * width, of->table,
              of->rows + of->furthest - whole->longest, whole->longest);
    for (int text = 0; text < of->texts; text++) {
        const int size = of->sizes[text];
        load(&at, from, model, size);
        see(&at, to, model, size, of->key != NULL);
        from += (size_t)size * 3 * model, to += (size_t)size * model;
    }
}

int attend(team *team, const attending *of) {
    layer whole = {.of = of};
    const int model = of->heads * of->width;
    int used = 0;
    for (int text = 0; text < of->texts; text++) {
        whole.longest = of->sizes[text] > whole.longest ? of->sizes[text] : whole.longest;
        used += of->sizes[text];
    }
    memset(of->out + (size_t)used * model, 0,
           (size_t)(of->total - used) * model * sizeof *of->out);
    together(team, attend_head, &whole, of->heads);
    return whole.failed;
}

uint64_t new_pass(void) {
    static _Atomic uint64_t passes;
    return ++passes;
}

EXPORT int attention(const bf16 *mixed, bf16 *out, int total, const int32_t *sizes, int texts,
                     int heads, int width, const uint32_t *key, const bf16 *query, int table,
                     const int32_t *rows, int furthest, int level) {
    if (level == AMX)
        configure();
    const int failed = attend(NULL, &(attending){mixed, out, total, sizes, texts, heads, width, key,
                                                 query, table, rows, furthest, level, new_pass()});
    if (level == AMX)
        release();
    return failed;
}

#endif
