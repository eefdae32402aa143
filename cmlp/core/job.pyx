# What threads are hired for: all the steps of a training, or a pass forward over some samples.

cdef extern from "vec.h" nogil:
    unsigned long float_mode()
    void set_float_mode(unsigned long mode)
    unsigned long FLUSHES

cdef double LATE_PER_WORK = 1e-9         # seconds that a pass takes at most for each sample and parameter


cdef void layer_pass(Job* job, const floating* w, int thread, int threads) noexcept nogil:
    """This thread's part of a pass forward over a few samples, which the threads share layer by layer

    What is made of some inputs of a layer, each thread adds up for itself, as far as it goes on with it.
    """
    cdef const Net* net = &job.net
    cdef Py_ssize_t l, k, n, ld, lda, row, some, apart, m = job.plan.rows, size = parts_size(net, m, w)
    cdef Room room = room_for(net, <floating*> job.space, m, False)
    cdef floating* y = <floating*> room.y
    cdef floating* parts
    cdef floating* own = <floating*> room.end + 2 * size + thread * few_size(net, m, w)
    cdef floating* copy = own + m * widest(net, w)
    cdef floating* made
    cdef const floating* a
    cdef bint by_rows, last, shared_by_inputs = by_inputs(net, 0, m, threads, w), next_too
    cdef bint mine = shared_by_inputs    # whether this thread has made all that it uses of a
    cdef Wide v
    cdef Part inputs_of_next = share_inputs(net, 0, thread, threads, w), of, next
    v.thread, v.threads, v.alone = thread, threads, True
    lda = inputs_apart(net, False, w)
    if mine:
        next = whole(m, inputs_of_next.rows)
        next.column = inputs_of_next.row
    else:
        next = share(m, net.sizes[0], True, thread, threads, w)
    a = inputs(job, <floating*> room.x, &lda, 0, next)
    for l in range(net.layers):
        k, n, last = net.sizes[l], net.sizes[l + 1], l + 1 == net.layers
        by_rows, ld = net.activations[l] == SOFTMAX or last, spread(n, w)
        of, next_too = inputs_of_next, not last and by_inputs(net, l + 1, m, threads, w)
        if next_too:
            inputs_of_next = share_inputs(net, l + 1, thread, threads, w)
        if shared_by_inputs:
            some, apart = chain_length(k), m * padded(n, w)
            parts = <floating*> room.end + l % 2 * size      # others may still read those of the layer before
            if not mine:
                barrier(&job.team, threads)
            for row from of.row <= row < of.row + of.rows by some:
                dense_chain(parts + row // some * apart, a, lda, w, row, min(of.row + of.rows - row, some), m, n, copy)
            barrier(&job.team, threads)
            of, made, mine = whole(m, padded(n, w)), own, True
            if next_too and not by_rows:
                of.column, of.columns = inputs_of_next.row, inputs_of_next.rows
            dense_sum(own, parts, padded(n, w), apart, chain_count(k), w, False, &of, k, n)
        else:
            of, made = share(m, padded(n, w), False, thread, threads, w), y
            if mine:
                v.alone = of.columns == padded(n, w)
            else:
                waits(job, &v, &of, padded(n, w))
            dense_forward(y, a, lda, w, False, &of, k, n, False, NULL, copy)
            mine = False
        if l == 0 and of.columns > 0:
            job.tallies[thread].finite &= first_column_finite(made + of.row * ld + of.column, of.rows, ld)
        if by_rows:
            next = share(m, padded(n, w), True, thread, threads, w)
            if not mine:
                of = next
                waits(job, &v, &of, padded(n, w))
        activate(made + of.row * ld + of.column, <floating*> NULL, of.rows, n, of.columns, ld, net.activations[l])
        if last:
            give_results(job, made + next.row * ld, next.row, next.rows, n)
        a, lda, y, w, shared_by_inputs = made, ld, y + m * ld, w + (k + 1) * padded(n, w), next_too


cdef void job_thread(Job* job, int thread, const floating* like) noexcept nogil:
    """One thread's part in a job"""
    cdef const floating* w = <const floating*> job.params
    cdef unsigned long mode
    if job.training != NULL:
        # Moments of what has no gradient any more decay into denormal numbers, which may take a hundred times as long.
        mode = float_mode()
        set_float_mode(mode | FLUSHES)
        train_thread(job, job.training, thread, like)
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


cdef void do_job(Job* job, Worker** hired, int number, question should_stop, void* asker) noexcept nogil:
    """All of it, on this thread and by the workers hired"""
    cdef int i
    job.threads = 1 + number
    start_team(&job.team, should_stop, asker)
    for i in range(job.threads):
        job.tallies[i].finite, job.tallies[i].unit = True, 1
    work_together(take_part, job, hired, number, job.training != NULL or job.way == BY_LAYERS)


cdef void do_steps(Job* job, int threads, question should_stop, void* asker, const floating* like) noexcept nogil:
    """Training, on so many threads as can be had; for a while on this one alone where others have no processor

    With every barrier that one of them comes to a few milliseconds late, many a step would take a hundred times as long.
    """
    cdef Worker* hired[MAX_THREADS]
    cdef Training* training = job.training
    cdef int others
    cdef double began
    job.way, job.in_double = BY_SAMPLES, sizeof(floating) == sizeof(double)
    job.asks = takes_long(&job.net, min(training.batch, training.samples), like)
    training.steps, training.ended = 0, DONE
    training.loss = training.correct = training.penalty = 0
    job.team.asked = seconds()
    while True:
        began = training.step_began = seconds()
        training.here, training.late, training.until = processor(), False, alone_until() if threads > 1 else 0
        others = 0 if began < training.until else hire(hired, threads - 1, threads - 1)
        if began >= training.until:
            training.until = INFINITY
        do_job(job, hired, others, should_stop, asker)
        if threads > 1:
            have_worked(began, seconds(), others > 0, training.late)
        if training.ended != PAUSED:
            return


cdef bint do_pass(Job* job, Py_ssize_t m, int threads, question should_stop, void* asker, const floating* like) noexcept nogil:
    """A pass forward, on at most so many threads; whether all that x holds is finite

    Waking a worker may take longer than the work. So it is shared with those that are awake, as they are if one pass follows
    the other. A few samples they share by layers, where all have to be there; if none is awake, one is woken for the next pass.
    """
    cdef Worker* hired[MAX_THREADS]
    cdef Py_ssize_t work = m * parameter_count(&job.net, like)
    cdef int number = 0, wake
    cdef bint few = m <= most_by_layers(&job.net, like)
    cdef double began = 0, now
    job.training, job.in_double, job.way, job.over = NULL, sizeof(floating) == sizeof(double), BY_SAMPLES, False
    job.asks = takes_long(&job.net, m, like)
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
    do_job(job, hired, number, should_stop, asker)
    if threads > 1:
        now = seconds()
        have_worked(began, now, number > 0, now - began > LATE_SECONDS + work * LATE_PER_WORK)
    return all_saw_finite(job, job.threads)
