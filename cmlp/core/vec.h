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

/* Whether a number from memory, for all of a register, can be part of the multiply-add that takes it. */
#ifdef __AVX512F__
#define BROADCASTS 1
#else
#define BROADCASTS 0
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

/* In place of void: a function whose body is to stand at each call, where some of what it is given is constant; one whose body is
   to stand by itself, since it is large; and one that is not even to be made again for some of what it is given. That an address
   is soon to be read; and that the compiler is to forget what a pointer was made of, or it may make it anew wherever it is used. */
#if defined(__GNUC__)
#define inlined __attribute__((always_inline)) void
#define shared __attribute__((noinline)) void
#if defined(__clang__)
#define sole shared
#else
#define sole __attribute__((noinline, noclone)) void
#endif
#define prefetch(address) __builtin_prefetch(address)
#define prefetch_far(address) __builtin_prefetch(address, 0, 2)
#define opaque(pointer) __asm__("" : "+r"(pointer))
#else
#define inlined void
#define shared void
#define sole void
#define prefetch(address) (void)(address)
#define prefetch_far(address) (void)(address)
#define opaque(pointer) (void)(pointer)
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
