# A step's end: the shards' gradients added up, averaged, and the parameters moved, for any slice of them.

cdef enum:
    STEP_PIECE = 256                     # parameters that stay in the L1 cache with all that a step reads of them

cdef struct Stretch:                     # of the packed parameters
    Py_ssize_t end
    bint weights                         # or biases


cdef Stretch stretch(const Net* net, Py_ssize_t at, const floating* like) noexcept nogil:
    """The weights, or the biases, of one panel that the parameter `at` is among"""
    cdef Py_ssize_t l, k, ld, wide, width = panel(like), begin = 0
    cdef Stretch found
    found.end, found.weights = at, False
    for l in range(net.layers):
        k, ld = net.sizes[l], padded(net.sizes[l + 1], like)
        if at < begin + (k + 1) * ld:
            wide = (at - begin) // ((k + 1) * width) * width         # the panel's first column
            begin, wide = begin + wide * (k + 1), min(ld - wide, width)
            found.weights = at < begin + k * wide
            found.end = begin + (k if found.weights else k + 1) * wide
            return found
        begin += (k + 1) * ld
    return found


cdef inline double share_of(double weight) noexcept nogil:
    """What makes a mean of a sum over samples that weigh so much; 0 if they weigh nothing"""
    return 1 / weight if weight > 0 else 0


cdef out_of_line add_shards(floating* sum, const floating* g, Py_ssize_t apart, Py_ssize_t shards, const bint* joined,
                            Py_ssize_t size) noexcept nogil:
    """sum := the shards' gradients: those of the first half, with their partners of the second, in order

    joined: whether a shard of the second half lies in its partner's already; NULL if none does.
    """
    cdef Py_ssize_t half = first_half(shards), s, q
    cdef const floating* a
    cdef const floating* b
    for s in range(half):
        a, b = g + s * apart, g + (s + half) * apart
        if s + half < shards and (joined == NULL or not joined[s + half]):
            for q in range(size):
                sum[q] = a[q] + b[q] if s == 0 else sum[q] + (a[q] + b[q])
        else:
            for q in range(size):
                sum[q] = a[q] if s == 0 else sum[q] + a[q]


cdef bint step_slice(const Training* training, const Rule* rule, floating* after, const floating* before, const floating* g,
                     Py_ssize_t apart, Py_ssize_t shards, const bint* joined, Py_ssize_t begin, Py_ssize_t size, bint weights,
                     floating share) noexcept nogil:
    """A step of the parameters from `begin` on, a piece at a time that stays in the L1 cache; whether they are finite

    g: the first shard's gradient of the slice, the other shards' `apart` behind it; joined: see `add_shards`. weights: they are,
    not biases.
    """
    cdef floating* u = <floating*> training.moment1 + begin
    cdef floating* v = <floating*> training.moment2 + begin
    cdef floating sum[STEP_PIECE]
    cdef const floating* of_all
    cdef const floating* p = before + begin
    cdef floating l2 = l2_of(rule, share, weights)
    cdef bint finite = True, shaped = is_shaped(rule)
    cdef Py_ssize_t i, piece
    after += begin
    for i from 0 <= i < size by STEP_PIECE:
        piece = min(size - i, STEP_PIECE)
        of_all = g + i
        if shards > 1 or shaped:
            of_all = sum
            add_shards(sum, g + i, apart, shards, joined, piece)
        if shaped:
            shape(sum, p + i, share, piece, weights, rule)
            finite &= update(after + i, p + i, of_all, <floating> 1, <floating> 0, u + i, v + i, piece, rule)
        else:
            finite &= update(after + i, p + i, of_all, share, l2, u + i, v + i, piece, rule)
    return finite


cdef bint step_share(Job* job, const Training* training, const Rule* rule, floating* after, const floating* before,
                     Py_ssize_t shards, floating share, int thread, int threads) noexcept nogil:
    """A step of this thread's share of all parameters, from the gradients of all shards; whether it is finite"""
    cdef const Net* net = &job.net
    cdef Py_ssize_t count = parameter_count(net, before), lines = count // line(before), at, end
    cdef Stretch here
    cdef bint finite = True
    at, end = lines * thread // threads * line(before), lines * (thread + 1) // threads * line(before)
    while at < end:
        if stopped_within(job, thread):
            return True
        here = stretch(net, at, before)
        here.end = min(here.end, end)
        finite &= step_slice(training, rule, after, before, <const floating*> training.gradients + at, count, shards,
                             training.joined, at, here.end - at, here.weights, share)
        at = here.end
    return finite


