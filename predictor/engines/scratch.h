/* Memory that the calling thread keeps from pass to pass, until it ends.
 *
 * glibc before 2.38 does not find again what it has allocated to a boundary: passes of one size would
 * take more and more. And each page that comes anew costs a fault.
 */
#ifndef SCRATCH_H
#define SCRATCH_H

#include <stddef.h>

enum use { PASS, HEAD };

/* To 64 bytes, which are zeros where it is new: it is what it was where that was enough. NULL where
 * there is too little. */
char *scratch(enum use use, size_t size);

#endif
