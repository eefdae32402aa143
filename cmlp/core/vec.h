/* Words that Cython has no way to say. vf and vd are one SIMD register of floats and of doubles; VECTOR_BYTES, its width,
   comes from setup.py with the instruction set. Without it, or without vector types, a register holds one number. */
#include <stdint.h>
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
   a0 b0 a1 b1 ... Their first halves make the low one, their second halves the high one. With whole registers the same is done
   in each 16 bytes of them; `floats_of_quads` and `doubles_of_pairs` fill one from places so far apart. GCC has no shuffles
   before version 12: then all of these stand there only to be compiled. */
#if defined(__has_builtin) && defined(VECTOR_BYTES)
#if __has_builtin(__builtin_shufflevector)
#define HAS_SHUFFLES 1
#endif
#endif
#ifdef HAS_SHUFFLES
typedef float quad __attribute__((vector_size(16), aligned(4), may_alias));
typedef double pair __attribute__((vector_size(16), aligned(8), may_alias));
#define mix __builtin_shufflevector
#define deal_quads_low(a, b) mix(a, b, 0, 4, 1, 5)
#define deal_quads_high(a, b) mix(a, b, 2, 6, 3, 7)
#define deal_pairs_low(a, b) mix(a, b, 0, 2)
#define deal_pairs_high(a, b) mix(a, b, 1, 3)
#if VECTOR_BYTES == 64
#define deal_floats_low(a, b) mix(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define deal_floats_high(a, b) mix(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define deal_doubles_low(a, b) mix(a, b, 0, 8, 2, 10, 4, 12, 6, 14)
#define deal_doubles_high(a, b) mix(a, b, 1, 9, 3, 11, 5, 13, 7, 15)
#include <immintrin.h>
#define with_quad(v, p, apart, i) _mm512_insertf32x4(v, _mm_loadu_ps((p) + (i) * (apart)), i)
#define with_pair(v, p, apart, i) _mm512_insertf64x2(v, _mm_loadu_pd((p) + (i) * (apart)), i)
static inline vf floats_of_quads(const float *p, intptr_t apart)
{
    vf first = _mm512_castps128_ps512(_mm_loadu_ps(p));
    return with_quad(with_quad(with_quad(first, p, apart, 1), p, apart, 2), p, apart, 3);
}
static inline vd doubles_of_pairs(const double *p, intptr_t apart)
{
    vd first = _mm512_castpd128_pd512(_mm_loadu_pd(p));
    return with_pair(with_pair(with_pair(first, p, apart, 1), p, apart, 2), p, apart, 3);
}
#elif VECTOR_BYTES == 32
#define deal_floats_low(a, b) mix(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define deal_floats_high(a, b) mix(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define deal_doubles_low(a, b) mix(a, b, 0, 4, 2, 6)
#define deal_doubles_high(a, b) mix(a, b, 1, 5, 3, 7)
#include <immintrin.h>
#define floats_of_quads(p, apart) _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps((p) + (apart)), 1)
#define doubles_of_pairs(p, apart) _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(p)), _mm_loadu_pd((p) + (apart)), 1)
#else
#define deal_floats_low deal_quads_low
#define deal_floats_high deal_quads_high
#define deal_doubles_low deal_pairs_low
#define deal_doubles_high deal_pairs_high
#define floats_of_quads(p, apart) (*(const quad *)(p))
#define doubles_of_pairs(p, apart) (*(const pair *)(p))
#endif
#else
#define HAS_SHUFFLES 0
typedef float quad;
typedef double pair;
#define deal_quads_low(a, b) (a)
#define deal_quads_high(a, b) (a)
#define deal_pairs_low(a, b) (a)
#define deal_pairs_high(a, b) (a)
#define deal_floats_low(a, b) (a)
#define deal_floats_high(a, b) (a)
#define deal_doubles_low(a, b) (a)
#define deal_doubles_high(a, b) (a)
#define floats_of_quads(p, apart) (*(const vf *)(p))
#define doubles_of_pairs(p, apart) (*(const vd *)(p))
#endif

/* Whether a number from memory, for all of a register, can be part of the multiply-add that takes it. */
#ifdef __AVX512F__
#define BROADCASTS 1
#else
#define BROADCASTS 0
#endif

/* The bits of a float, and of a double or two floats side by side. */
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
#define out_of_line __attribute__((noinline)) void
#if defined(__clang__)
#define one_copy out_of_line
#else
#define one_copy __attribute__((noinline, noclone)) void
#endif
#define prefetch(address) __builtin_prefetch(address)
#define prefetch_far(address) __builtin_prefetch(address, 0, 2)
#define opaque(pointer) __asm__("" : "+r"(pointer))
#else
#define inlined void
#define out_of_line void
#define one_copy void
#define prefetch(address) (void)(address)
#define prefetch_far(address) (void)(address)
#define opaque(pointer) (void)(pointer)
#endif

/* How this thread's arithmetic goes, and the bits of that which let it take denormal numbers for 0, and give none. */
#if defined(__SSE__) || defined(_M_X64)
#include <xmmintrin.h>
#define FLUSHES 0x8040UL
#define float_mode() ((unsigned long)_mm_getcsr())
#define set_float_mode(mode) _mm_setcsr((unsigned int)(mode))
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
