# Threads that work together: who they are, and how they wait for each other, several times a step.
#
# Threads of our own, since with OpenMP's the first one waits up to four milliseconds at the end of a region, where a system has
# woken the second one on the first one's processor: idle threads spin there for that long. Ours sleep almost at once, and work
# that a thread was given but has not begun is taken back. How many there may be is still what OpenMP says: see thread_limit.
#
# Who waits at a barrier spins for as long as a step's other threads may reasonably take, then gives way to whoever wants the
# processor for a moment, and sleeps at last.
from libc.stdlib cimport calloc, free

cdef extern from "team.h" nogil:
    ctypedef struct pthread_t:
        pass
    enum: HAS_OPENMP
    double seconds()                     # of some clock that never goes back
    enum: HAS_THREADS
    int thread_limit()                   # OpenMP's, which OMP_NUM_THREADS and threadpoolctl set
    int processor()                      # that this thread is on, or -1
    void keep_off(pthread_t thread, int here)
    void relax()                         # lets the processor know that this is a spin
    void give_way()                      # lets another thread have this processor, if one wants it
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    int pthread_create(pthread_t* thread, const void* options, void* (*run)(void*) noexcept nogil, void* with_what)
    int pthread_detach(pthread_t thread)
    bint __atomic_compare_exchange_n(int* number, int* expected, int value, bint weak, int order, int otherwise)
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
    IDLE_SPINS = 9000                    # of a worker that waits for work, which may well come after some lines of Python
    YIELDS = 400                         # a few hundred microseconds, longer if others want the processor
    MAX_THREADS = 256

cdef double ASK_SECONDS = 0.02
cdef double LATE_SECONDS = 1e-3          # no thread is as late that has a processor and as much to do as the others
cdef double OFTEN = 0.03                 # seconds of work with workers, if they keep it waiting twice in so many: once is chance
cdef double FEWEST_ALONE = 0.1           # seconds without workers, if these do so often; so many times as long if the next time
cdef double MOST_ALONE = 10              # comes as soon, and as much less if it does not
cdef double LONGER = 4
cdef double SOON_SECONDS = 2e-5          # after one pass the next one comes so soon that workers are to wait for it awake

ctypedef bint (*question)(void*) noexcept nogil

cdef struct Team:
    int arrived
    char apart[60]                       # those who spin on `passed` do not disturb those who arrive
    int passed                           # barriers
    bint agreed                          # at the last barrier: that the work is to end early
    char apart_too[56]
    int claims                           # since the last barrier: how many pieces of work, or which, by the bits
    char apart_again[60]
    int stopping
    double asked                         # when, in seconds
    double waited                        # the longest of the threads' long waits
    question should_stop                 # whether somebody wants the work to end
    void* asker
    pthread_mutex_t lock
    pthread_cond_t moved


cdef void start_team(Team* team, question should_stop, void* asker) noexcept nogil:
    """A team that has passed no barrier; when it last asked is for its maker to say"""
    team.arrived = team.passed = team.claims = 0
    team.agreed = team.stopping = 0
    team.waited = 0
    team.should_stop, team.asker = should_stop, asker
    pthread_mutex_init(&team.lock, NULL)
    pthread_cond_init(&team.moved, NULL)


cdef inline bint stopped(Team* team, int thread) noexcept nogil:
    """Whether the work is to end early; the first thread asks, every few milliseconds, and the others hear of it"""
    cdef double now
    if thread == 0:
        now = seconds()
        if now - team.asked > ASK_SECONDS:
            team.asked = now
            if team.should_stop(team.asker):
                __atomic_store_n(&team.stopping, True, __ATOMIC_RELEASE)
    return __atomic_load_n(&team.stopping, __ATOMIC_ACQUIRE)


cdef inline Py_ssize_t claim(Team* team) noexcept nogil:
    """The next piece of work that nobody has taken, counted from the last barrier"""
    return __atomic_add_fetch(&team.claims, 1, __ATOMIC_ACQ_REL) - 1


cdef inline bint claim_this(Team* team, Py_ssize_t piece) noexcept nogil:
    """Whether nobody else has taken this piece of work, of at most as many as an int has bits"""
    cdef int claims = __atomic_load_n(&team.claims, __ATOMIC_ACQUIRE)
    while not claims >> piece & 1:
        if __atomic_compare_exchange_n(&team.claims, &claims, claims | <int> (1u << piece), False, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE):
            return True
    return False


