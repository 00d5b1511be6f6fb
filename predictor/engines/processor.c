/* What the processor multiplies with. */
#include "kernels.h"

EXPORT int attention_form(void) { return FORM; }

#if defined(__x86_64__) && defined(__linux__)

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Asked of the processor itself: what compilers bring for this is not the same in all of them. */
EXPORT int attention_level(void) {
    enum { BF16 = 1 << 5, VNNI = 1 << 11, SAVED = 0xe6 };
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, AMX_INT8 = 1 << 25 };
    enum { F = 1 << 16, DQ = 1 << 17, BW = 1 << 30 };
    const unsigned vl = 1u << 31, vectors = F | DQ | BW | vl, tiles = AMX_BF16 | AMX_TILE | AMX_INT8;
    unsigned eax, ebx, ecx, edx, more, saved, high;
    if (!__get_cpuid_count(1, 0, &eax, &ebx, &ecx, &edx) || !(ecx & bit_OSXSAVE))
        return NEITHER;
    /* Registers that the kernel keeps when it changes threads. */
    __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    if (!__get_cpuid_count(7, 1, &more, &ebx, &ecx, &edx) ||
        !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || (saved & SAVED) != SAVED ||
        (ebx & vectors) != vectors || !(more & BF16) || !(ecx & VNNI))
        return NEITHER;
    /* Those of AMX it keeps for processes that have asked. */
    enum { REQUEST = 0x1023, TILE_DATA = 18 };
    if ((edx & tiles) == tiles && syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0)
        return AMX;
    return AVX512;
}

#else

EXPORT int attention_level(void) { return NEITHER; }

#endif
