/* What attention.c and encoder.c share. */
#ifndef KERNELS_H
#define KERNELS_H

#include "team.h"

#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))
enum { NEITHER, AVX512, AMX };

/* Of what Python gives and gets: raised, there too, with each change of an exported function or of a
 * struct that it fills, so that what was built of other sources is not used. */
enum { FORM = 1 };

typedef uint16_t bf16;

int attention_level(void);

/* Attention of one layer. See attention.py; `pass` is another number for each. */
typedef struct {
    const bf16 *mixed;
    bf16 *out;
    int total;
    const int32_t *sizes;
    int texts, heads, width;
    const uint32_t *key;
    const bf16 *query;
    int table;
    const int32_t *rows;
    int furthest, level;
    uint64_t pass;
} attending;

uint64_t new_pass(void);

/* By all who help, in whose tiles everything has its place. 0 where all went well. */
int attend(team *team, const attending *of);

#if defined(__x86_64__) && defined(__linux__)

#include "scratch.h"

#include <immintrin.h>
#include <string.h>

#define SIDE 16 /* rows of a tile; numbers in a register */
#define DEEP 64 /* bytes in a row of a tile */
#define TILE (SIDE * DEEP)
#define VECTORS __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni")))
#define TILES __attribute__((target("amx-tile,amx-bf16,amx-int8,avx512f")))
#define INLINE static inline __attribute__((always_inline))

/* Eight tiles, all whole. Static: GCC 12 does not see that it is read. */
static const struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} configuration = {.palette = 1,
                   .bytes = {DEEP, DEEP, DEEP, DEEP, DEEP, DEEP, DEEP, DEEP},
                   .rows = {SIDE, SIDE, SIDE, SIDE, SIDE, SIDE, SIDE, SIDE}};

TILES static inline void configure(void) { _tile_loadconfig(&configuration); }

TILES static inline void release(void) { _tile_release(); }

/* Memory for one of several arrays, from what was allocated for all. */
INLINE void *taken(char **from, size_t size) {
    char *here = *from;
    *from += (size + 63) / 64 * 64;
    return here;
}

#endif
#endif
