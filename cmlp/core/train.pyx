# The loop of steps over mini-batches, which every thread runs: all come to the same decisions from the same numbers.

cdef status fused_step(Job* job, Run* run, const Plan* p, const floating* w, floating* after, Py_ssize_t first, Py_ssize_t m,
                       Py_ssize_t t, int thread, int threads) noexcept nogil:
    """Step t, over m samples from the first; `after` is not to be used unless it is done"""
    cdef Rule rule = at_step(&run.rule, t)
    cdef double loss
    barrier(&job.team, threads)          # all of the transposed weights are there
    shard_pass(job, p, w, <const floating*> run.turned, <floating*> run.gradients, first, m, thread)
    if barrier(&job.team, threads):
        return INTERRUPTED
    loss = sum_of(job.losses, m)
    if not total(job, threads).finite or loss - loss != 0:
        return BAD_LOSS
    run.finite[thread] = step_share(run, &rule, after, w, parameter_count(&job.net, w), p.shards, m, thread, threads)
    return INTERRUPTED if barrier(&job.team, threads) else DONE


cdef void turn_weights(const Net* net, floating* turned, const floating* w, int thread, int threads) noexcept nogil:
    """This thread's share of the layers' transposed weights"""
    cdef Py_ssize_t l, k, n
    for l in range(net.layers):
        k, n = net.sizes[l], net.sizes[l + 1]
        if l > 0:
            dense_turn(turned, w, k, n, thread, threads)
            turned += n * padded(k, w)
        w += (k + 1) * padded(n, w)


cdef void train_thread(Job* job, Run* run, int thread, const floating* like) noexcept nogil:
    """One thread's part in all the steps"""
    cdef int threads = job.threads, i
    cdef Py_ssize_t first, m, t, steps = 0, correct = 0
    cdef floating* current = <floating*> run.current
    cdef floating* other = <floating*> run.other
    cdef Plan p
    cdef double loss = 0
    cdef status ended = DONE
    for first from 0 <= first < run.samples by run.batch:
        m, t = min(run.samples - first, run.batch), run.taken + steps + 1
        p = plan(&job.net, m, like, is_wide(&job.net, m, like))
        stopped(&job.team, thread)
        turn_weights(&job.net, <floating*> run.turned, current, thread, threads)
        if p.wide if run.forced == BY_SIZE else run.forced == WIDE:
            ended = wide_step(job, run, &p, current, other, first, m, t, thread, threads)
        else:
            ended = fused_step(job, run, &p, current, other, first, m, t, thread, threads)
        if ended == BAD_LOSS:
            if t == 1:
                ended = BAD_START
            else:                        # the step before this one led here: take it back
                steps -= 1
                current, other = other, current
        for i in range(threads if ended == DONE else 0):
            if not run.finite[i]:
                ended = BAD_STEP
        if ended != DONE:
            break
        current, other = other, current
        loss += sum_of(job.losses, m)
        correct += total(job, threads).correct
        steps += 1
    if thread == 0:
        run.current, run.other, run.loss, run.correct, run.steps, run.ended = current, other, loss, correct, steps, ended


cdef void job_thread(Job* job, int thread, const floating* like) noexcept nogil:
    """One thread's part in a job"""
    cdef const floating* w = <const floating*> job.params
    if job.run != NULL:
        train_thread(job, job.run, thread, like)
    else:
        shard_pass(job, &job.plan, w, w, <floating*> NULL, 0, job.plan.rows, thread)


cdef void take_part(void* work, int thread) noexcept nogil:
    """The same, for the dtype at hand"""
    cdef Job* job = <Job*> work
    if job.in_double:
        job_thread(job, thread, <const double*> NULL)
    else:
        job_thread(job, thread, <const float*> NULL)


cdef void do_job(Job* job, int threads, question wanted, void* asker) noexcept nogil:
    """All of it, on this thread and on so many more as can be had"""
    cdef Worker* hired[MAX_THREADS]
    cdef int i
    job.threads = 1 + hire(hired, min(threads, MAX_THREADS) - 1)
    start_team(&job.team, wanted, asker)
    for i in range(job.threads):
        job.tallies[i].correct, job.tallies[i].finite = 0, True
    work_together(take_part, job, hired, job.threads - 1, job.run != NULL)