cdef bint barrier(Team* team, int threads) noexcept nogil:
    """Returns when all the threads are here: whether they are to end their work, on which all of them agree"""
    cdef int passed = __atomic_load_n(&team.passed, __ATOMIC_ACQUIRE), _spin
    cdef double began
    if __atomic_add_fetch(&team.arrived, 1, __ATOMIC_ACQ_REL) == threads:
        team.arrived = 0
        team.agreed = __atomic_load_n(&team.stopping, __ATOMIC_ACQUIRE)
        __atomic_store_n(&team.claims, 0, __ATOMIC_RELEASE)
        if threads > 1:                  # the lock comes after it: who spins need not wait for that, who sleeps has looked in it
            __atomic_store_n(&team.passed, passed + 1, __ATOMIC_RELEASE)
            pthread_mutex_lock(&team.lock)
            pthread_cond_broadcast(&team.moved)
            pthread_mutex_unlock(&team.lock)
        return team.agreed
    for _spin in range(SPINS):
        if __atomic_load_n(&team.passed, __ATOMIC_ACQUIRE) != passed:
            return team.agreed
        relax()
    began = seconds()
    for _spin in range(YIELDS):
        if __atomic_load_n(&team.passed, __ATOMIC_ACQUIRE) != passed:
            break
        give_way()
    pthread_mutex_lock(&team.lock)
    while __atomic_load_n(&team.passed, __ATOMIC_ACQUIRE) == passed:
        pthread_cond_wait(&team.moved, &team.lock)
    team.waited = max(team.waited, seconds() - began)
    pthread_mutex_unlock(&team.lock)
    return team.agreed


cdef double longest_wait(Team* team) noexcept nogil:
    """That of any thread since the last time, if it was long; in seconds"""
    cdef double waited
    pthread_mutex_lock(&team.lock)
    waited, team.waited = team.waited, 0
    pthread_mutex_unlock(&team.lock)
    return waited


ctypedef void (*part)(void* work, int thread) noexcept nogil

cdef enum:
    IDLE
    GIVEN                                # something to do, which may be taken back
    WORKING

cdef struct Worker:
    pthread_t thread
    pthread_mutex_t lock
    pthread_cond_t changed
    int state
    int asleep
    int off                              # the processor that it keeps off
    part what
    void* work
    int number
    Worker* next

cdef struct Workers:
    pthread_mutex_t lock
    Worker* idle                         # who worked last comes first
    double passed                        # when the last work was done that they might have had a part in
    double alone_until                   # when there may be work for them again, as they kept it waiting
    double next_alone                    # seconds without them after the next time, if that comes as soon
    double together                      # seconds of work with them since the last time

cdef Workers workers


cdef void forget_workers() noexcept nogil:
    """Begin without any: at first, and in a forked child, where there are none"""
    pthread_mutex_init(&workers.lock, NULL)
    workers.idle, workers.passed = NULL, 0
    workers.alone_until, workers.together, workers.next_alone = 0, INFINITY, FEWEST_ALONE


cdef void set_state(Worker* worker, int state) noexcept nogil:
    """And wake whoever waits for it"""
    __atomic_store_n(&worker.state, state, __ATOMIC_RELEASE)
    pthread_mutex_lock(&worker.lock)     # after it, as in `barrier`
    pthread_cond_broadcast(&worker.changed)
    pthread_mutex_unlock(&worker.lock)


cdef inline bint spins_until(const int* state, int wanted, int spins) noexcept nogil:
    """Whether the state is soon as wanted"""
    cdef int _spin
    for _spin in range(spins):
        if __atomic_load_n(state, __ATOMIC_ACQUIRE) == wanted:
            return True
        relax()
    return False


cdef void wait_until(Worker* worker, int state) noexcept nogil:
    """Sleeps"""
    pthread_mutex_lock(&worker.lock)
    while __atomic_load_n(&worker.state, __ATOMIC_ACQUIRE) != state:
        pthread_cond_wait(&worker.changed, &worker.lock)
    pthread_mutex_unlock(&worker.lock)


