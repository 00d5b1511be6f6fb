/* See scratch.h. */
#include "scratch.h"

#if defined(__x86_64__) && defined(__linux__)

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BOUNDARY = 64, START = 64 };

#ifdef __SANITIZE_ADDRESS__
enum { EXACT = 1 }; /* so that nobody writes behind the end unseen */
#else
enum { EXACT = 0 };
#endif

typedef struct {
    char *whole;
    size_t size;
} block;

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int failed;

static void drop(void *blocks) {
    for (int use = PASS; use <= HEAD; use++)
        free(((block *)blocks)[use].whole);
    free(blocks);
}

static void make(void) { failed = pthread_key_create(&key, drop); }

char *scratch(enum use use, size_t size) {
    pthread_once(&once, make);
    if (failed)
        return NULL;
    block *own = pthread_getspecific(key);
    if (!own) {
        own = calloc(HEAD + 1, sizeof *own);
        if (!own || pthread_setspecific(key, own)) {
            free(own);
            return NULL;
        }
    }
    own += use;
    size = size < START ? START : size;
    if (own->size < size || EXACT) {
        free(own->whole);
        *own = (block){.whole = malloc(size + BOUNDARY), .size = size};
        if (!own->whole) {
            own->size = 0;
            return NULL;
        }
        memset(own->whole, 0, START + BOUNDARY);
    }
    return own->whole + (BOUNDARY - (uintptr_t)own->whole % BOUNDARY) % BOUNDARY;
}

#endif
