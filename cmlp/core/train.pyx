# The loop of steps over mini-batches, which every thread runs: all come to the same decisions from the same numbers.

cdef extern from "vec.h" nogil:
    unsigned long float_mode()
    void set_float_mode(unsigned long mode)
    unsigned long FLUSHES

cdef void turn_weights(const Net* net, floating* turned, const floating* w, int thread, int threads) noexcept nogil:
    """This thread's share of the layers' transposed weights"""
    cdef Py_ssize_t l, k, n
    for l in range(net.layers):
        k, n = net.sizes[l], net.sizes[l + 1]
        if l > 0:
            dense_turn(turned, w, k, n, thread, threads)
            turned += n * padded(k, w)
        w += (k + 1) * padded(n, w)


cdef status fused_step(Job* job, Run* run, const Plan* p, const floating* w, floating* after, Py_ssize_t first, Py_ssize_t m,
                       Py_ssize_t t, int thread, int threads) noexcept nogil:
    """Step t, over m samples from the first; `after` is not to be used unless it is done"""
    cdef Rule rule = at_step(&run.rule, t, run.rates, t - run.taken - 1)
    cdef double loss, share = share_of(job, first, m)
    cdef Py_ssize_t shards = p.shards
    turn_weights(&job.net, <floating*> run.turned, w, thread, threads)
    barrier(&job.team, threads)          # all of the transposed weights are there
    penalty_share(run, &job.net, w, thread, threads)
    shard_pass(job, p, w, <const floating*> run.turned, <floating*> run.gradients, first, m, thread)
    if barrier(&job.team, threads):
        return INTERRUPTED
    loss = sum_of(job.losses, m)
    if not all_is_finite(job, threads) or loss - loss != 0:
        return BAD_LOSS
    if rule.clip_norm > 0:
        gather_share(run, &job.net, &rule, w, shards, <floating> share, thread, threads)
        if barrier(&job.team, threads):
            return INTERRUPTED
        share, shards = clipping(run, &job.net, &rule, w), 1
        rule.l1 = rule.l2 = rule.clip_value = 0              # they are in the gradient already
    run.finite[thread] = step_share(run, &job.net, &rule, after, w, shards, <floating> share, thread, threads)
    if thread == 0:
        take_sums(job, run, loss, first, m, w)
    return INTERRUPTED if barrier(&job.team, threads) else DONE


cdef void train_thread(Job* job, Run* run, int thread, const floating* like) noexcept nogil:
    """One thread's part in all the steps"""
    cdef int threads = job.threads, i
    cdef Py_ssize_t first, m, t, steps = 0
    cdef floating* current = <floating*> run.current
    cdef floating* other = <floating*> run.other
    cdef Plan p
    cdef double loss = 0, correct = 0, penalty = 0
    cdef status ended = DONE
    pack_layers(&job.net, current, <const floating*> run.params, thread, threads)
    barrier(&job.team, threads)
    for first from 0 <= first < run.samples by run.batch:
        m, t = min(run.samples - first, run.batch), run.taken + steps + 1
        p = plan(&job.net, m, like, is_wide(&job.net, m, like), t)
        stopped(&job.team, thread)
        if p.wide if run.forced == BY_SIZE else run.forced == WIDE and not job.net.whole:
            ended = wide_step(job, run, &p, current, other, first, m, t, thread, threads)
        else:
            ended = fused_step(job, run, &p, current, other, first, m, t, thread, threads)
        if ended == BAD_LOSS:
            if steps == 0 and not run.continued:
                ended = BAD_START
            else:                        # the step before this one led here: take it back
                steps -= 1
                current, other = other, current
        for i in range(threads if ended == DONE else 0):
            if not run.finite[i]:
                ended = BAD_STEP
        if ended != DONE:
            break
        if thread == 0:
            loss, correct, penalty = loss + run.step_loss, correct + run.step_correct, penalty + run.step_penalty
        if run.rule.max_norm > 0:
            limit_share(&job.net, &run.rule, other, thread, threads)
            barrier(&job.team, threads)
        current, other = other, current
        steps += 1
    run.params_squared[thread] = unpack_layers(&job.net, <floating*> run.params, current, thread, threads)
    if thread == 0:
        run.current, run.other, run.steps, run.ended = current, other, steps, ended
        run.loss, run.correct, run.penalty = loss, correct, penalty


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


cdef void do_steps(Job* job, int threads, question wanted, void* asker) noexcept nogil:
    """Training, on so many threads as can be had"""
    cdef Worker* hired[MAX_THREADS]
    job.way = BY_SAMPLES
    do_job(job, hired, hire(hired, threads - 1, threads - 1), wanted, asker)


cdef double LATE_SECONDS = 1e-3          # no pass over so little takes as long
cdef double LATE_PER_WORK = 1e-9         # and more for each sample times parameter


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
    do_job(job, hired, number, wanted, asker)
    if threads > 1:
        has_passed(began, seconds(), LATE_SECONDS + work * LATE_PER_WORK)
    return all_is_finite(job, job.threads)
