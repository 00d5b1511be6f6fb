/* See team.h. */
#include "team.h"

#include "kernels.h"

#if defined(__x86_64__) && defined(__linux__)

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

enum { MOST = 64, SPINS = 1000, CALM = 1000 };

/* A step of a pass. How and what stand still from the moment at which its number is shown until its
 * last part is done, so whoever takes a part of that number has read those of its step. */
struct team {
    _Alignas(64) _Atomic uint64_t next; /* 32 bits of number, 16 of parts, 16 of the next part */
    _Atomic(work *) how;
    _Atomic(const void *) what;
    _Alignas(64) _Atomic int done;
    _Atomic int most; /* threads that may be at work on it */
    int used;
};

static team teams[MOST];
static _Atomic int passes, cores = 1, calm = 1;
static int helpers;
static int64_t crowded = -CALM; /* when there was last a pass for every core, in milliseconds */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

#define RELAXED memory_order_relaxed
#define ACQUIRE memory_order_acquire
#define RELEASE memory_order_release

/* Take the next part of a step and do it; 0 where none is left. */
static int take(team *of) {
    uint64_t next = atomic_load_explicit(&of->next, ACQUIRE);
    for (;;) {
        work *how = atomic_load_explicit(&of->how, RELAXED);
        const void *what = atomic_load_explicit(&of->what, RELAXED);
        const int part = next & 0xffff, parts = next >> 16 & 0xffff;
        if (part >= parts)
            return 0;
        if (atomic_compare_exchange_weak_explicit(&of->next, &next, next + 1, ACQUIRE, ACQUIRE)) {
            how(what, part);
            atomic_fetch_add_explicit(&of->done, 1, RELEASE);
            return 1;
        }
    }
}

/* Wait a moment: not at all at first, then for whoever needs the processor. */
static void pause_at(int turn) {
    if (turn % SPINS)
        _mm_pause();
    else
        sched_yield();
}

/* Whether a helper, from 1 on, has a core to itself while somebody can use it. */
static int wanted(int helper) {
    const int running = atomic_load_explicit(&passes, RELAXED);
    return running && running + helper <= atomic_load_explicit(&cores, RELAXED) &&
           atomic_load_explicit(&calm, RELAXED);
}

/* With the lock held: one pass more or less. Between passes of many callers a core is idle for a
 * moment, which it takes to answer and to read: who helped then would only be in the way. */
static void count(int change) {
    const int before = atomic_fetch_add_explicit(&passes, change, RELAXED);
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    const int64_t now = (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
    if ((change > 0 ? before + 1 : before) >= atomic_load_explicit(&cores, RELAXED))
        crowded = now;
    atomic_store_explicit(&calm, now - crowded >= CALM, RELAXED);
    if (atomic_load_explicit(&calm, RELAXED))
        pthread_cond_broadcast(&changed);
}

static void *help(void *number) {
    const int helper = (int)(intptr_t)number, tiles = attention_level() == AMX;
    for (;;) {
        pthread_mutex_lock(&lock);
        while (!wanted(helper))
            pthread_cond_wait(&changed, &lock);
        pthread_mutex_unlock(&lock);
        if (tiles)
            configure();
        for (int turn = 1; wanted(helper);) {
            int took = 0;
            for (int at = 0; at < atomic_load_explicit(&cores, RELAXED); at++)
                if (helper < atomic_load_explicit(&teams[at].most, RELAXED))
                    took |= take(&teams[at]);
            if (took)
                turn = 1;
            else
                pause_at(turn++);
        }
        if (tiles)
            release();
    }
    return NULL;
}

/* With the lock held. Where no thread can be made there are fewer. */
static void gather(int wanted_cores) {
    sigset_t all, before;
    pthread_t thread;
    pthread_attr_t apart;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for Python's threads */
    pthread_attr_init(&apart);
    pthread_attr_setdetachstate(&apart, PTHREAD_CREATE_DETACHED);
    while (helpers < wanted_cores - 1 &&
           !pthread_create(&thread, &apart, help, (void *)(intptr_t)(helpers + 1)))
        helpers++;
    pthread_attr_destroy(&apart);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (helpers + 1 > atomic_load_explicit(&cores, RELAXED))
        atomic_store_explicit(&cores, helpers + 1, RELAXED);
}

team *enter(int wanted_cores) {
    team *of = NULL;
    wanted_cores = wanted_cores < MOST ? wanted_cores : MOST;
    pthread_mutex_lock(&lock);
    if (wanted_cores > atomic_load_explicit(&cores, RELAXED))
        gather(wanted_cores);
    for (int at = 0; at < wanted_cores && wanted_cores > 1 && !of; at++)
        if (!teams[at].used)
            of = &teams[at];
    if (of) {
        of->used = 1;
        atomic_store_explicit(&of->most, wanted_cores, RELAXED);
    }
    count(1);
    pthread_mutex_unlock(&lock);
    return of;
}

void leave(team *of) {
    pthread_mutex_lock(&lock);
    if (of)
        of->used = 0;
    count(-1);
    pthread_mutex_unlock(&lock);
}

int hands(const team *of) {
    const int idle =
        atomic_load_explicit(&cores, RELAXED) - atomic_load_explicit(&passes, RELAXED);
    if (!of || idle <= 0 || !atomic_load_explicit(&calm, RELAXED))
        return 1;
    const int most = atomic_load_explicit(&of->most, RELAXED);
    return 1 + idle < most ? 1 + idle : most;
}

void together(team *of, work *how, const void *what, int parts) {
    if (hands(of) == 1 || parts > 0xffff) {
        for (int part = 0; part < parts; part++)
            how(what, part);
        return;
    }
    const uint64_t number = (atomic_load_explicit(&of->next, RELAXED) >> 32) + 1;
    atomic_store_explicit(&of->how, how, RELAXED);
    atomic_store_explicit(&of->what, what, RELAXED);
    atomic_store_explicit(&of->done, 0, RELAXED);
    atomic_store_explicit(&of->next, number << 32 | (uint64_t)parts << 16, RELEASE);
    while (take(of))
        continue;
    for (int turn = 1; atomic_load_explicit(&of->done, ACQUIRE) < parts; turn++)
        pause_at(turn);
}

#endif