cdef void* wait_for_work(void* of) noexcept nogil:
    """A worker's life"""
    cdef Worker* worker = <Worker*> of
    cdef int given
    while True:
        if not spins_until(&worker.state, GIVEN, IDLE_SPINS):
            __atomic_store_n(&worker.asleep, True, __ATOMIC_RELEASE)
            wait_until(worker, GIVEN)
            __atomic_store_n(&worker.asleep, False, __ATOMIC_RELEASE)
        given = GIVEN
        if __atomic_compare_exchange_n(&worker.state, &given, WORKING, False, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE):
            worker.what(worker.work, worker.number)
            set_state(worker, IDLE)


cdef Worker* new_worker() noexcept nogil:
    """NULL if the system has none to give"""
    cdef Worker* worker = <Worker*> calloc(1, sizeof(Worker))
    if worker == NULL:
        return NULL
    pthread_mutex_init(&worker.lock, NULL)
    pthread_cond_init(&worker.changed, NULL)
    worker.asleep = True
    if pthread_create(&worker.thread, NULL, wait_for_work, worker) != 0:
        free(worker)
        return NULL
    pthread_detach(worker.thread)
    return worker


cdef int hire(Worker** hired, int wanted, int wake) noexcept nogil:
    """Workers that are idle and awake; and so many that are not, or new ones; how many they are"""
    cdef int number = 0
    cdef Worker* worker
    cdef bint awake
    while HAS_THREADS and number < wanted:
        pthread_mutex_lock(&workers.lock)
        worker = workers.idle
        awake = worker != NULL and not __atomic_load_n(&worker.asleep, __ATOMIC_ACQUIRE)
        if worker != NULL and (awake or wake > 0):
            workers.idle = worker.next
        pthread_mutex_unlock(&workers.lock)
        if not awake:
            if wake <= 0:
                break
            wake -= 1
        if worker == NULL:
            worker = new_worker()
        if worker == NULL:
            break
        hired[number] = worker
        number += 1
    return number


cdef void work_together(part what, void* work, Worker** hired, int number, bint all_of_them) noexcept nogil:
    """what(work, thread) on this thread, the first, and on the hired ones, who are dismissed after it

    all_of_them: whether they wait for each other; otherwise whoever has not begun when the first is done never will.
    """
    cdef Worker* worker
    cdef int i, given, here = processor() if number > 0 else -1
    for i in range(number):
        worker = hired[i]
        worker.what, worker.work, worker.number = what, work, i + 1
        if worker.off != here or __atomic_load_n(&worker.asleep, __ATOMIC_ACQUIRE):
            keep_off(worker.thread, here)
            worker.off = here
        set_state(worker, GIVEN)
    what(work, 0)
    for i in range(number):
        worker = hired[i]
        given = GIVEN
        if all_of_them or not __atomic_compare_exchange_n(&worker.state, &given, IDLE, False, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE):
            if not spins_until(&worker.state, IDLE, SPINS):
                wait_until(worker, IDLE)
        pthread_mutex_lock(&workers.lock)
        worker.next, workers.idle = workers.idle, worker
        pthread_mutex_unlock(&workers.lock)


cdef double alone_until() noexcept nogil:
    """When there may be work for workers again"""
    cdef double until
    pthread_mutex_lock(&workers.lock)
    until = workers.alone_until
    pthread_mutex_unlock(&workers.lock)
    return until


cdef int to_wake(double now, int paying) noexcept nogil:
    """Workers that a pass may wake which is long enough for so many; -1 if it is to do without any, awake or not

    Any number, if it follows so soon on the last one that the next may be expected as soon.
    """
    cdef bint soon, alone
    pthread_mutex_lock(&workers.lock)
    soon, alone = now - workers.passed < SOON_SECONDS, now < workers.alone_until
    pthread_mutex_unlock(&workers.lock)
    if alone:
        return paying if paying > 0 else -1
    return MAX_THREADS if soon else paying


cdef void have_worked(double began, double now, bint together, bint late) noexcept nogil:
    """Steps or a pass are done: when, whether with workers, and whether these kept it waiting, as they had no processor"""
    pthread_mutex_lock(&workers.lock)
    workers.passed = now
    if together:
        workers.together += now - began
        if late and workers.together < OFTEN:
            workers.alone_until = now + workers.next_alone
            workers.next_alone = min(LONGER * workers.next_alone, MOST_ALONE)
        elif late:
            workers.next_alone = max(workers.next_alone / LONGER, FEWEST_ALONE)
        if late:
            workers.together = 0
    pthread_mutex_unlock(&workers.lock)
