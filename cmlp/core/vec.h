/* Words that Cython has no way to say. vf and vd are one SIMD register of floats and of doubles; VECTOR_BYTES, its width,
   comes from setup.py with the instruction set. Without it, or without vector types, a register holds one number. */
#if defined(__GNUC__) && defined(VECTOR_BYTES)
typedef float vf __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
typedef double vd __attribute__((vector_size(VECTOR_BYTES), aligned(8), may_alias));
#else
typedef float vf;
typedef double vd;
#endif
#ifndef TILE_ROWS
#define TILE_ROWS 6
#endif

/* 16 bytes of floats and of doubles, which every instruction set has, and how two of them are dealt into one another:
   a0 b0 a1 b1 ... Their first halves make the low one, their second halves the high one. */
#ifdef __has_builtin
#if __has_builtin(__builtin_shufflevector)
#define HAS_SHUFFLES 1
#endif
#endif
#ifdef HAS_SHUFFLES
typedef float quad __attribute__((vector_size(16), aligned(4), may_alias));
typedef double pair __attribute__((vector_size(16), aligned(8), may_alias));
#define deal_quads_low(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define deal_quads_high(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#define deal_pairs_low(a, b) __builtin_shufflevector(a, b, 0, 2)
#define deal_pairs_high(a, b) __builtin_shufflevector(a, b, 1, 3)
#else
#define HAS_SHUFFLES 0
typedef float quad;
typedef double pair;
#define deal_quads_low(a, b) (a)
#define deal_quads_high(a, b) (a)
#define deal_pairs_low(a, b) (a)
#define deal_pairs_high(a, b) (a)
#endif

/* The bits of a float, and of a double or two floats side by side. */
#include <stdint.h>
#if defined(__GNUC__)
typedef uint32_t word32 __attribute__((may_alias));
typedef uint64_t word64 __attribute__((may_alias, aligned(4)));
#else
typedef uint32_t word32;
typedef uint64_t word64;
#endif

/* In place of void: a function whose body is to stand at each call, where some of what it is given is constant; and one whose
   body is to stand once, since it is large. That an address is soon to be read; and that the compiler is to forget what a
   pointer was made of, or it may make it anew wherever it is used. */
#if defined(__GNUC__)
#define inlined __attribute__((always_inline)) void
#define shared __attribute__((noinline)) void
#define prefetch(address) __builtin_prefetch(address)
#define prefetch_far(address) __builtin_prefetch(address, 0, 2)
#define opaque(pointer) __asm__("" : "+r"(pointer))
#else
#define inlined void
#define shared void
#define prefetch(address) (void)(address)
#define prefetch_far(address) (void)(address)
#define opaque(pointer) (void)(pointer)
#endif

/* What threads need to wait for each other: POSIX's locks, and the compiler's atomic operations. */
#if defined(__GNUC__)
#include <pthread.h>
#define HAS_THREADS 1
#else
#define HAS_THREADS 0
typedef int pthread_t, pthread_mutex_t, pthread_cond_t;
#define pthread_create(thread, options, run, with) 1
#define pthread_detach(thread) (void)(thread)
#define pthread_mutex_init(lock, options) (*(lock) = 0)
#define pthread_cond_init(condition, options) (*(condition) = 0)
#define pthread_mutex_lock(lock) (void)(lock)
#define pthread_mutex_unlock(lock) (void)(lock)
#define pthread_cond_wait(condition, lock) (void)(condition)
#define pthread_cond_broadcast(condition) (void)(condition)
#define __atomic_load_n(number, order) (*(number))
#define __atomic_store_n(number, value, order) (*(number) = (value))
#define __atomic_add_fetch(number, value, order) (*(number) += (value))
#define __atomic_compare_exchange_n(number, expected, value, weak, order, otherwise) \
    (*(number) == *(expected) ? (*(number) = (value), 1) : 0)
#endif

/* That the thread is waiting in a loop; that another may have its processor. */
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
#define relax() __builtin_ia32_pause()
#elif defined(__GNUC__) && defined(__aarch64__)
#define relax() __asm__ volatile("yield")
#else
#define relax() (void)0
#endif
#if defined(__GNUC__)
#include <sched.h>
#define give_way() sched_yield()
#else
#define give_way() (void)0
#endif

/* How this thread's arithmetic goes, and the bits of that which let it take denormal numbers for 0, and give none. */
#if defined(__GNUC__) && defined(__SSE__)
#define FLUSHES 0x8040UL
#define float_mode() ((unsigned long)__builtin_ia32_stmxcsr())
#define set_float_mode(mode) __builtin_ia32_ldmxcsr((unsigned int)(mode))
#elif defined(__GNUC__) && defined(__aarch64__)
#define FLUSHES (1UL << 24)
static inline unsigned long float_mode(void)
{
    unsigned long mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
#define set_float_mode(mode) __asm__ volatile("msr fpcr, %0" : : "r"((unsigned long)(mode)))
#else
#define FLUSHES 0UL
#define float_mode() 0UL
#define set_float_mode(mode) (void)(mode)
#endif

/* Seconds on a clock that never goes back. */
#include <time.h>
#if defined(CLOCK_MONOTONIC)
static inline double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + 1e-9 * now.tv_nsec;
}
#else
#define seconds() ((double)clock() / CLOCKS_PER_SEC)
#endif

/* Keep a thread off the processor that the calling one is on, here. A virtual machine's idle processors look busy to Linux, which
   then wakes the thread behind the one that it is to work beside. */
#if defined(__linux__) && defined(__GNUC__)
#define processor() sched_getcpu()
static inline void keep_off(pthread_t thread, int here)
{
    cpu_set_t processors;
    if (here < 0 || sched_getaffinity(0, sizeof(processors), &processors) != 0)
        return;
    if (CPU_COUNT(&processors) > 1)
        CPU_CLR(here, &processors);
    pthread_setaffinity_np(thread, sizeof(processors), &processors);
}
#else
#define processor() (-1)
#define keep_off(thread, here) (void)(thread)
#endif

/* How many threads OpenMP would use; without it, any number. */
#if defined(__GNUC__) && defined(_OPENMP)
#include <omp.h>
#define HAS_OPENMP 1
#define thread_limit() omp_get_max_threads()
#else
#define HAS_OPENMP 0
#define thread_limit() 2147483647
#endif
