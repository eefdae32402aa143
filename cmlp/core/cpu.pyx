# What this machine's processor can run. Built for every processor, and asked before anything that is not is imported.
cdef extern from *:
    """
    #if defined(__GNUC__) && defined(__x86_64__)
    /* Every processor that has the few named here has the rest of its level as well. */
    static int supports_x86_64(int level)
    {
        __builtin_cpu_init();
        return level == 2 ? __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt")
             : level == 3 ? __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")
             : level == 4 ? __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
                            && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
                            && __builtin_cpu_supports("avx512vl")
             : 0;
    }
    #else
    static int supports_x86_64(int level) { (void)level; return 0; }
    #endif
    """
    bint supports_x86_64(int level)


def x86_64_level():
    """The highest x86-64 microarchitecture level from 2 to 4 that the processor and the system run; 0 if they run none."""
    level = 0
    while level < 4 and supports_x86_64(max(level + 1, 2)):
        level = max(level + 1, 2)
    return level
