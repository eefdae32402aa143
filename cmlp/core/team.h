/* Words of threads that Cython has no way to say; a compiler without them builds what works on one.

   What they need to wait for each other: POSIX's locks, and the compiler's atomic operations. */
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
