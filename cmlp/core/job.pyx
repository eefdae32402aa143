# What threads are hired for: all the steps of a training, or a pass forward over some samples.

cdef extern from "vec.h" nogil:
    unsigned long float_mode()
    void set_float_mode(unsigned long mode)
    unsigned long FLUSHES

cdef double LATE_PER_WORK = 1e-9         # seconds that a pass takes at most for each sample and parameter


cdef void layer_pass(Job* job, const floating* w, int thread, int threads) noexcept nogil:
    """This thread's part of a pass forward over a few samples, which the threads share layer by layer"""
    cdef const Net* net = &job.net
    cdef Py_ssize_t l, k, n, ld, at, m = job.plan.rows
    cdef Room room = room_for(net, <floating*> job.space, m, False)
    cdef floating* y = <floating*> room.y
    cdef floating* copy = <floating*> room.end + thread * copy_size(w)
    cdef const floating* a
    cdef bint by_rows
    cdef Wide v
    cdef Part of
    v.thread, v.threads, v.alone, v.ldx = thread, threads, True, inputs_apart(net, False, w)
    a = inputs(job, <floating*> room.x, &v.ldx, 0, share(m, net.sizes[0], True, thread, threads, w))
    for l in range(net.layers):
        k, n, by_rows = net.sizes[l], net.sizes[l + 1], net.activations[l] == SOFTMAX or l + 1 == net.layers
        ld, of = spread(n, w), share(m, padded(n, w), False, thread, threads, w)
        waits(job, &v, &of, padded(n, w))
        dense_forward(y, a, v.ldx if l == 0 else spread(k, w), w, False, &of, k, n, False, NULL, copy)
        if l == 0:
            job.tallies[thread].finite &= all_finite(y + of.row * ld + of.column, of.rows, ld)
        if by_rows:
            of = share(m, padded(n, w), True, thread, threads, w)
            waits(job, &v, &of, padded(n, w))
        at = of.row * ld + of.column
        activate(y + at, <floating*> NULL, of.rows, n, of.columns, ld, net.activations[l])
        if l + 1 == net.layers:
            give_results(job, y + at, of.row, of.rows, n)
        a, y, w = y, y + m * ld, w + (k + 1) * padded(n, w)


cdef void job_thread(Job* job, int thread, const floating* like) noexcept nogil:
    """One thread's part in a job"""
    cdef const floating* w = <const floating*> job.params
    cdef unsigned long mode
    if job.run != NULL:
        # Moments of what has no gradient any more decay into denormal numbers, which may take a hundred times as long.
        mode = float_mode()
        set_float_mode(mode | FLUSHES)
        train_thread(job, job.run, thread, like)
        set_float_mode(mode)
    elif job.way == ACCOMPANIED and thread > 0:
        spins_until(&job.over, True, IDLE_SPINS)
    elif job.way == BY_LAYERS:
        layer_pass(job, w, thread, job.threads)
    else:
        shard_pass(job, &job.plan, w, w, <floating*> NULL, 0, job.plan.rows, thread)
        __atomic_store_n(&job.over, True, __ATOMIC_RELEASE)


cdef void take_part(void* work, int thread) noexcept nogil:
    """The same, for the dtype at hand"""
    cdef Job* job = <Job*> work
    if job.in_double:
        job_thread(job, thread, <const double*> NULL)
    else:
        job_thread(job, thread, <const float*> NULL)


cdef void do_job(Job* job, Worker** hired, int number, question wanted, void* asker) noexcept nogil:
    """All of it, on this thread and by the workers hired"""
    cdef int i
    job.threads = 1 + number
    start_team(&job.team, wanted, asker)
    for i in range(job.threads):
        job.tallies[i].finite = True
    work_together(take_part, job, hired, number, job.run != NULL or job.way == BY_LAYERS)


cdef void do_steps(Job* job, int threads, question wanted, void* asker, const floating* like) noexcept nogil:
    """Training, on so many threads as can be had; for a while on this one alone where others have no processor

    With every barrier that one of them comes to a few milliseconds late, many a step would take a hundred times as long.
    """
    cdef Worker* hired[MAX_THREADS]
    cdef Run* run = job.run
    cdef int others
    cdef double began, alone
    job.way, job.in_double = BY_SAMPLES, sizeof(floating) == sizeof(double)
    run.steps, run.ended = 0, DONE
    run.loss = run.correct = run.penalty = 0
    job.team.asked = seconds()
    while True:
        alone = to_go_alone() if threads > 1 else 0
        others = 0 if alone > 0 else hire(hired, threads - 1, threads - 1)
        began = run.step_began = seconds()
        run.until = began + alone if alone > 0 else INFINITY
        do_job(job, hired, others, wanted, asker)
        if threads > 1:
            have_stepped(seconds() - began, others > 0, run.ended == PAUSED)
        if run.ended != PAUSED:
            return


cdef bint do_pass(Job* job, Py_ssize_t m, int threads, question wanted, void* asker, const floating* like) noexcept nogil:
    """A pass forward, on at most so many threads; whether all that x holds is finite

    Waking a worker may take longer than the work. So it is shared with those that are awake, as they are if one pass follows
    the other. A few samples they share by layers, where all have to be there; if none is awake, one is woken for the next pass.
    """
    cdef Worker* hired[MAX_THREADS]
    cdef Py_ssize_t work = m * parameter_count(&job.net, like)
    cdef int number = 0, wake
    cdef bint few = goes_by_layers(&job.net, m, like)
    cdef double began = 0
    job.run, job.in_double, job.way, job.over = NULL, sizeof(floating) == sizeof(double), BY_SAMPLES, False
    threads = <int> min(threads, work // HANDING_WORK)
    if not few:
        threads = <int> min(threads, m // FEWEST_PASSED)
    elif job.wanted == LOSS or job.sparse.values != NULL:
        threads = 1
    if threads > 1:
        began = seconds()
        wake = to_wake(began, <int> min(max(work // WAKING_WORK - 1, 0), MAX_THREADS))   # besides this thread
        if wake >= 0:
            number = hire(hired, threads - 1, 0 if few else wake)
        if few and number > 0:
            job.way = BY_LAYERS
        elif few and wake > 0:
            number, job.way = hire(hired, 1, 1), ACCOMPANIED
    job.plan = plan_pass(&job.net, m, 1 if few else 1 + number, like)
    job.own_size = pass_size(&job.net, job.plan.block, like)
    job.team.asked = seconds()
    do_job(job, hired, number, wanted, asker)
    if threads > 1:
        has_passed(began, seconds(), LATE_SECONDS + work * LATE_PER_WORK)
    return all_is_finite(job, job.threads)
