# Threads that wait for each other, several times a step: a barrier of our own.
#
# Who waits spins for as long as a step's other threads may reasonably take, and then sleeps. OpenMP's barrier spins for
# milliseconds: where the processors are busy with something else, it spins its time away and then waits for its turn.

cdef extern from "vec.h" nogil:
    enum: HAS_OPENMP
    int team_size()                      # threads of the parallel region that this is called in
    void relax()                         # lets the processor know that this is a spin
    void give_way()                      # lets another thread have this processor, if one wants it
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    int pthread_mutex_init(pthread_mutex_t* lock, const void* options)
    int pthread_cond_init(pthread_cond_t* condition, const void* options)
    int pthread_mutex_lock(pthread_mutex_t* lock)
    int pthread_mutex_unlock(pthread_mutex_t* lock)
    int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* lock)
    int pthread_cond_broadcast(pthread_cond_t* condition)
    int __atomic_load_n(const int* number, int order)
    void __atomic_store_n(int* number, int value, int order)
    int __atomic_add_fetch(int* number, int value, int order)
    int __ATOMIC_ACQUIRE, __ATOMIC_RELEASE, __ATOMIC_ACQ_REL

cdef enum:
    SPINS = 1000                         # ten or twenty microseconds
    YIELDS = 4000                        # a few milliseconds

cdef struct Team:
    int arrived
    char apart[60]                       # those who spin on `passed` do not disturb those who arrive
    int passed                           # barriers
    pthread_mutex_t lock
    pthread_cond_t moved


cdef void start_team(Team* team) noexcept nogil:
    """A team that has passed no barrier"""
    team.arrived = team.passed = 0
    pthread_mutex_init(&team.lock, NULL)
    pthread_cond_init(&team.moved, NULL)


cdef void barrier(Team* team, int threads) noexcept nogil:
    """Returns when all the threads are here"""
    cdef int passed, _spin
    if threads == 1:
        return
    passed = __atomic_load_n(&team.passed, __ATOMIC_ACQUIRE)
    if __atomic_add_fetch(&team.arrived, 1, __ATOMIC_ACQ_REL) == threads:
        team.arrived = 0
        pthread_mutex_lock(&team.lock)
        __atomic_store_n(&team.passed, passed + 1, __ATOMIC_RELEASE)
        pthread_cond_broadcast(&team.moved)
        pthread_mutex_unlock(&team.lock)
        return
    for _spin in range(SPINS + YIELDS):
        if __atomic_load_n(&team.passed, __ATOMIC_ACQUIRE) != passed:
            return
        if _spin < SPINS:
            relax()
        else:
            give_way()
    pthread_mutex_lock(&team.lock)
    while __atomic_load_n(&team.passed, __ATOMIC_ACQUIRE) == passed:
        pthread_cond_wait(&team.moved, &team.lock)
    pthread_mutex_unlock(&team.lock)
