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


cdef status fused_step(Job* job, Training* training, const Plan* p, const floating* w, floating* after, Py_ssize_t first,
                       Py_ssize_t m, Py_ssize_t t, int thread, int threads) noexcept nogil:
    """Step t, over m samples from the first; `after` is not to be used unless it is done"""
    cdef double loss, weight = weight_of(job, first, m), unit = unit_of(job, weight), share = share_of(weight * unit)
    cdef Rule rule = at_step(&training.rule, t, training.rates, t - training.taken - 1, unit)
    cdef Py_ssize_t shards = p.shards
    cdef const floating* turned = turn_weights(job, <floating*> training.turned, w, thread, threads)
    penalty_share(training, &job.net, w, False, thread, threads)
    job.tallies[thread].unit = unit
    shard_pass(job, p, w, turned, <floating*> training.gradients, first, m, thread)
    if barrier(&job.team, threads):
        return INTERRUPTED
    loss = sum_of(job.losses, m)
    if not all_saw_finite(job, threads) or loss - loss != 0:
        return BAD_LOSS
    if rule.clip_norm > 0:
        gather_share(training, &job.net, &rule, w, shards, <floating> share, thread, threads)
        if barrier(&job.team, threads):
            return INTERRUPTED
        share, shards = clipping(training, &job.net, &rule, w), 1
        rule.l1 = rule.l2 = rule.clip_value = 0              # they are in the gradient already
    training.finite[thread] = step_share(job, training, &rule, after, w, shards, <floating> share, thread, threads)
    if thread == 0:
        take_sums(job, training, loss, first, m, w)
        watch_time(job, training, first + m, p.shards >= threads, threads)
    return INTERRUPTED if barrier(&job.team, threads) else DONE


cdef void train_thread(Job* job, Training* training, int thread, const floating* like) noexcept nogil:
    """One thread's part in the steps, until the last one or a pause"""
    cdef int threads = job.threads, i
    cdef Py_ssize_t first, m, t, steps = training.steps
    cdef floating* current = <floating*> training.current
    cdef floating* other = <floating*> training.other
    cdef Plan p
    cdef status ended = DONE
    if training.ended != PAUSED:
        pack_layers(&job.net, current, <const floating*> training.params, thread, threads)
        barrier(&job.team, threads)
    for first from steps * training.batch <= first < training.samples by training.batch:
        m, t = min(training.samples - first, training.batch), training.taken + steps + 1
        p = plan(&job.net, m, like, is_wide(&job.net, m, like), t)
        stopped(&job.team, thread)
        if p.wide if training.forced == BY_SIZE else training.forced == WIDE and not job.net.whole:
            ended = wide_step(job, training, &p, current, other, first, m, t, thread, threads)
        else:
            ended = fused_step(job, training, &p, current, other, first, m, t, thread, threads)
        if ended == BAD_LOSS:
            if steps == 0 and not training.continued:
                ended = BAD_START
            else:                        # the step before this one led here: take it back
                steps -= 1
                current, other = other, current
        for i in range(threads if ended == DONE else 0):
            if not training.finite[i]:
                ended = BAD_STEP
        if ended != DONE:
            break
        if thread == 0:
            training.loss, training.correct = training.loss + training.step_loss, training.correct + training.step_correct
            training.penalty += training.step_penalty
        if training.rule.max_norm > 0:
            limit_share(&job.net, &training.rule, other, thread, threads)
            barrier(&job.team, threads)
        current, other = other, current
        steps += 1
        if training.pauses:
            ended = PAUSED
            break
    if ended != PAUSED:
        training.params_squared[thread] = unpack_layers(&job.net, <floating*> training.params, current, thread, threads)
    if thread == 0:
        training.current, training.other, training.steps, training.ended = current, other, steps, ended
