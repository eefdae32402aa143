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

/* In place of void: a function whose body is to stand at each call, where some of what it is given is constant.
   And: that an address is soon to be read. */
#if defined(__GNUC__)
#define inlined __attribute__((always_inline)) void
#define prefetch(address) __builtin_prefetch(address)
#else
#define inlined void
#define prefetch(address) (void)(address)
#endif

/* Threads of the parallel region that runs this, and the place where each of them waits for the others. */
#ifdef _OPENMP
#include <omp.h>
#define HAS_OPENMP 1
static inline int team_size(void) { return omp_get_num_threads(); }
static inline void barrier(void)
{
#pragma omp barrier
}
#else
#define HAS_OPENMP 0
static inline int team_size(void) { return 1; }
static inline void barrier(void) {}
#endif
