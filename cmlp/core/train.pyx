# The loop of steps over mini-batches, which every thread runs: all come to the same decisions from the same numbers.

cdef const floating* turn_weights(Job* job, floating* turned, const floating* w, int thread, int threads) noexcept nogil:
    """The layers' transposed weights, when all are there"""
    cdef const Net* net = &job.net
    cdef bint alone = turns_alone(net, w)
    cdef Py_ssize_t l, k, n
    cdef const floating* begin
    if alone:
        turned, thread, threads = turned + thread * turned_count(net, w), 0, 1
    begin = turned
    for l in range(net.layers):
        k, n = net.sizes[l], net.sizes[l + 1]
        if l > 0:
            dense_turn(turned, w, k, n, thread, threads)
            turned += n * padded(k, w)
        w += (k + 1) * padded(n, w)
    if not alone:
        barrier(&job.team, threads)
    return begin


cdef status fused_step(Job* job, Run* run, const Plan* p, const floating* w, floating* after, Py_ssize_t first, Py_ssize_t m,
                       Py_ssize_t t, int thread, int threads) noexcept nogil:
    """Step t, over m samples from the first; `after` is not to be used unless it is done"""
    cdef double loss, weight = weight_of(job, first, m), unit = unit_of(job, weight), share = share_of(weight * unit)
    cdef Rule rule = at_step(&run.rule, t, run.rates, t - run.taken - 1, unit)
    cdef Py_ssize_t shards = p.shards
    cdef const floating* turned = turn_weights(job, <floating*> run.turned, w, thread, threads)
    penalty_share(run, &job.net, w, False, thread, threads)
    job.tallies[thread].unit = unit
    shard_pass(job, p, w, turned, <floating*> run.gradients, first, m, thread)
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
    run.finite[thread] = step_share(job, run, &rule, after, w, shards, <floating> share, thread, threads)
    if thread == 0:
        take_sums(job, run, loss, first, m, w)
        watch_time(job, run, first + m, p.shards >= threads, threads)
    return INTERRUPTED if barrier(&job.team, threads) else DONE


cdef void train_thread(Job* job, Run* run, int thread, const floating* like) noexcept nogil:
    """One thread's part in the steps, until the last one or a pause"""
    cdef int threads = job.threads, i
    cdef Py_ssize_t first, m, t, steps = run.steps
    cdef floating* current = <floating*> run.current
    cdef floating* other = <floating*> run.other
    cdef Plan p
    cdef status ended = DONE
    if run.ended != PAUSED:
        pack_layers(&job.net, current, <const floating*> run.params, thread, threads)
        barrier(&job.team, threads)
    for first from steps * run.batch <= first < run.samples by run.batch:
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
            run.loss, run.correct = run.loss + run.step_loss, run.correct + run.step_correct
            run.penalty += run.step_penalty
        if run.rule.max_norm > 0:
            limit_share(&job.net, &run.rule, other, thread, threads)
            barrier(&job.team, threads)
        current, other = other, current
        steps += 1
        if run.pauses:
            ended = PAUSED
            break
    if ended != PAUSED:
        run.params_squared[thread] = unpack_layers(&job.net, <floating*> run.params, current, thread, threads)
    if thread == 0:
        run.current, run.other, run.steps, run.ended = current, other, steps, ended
