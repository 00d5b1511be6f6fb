/* Passes alone and at once, for a sanitizer to watch: every part of every step is done once, by the
 * pass's own thread or by one that helps. Prints how many parts helpers did while a pass was alone.
 */
#include "../predictor/engines/team.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

enum { PARTS = 12, STEPS = 500, PASSES = 20, THREADS = 4, CORES = 3, SECONDS = 20 };

typedef struct {
    int done[PARTS];
    pthread_t own;
} step;

static _Atomic int helped, wrong;

static void count(const void *what, int part) {
    step *of = (step *)what;
    of->done[part]++;
    if (!pthread_equal(pthread_self(), of->own))
        helped++;
    for (volatile int turn = 0; turn < 2000; turn++)
        continue;
}

static void pass(int steps) {
    team *of = enter(CORES);
    for (int number = 0; number < steps; number++) {
        step one = {.own = pthread_self()};
        together(of, count, &one, PARTS);
        for (int part = 0; part < PARTS; part++)
            wrong += one.done[part] != 1;
    }
    leave(of);
}

static void *passes(void *nothing) {
    for (int turn = 0; turn < PASSES; turn++)
        pass(STEPS / PASSES);
    return nothing;
}

int main(void) {
    const time_t end = time(NULL) + SECONDS;
    while (!helped && time(NULL) < end)
        pass(STEPS);
    const int alone = helped;
    pthread_t threads[THREADS];
    for (int one = 0; one < THREADS; one++)
        pthread_create(&threads[one], NULL, passes, NULL);
    for (int one = 0; one < THREADS; one++)
        pthread_join(threads[one], NULL);
    printf("%d wrong, helped: %s\n", wrong, alone ? "yes" : "no");
    return 0;
}