cdef void gather_share(const Training* training, const Net* net, const Rule* rule, const floating* before, Py_ssize_t shards,
                       floating share, int thread, int threads) noexcept nogil:
    """This thread's share of the first shard's gradient := that of all, with the penalties, and the squares of its pieces"""
    cdef Py_ssize_t count = parameter_count(net, before), pieces = (count + STEP_PIECE - 1) // STEP_PIECE, at, end, i
    cdef floating* g = <floating*> training.gradients
    cdef Stretch here
    cdef double square
    at, end = pieces * thread // threads * STEP_PIECE, min(pieces * (thread + 1) // threads * STEP_PIECE, count)
    for i from at // STEP_PIECE <= i < (end + STEP_PIECE - 1) // STEP_PIECE:
        training.squares[i] = 0
    while at < end:
        here = stretch(net, at, before)
        here.end = min(here.end, end, (at // STEP_PIECE + 1) * STEP_PIECE)
        add_shards(g + at, g + at, count, shards, training.joined, here.end - at)
        shape(g + at, before + at, share, here.end - at, here.weights, rule)
        square = 0
        for i in range(at, here.end):
            square += <double> g[i] * g[i]
        training.squares[at // STEP_PIECE] += square
        at = here.end


cdef double clipping(const Training* training, const Net* net, const Rule* rule, const floating* like) noexcept nogil:
    """What makes the gradient that was gathered as long as it may be"""
    cdef double length = sqrt_double(sum_of(training.squares, (parameter_count(net, like) + STEP_PIECE - 1) // STEP_PIECE))
    return rule.clip_norm / length if length > rule.clip_norm else 1


cdef void limit_share(const Net* net, const Rule* rule, floating* w, int thread, int threads) noexcept nogil:
    """Weights of each neuron := as long as they may be, for this thread's share of the panels"""
    cdef Py_ssize_t l, k, j, i, q, wide, width = panel(w), number = 0
    cdef double square[PANEL_FLOATS]
    for l in range(net.layers):
        k = net.sizes[l]
        for j from 0 <= j < padded(net.sizes[l + 1], w) by width:
            wide = min(padded(net.sizes[l + 1], w) - j, width)
            number += 1
            if number % threads == thread:
                memset(square, 0, sizeof(square))
                for i in range(k):
                    for q in range(wide):
                        square[q] += <double> w[i * wide + q] * w[i * wide + q]
                for q in range(wide):
                    square[q] = rule.max_norm / sqrt_double(square[q]) if square[q] > rule.max_norm * rule.max_norm else 1
                for i in range(k):
                    for q in range(wide):
                        w[i * wide + q] = <floating> (w[i * wide + q] * square[q])
            w += (k + 1) * wide


cdef inline double sum_over(const floating* w, Py_ssize_t size, bint squared) noexcept nogil:
    """sum(w^2) if squared, a constant, else sum(|w|): in chains that do not wait for each other"""
    cdef double sums[PANEL_FLOATS]
    cdef double x
    cdef Py_ssize_t i, q
    memset(sums, 0, sizeof(sums))
    for i from 0 <= i <= size - PANEL_FLOATS by PANEL_FLOATS:
        for q in range(PANEL_FLOATS):
            x = w[i + q]
            sums[q] += x * x if squared else x if x > 0 else -x
    for q in range(size % PANEL_FLOATS):
        x = w[size // PANEL_FLOATS * PANEL_FLOATS + q]
        sums[q] += x * x if squared else x if x > 0 else -x
    return sum_of(sums, PANEL_FLOATS)


cdef void penalty_share(const Training* training, const Net* net, const floating* w, bint split, int thread,
                        int threads) noexcept nogil:
    """sum(|w|) and sum(w^2) over each run of weights that begins in this thread's part, as far as they are asked for"""
    cdef Py_ssize_t width = panel(w), number = 0, l, k, some, j, row, wide, size
    cdef const floating* here
    cdef Part of
    for l in range(net.layers if is_penalised(&training.rule) else 0):
        k, some, of = net.sizes[l], chain_length(net.sizes[l]), weights_share(net, l, split, thread, threads, w)
        for j from 0 <= j < padded(net.sizes[l + 1], w) by width:
            wide = min(padded(net.sizes[l + 1], w) - j, width)
            for row from 0 <= row < k by some:
                if 0 <= j - of.column < of.columns and 0 <= row - of.row < of.rows:
                    here, size = w + j * (k + 1) + row * wide, min(k - row, some) * wide
                    training.penalties[2 * number] = sum_over(here, size, False) if training.rule.l1 != 0 else 0
                    training.penalties[2 * number + 1] = sum_over(here, size, True) if training.rule.l2 != 0 else 0
                number += 1
        w += (k + 1) * padded(net.sizes[l + 1], w)


cdef double penalty_of(const Training* training, const Net* net, double share, const floating* like) noexcept nogil:
    """l1 sum(|w|) + l2 / 2 sum(w^2) over all weights"""
    cdef double sizes = 0, squares = 0
    cdef Py_ssize_t i
    for i in range(run_count(net, like)):
        sizes += training.penalties[2 * i]
        squares += training.penalties[2 * i + 1]
    return training.rule.l1 * sizes + training.rule.l2 * (share if training.rule.l2_of_sum else 1) / 2 * squares


cdef void watch_time(Job* job, Training* training, Py_ssize_t next_first, bint shared_by_all, int threads) noexcept nogil:
    """Whether to pause after this step, if there is another: a thread has kept it waiting, workers may be called again, or the
    first thread has moved, maybe to the processor of one that was to keep off

    None is late if some had nothing to do but wait, or while the first one asked whether to end, and Python had it wait.
    """
    cdef double now, waited
    if threads == 1:                     # small steps take few times as long as looking at the clock
        training.pauses = training.until < INFINITY and seconds() > training.until
    else:
        now, waited = seconds(), longest_wait(&job.team)
        training.late = (waited > LATE_SECONDS + (now - training.step_began - waited) / 2 and shared_by_all
                         and job.team.asked < training.step_began)
        training.pauses = training.late or processor() != training.here
        training.step_began = now
    training.pauses &= next_first < training.samples


cdef void take_sums(const Job* job, Training* training, double loss, Py_ssize_t first, Py_ssize_t m,
                    const floating* like) noexcept nogil:
    """What a step of m samples from the first adds to those taken, as long as no thread has begun the next one"""
    cdef double weight
    training.step_loss, training.step_correct, training.step_penalty = loss, hits_of(job, m), 0
    if is_penalised(&training.rule):
        weight = weight_of(job, first, m)
        training.step_penalty = weight * penalty_of(training, &job.net, share_of(weight), like)
