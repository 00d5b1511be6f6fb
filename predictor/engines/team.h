/* Threads that help a pass while cores are idle.
 *
 * Each pass computes on the thread that called it. Where fewer passes run than there are cores, the
 * others help: a step of a pass is cut into parts, and whoever is free takes the next. Nobody is
 * waited for who has not taken one, so a helper that gets no processor costs nothing; and helpers
 * rest as soon as another pass needs their core. They last as long as the process.
 */
#ifndef TEAM_H
#define TEAM_H

/* What is done of a part, from 0 on. */
typedef void work(const void *what, int part);

typedef struct team team;

/* Begin a pass on the calling thread, where `cores` may be used in all; NULL for one without help. */
team *enter(int cores);

void leave(team *of);

/* How many threads may be at work on a pass, with its own. */
int hands(const team *of);

/* Do all parts, each once, on the calling thread and those that help. */
void together(team *of, work *how, const void *what, int parts);

#endif
