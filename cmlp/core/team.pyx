# Threads that wait for each other, several times a step: a barrier of our own.
#
# Who waits spins for as long as a step's other threads may reasonably take, and then sleeps. OpenMP's barrier spins for
# milliseconds: where the processors are busy with something else, it spins its time away and then waits for its turn.

cdef extern from "vec.h" nogil:
    enum: HAS_OPENMP
    double seconds()                     # of some clock that never goes back
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
    MAX_THREADS = 256

cdef double ASK_SECONDS = 0.02

ctypedef bint (*question)(void*) noexcept nogil

cdef struct Team:
    int arrived
    char apart[60]                       # those who spin on `passed` do not disturb those who arrive
    int passed                           # barriers
    bint agreed                          # at the last barrier: that the work is to end early
    char apart_too[56]
    int claims
    char apart_again[60]
    int stopping
    double asked                         # when, in seconds
    question wanted                      # whether somebody wants the work to end
    void* asker
    pthread_mutex_t lock
    pthread_cond_t moved


cdef void start_team(Team* team, question wanted, void* asker) noexcept nogil:
    """A team that has passed no barrier"""
    team.arrived = team.passed = team.claims = 0
    team.agreed = team.stopping = 0
    team.wanted, team.asker, team.asked = wanted, asker, seconds()
    pthread_mutex_init(&team.lock, NULL)
    pthread_cond_init(&team.moved, NULL)


cdef inline bint stopped(Team* team, int thread) noexcept nogil:
    """Whether the work is to end early; the first thread asks, every few milliseconds, and the others hear of it"""
    cdef double now
    if thread == 0:
        now = seconds()
        if now - team.asked > ASK_SECONDS:
            team.asked = now
            if team.wanted(team.asker):
                __atomic_store_n(&team.stopping, True, __ATOMIC_RELEASE)
    return __atomic_load_n(&team.stopping, __ATOMIC_ACQUIRE)


cdef inline Py_ssize_t claim(Team* team) noexcept nogil:
    """The next piece of work that nobody has taken, counted from the last barrier"""
    return __atomic_add_fetch(&team.claims, 1, __ATOMIC_ACQ_REL) - 1


cdef bint barrier(Team* team, int threads) noexcept nogil:
    """Returns when all the threads are here: whether they are to end their work, on which all of them agree"""
    cdef int passed = __atomic_load_n(&team.passed, __ATOMIC_ACQUIRE), _spin
    if __atomic_add_fetch(&team.arrived, 1, __ATOMIC_ACQ_REL) == threads:
        team.arrived = 0
        team.agreed = __atomic_load_n(&team.stopping, __ATOMIC_ACQUIRE)
        __atomic_store_n(&team.claims, 0, __ATOMIC_RELEASE)
        if threads > 1:
            pthread_mutex_lock(&team.lock)
            __atomic_store_n(&team.passed, passed + 1, __ATOMIC_RELEASE)
            pthread_cond_broadcast(&team.moved)
            pthread_mutex_unlock(&team.lock)
        return team.agreed
    for _spin in range(SPINS + YIELDS):
        if __atomic_load_n(&team.passed, __ATOMIC_ACQUIRE) != passed:
            return team.agreed
        if _spin < SPINS:
            relax()
        else:
            give_way()
    pthread_mutex_lock(&team.lock)
    while __atomic_load_n(&team.passed, __ATOMIC_ACQUIRE) == passed:
        pthread_cond_wait(&team.moved, &team.lock)
    pthread_mutex_unlock(&team.lock)
    return team.agreed
