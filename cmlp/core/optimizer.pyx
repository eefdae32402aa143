# One step of the parameters, for any slice of them: after := p - what the gradient asks for.
#
# p, g, and the moments u, v: flat arrays.   after: another array than p, so that the step can be taken back.   share: what
# g is to be multiplied by, as it is a sum over samples.   l2: of the penalty's gradient, l2 p.
# t: the step's number, counted from 1.

from libc.math cimport pow as power, sqrt as sqrt_double

cdef enum optimizer:
    SGD
    ADAM
    RMSPROP
    LION
    NO_STEP                              # after := the gradient, for those who want just that

# AdamW is Adam with a weight decay.
OPTIMIZERS = {"sgd": SGD, "adam": ADAM, "rmsprop": RMSPROP, "lion": LION, "gradient": NO_STEP}

cdef struct Rule:
    int kind
    double learning_rate
    double momentum                      # beta1 of Adam and of Lion
    double beta2                         # of RMSprop as well
    double epsilon
    double weight_decay
    bint nesterov
    bint epsilon_hat                     # epsilon is added to the root before its bias is corrected
    double l1                            # penalties, on weights alone
    double l2
    bint l2_of_sum                       # l2 is added to the sum over a step's samples, instead of to their mean
    double clip_value                    # largest size of a gradient's number, or 0
    double clip_norm                     # and of the gradient as a whole
    double max_norm                      # largest length of a neuron's weights, or 0
    double rate                          # of the step at hand, with Adam's correction of the mean's bias
    double unbias                        # and of the square's


cdef inline int moments_of(const Rule* rule) noexcept nogil:
    """How many numbers a rule keeps of each parameter's past"""
    if rule.kind == ADAM:
        return 2
    return rule.kind == RMSPROP or rule.kind == LION or rule.kind == SGD and rule.momentum != 0


cdef inline bint takes_roots(const Rule* rule) noexcept nogil:
    """Whether a step takes roots, and so longer than it takes to read and write what it moves"""
    return rule.kind == ADAM or rule.kind == RMSPROP


cdef inline Rule at_step(const Rule* given, Py_ssize_t t, const double* rates, Py_ssize_t i, double unit) noexcept nogil:
    """The rule for step t, the i-th of those that have rates of their own, if they have; unit: of the samples' weights"""
    cdef Rule rule = given[0]
    if rates != NULL:
        rule.learning_rate = rates[i]
    rule.rate, rule.unbias = rule.learning_rate, 1
    rule.l2 *= unit if rule.l2_of_sum else 1
    if rule.kind == ADAM:
        rule.rate /= 1 - power(rule.momentum, t)
        rule.unbias = 1 / sqrt_double(1 - power(rule.beta2, t))
        if rule.epsilon_hat:
            rule.epsilon *= rule.unbias
    return rule


cdef inline floating sqrt(floating x) noexcept nogil:
    """sqrt(x) to a unit in the last place, in less than half the time that processors take for an exact one

    x is 0 or a normal number, more than 0.
    y := 1 / sqrt(x), guessed by the bits of x (C. Lomont, 2003) and mended by y := y (3 - x y^2) / 2;   sqrt(x) = x y
    """
    cdef word32 short_bits
    cdef word64 long_bits
    cdef floating y = x, half = <floating> 0.5 * x, root
    if floating is float:
        memcpy(&short_bits, &y, sizeof(y))
        short_bits = 0x5f375a86U - (short_bits >> 1)
        memcpy(&y, &short_bits, sizeof(y))
    else:
        memcpy(&long_bits, &y, sizeof(y))
        long_bits = 0x5fe6eb50c7b537a9ULL - (long_bits >> 1)
        memcpy(&y, &long_bits, sizeof(y))
        y = y * (<floating> 1.5 - half * y * y)
    y = y * (<floating> 1.5 - half * y * y)
    y = y * (<floating> 1.5 - half * y * y)
    root = x * y
    return root + <floating> 0.5 * y * (x - root * root)


cdef inline bint is_descent(const Rule* rule) noexcept nogil:
    """Whether a step is nothing but after := p - rate g, but for what `shape` makes of the gradient"""
    return rule.kind == SGD and rule.momentum == 0 and rule.weight_decay == 0 and rule.l2 == 0


cdef inline floating descent(const Rule* rule, floating share) noexcept nogil:
    """What g is to be multiplied by in it"""
    return <floating> (-rule.rate * share)


cdef inline void sgd(floating* after, const floating* p, const floating* g, floating share, floating l2, floating* u,
                     Py_ssize_t size, const Rule* rule) noexcept nogil:
    """g := share g + (decay + l2) p;   u := momentum u + g;   after := p - rate (g + momentum u if nesterov else u)"""
    cdef floating rate = rule.rate, momentum = rule.momentum, decay = rule.weight_decay + l2, d, scale = descent(rule, share)
    cdef floating of_d = 1 if rule.nesterov else 0, of_u = momentum if rule.nesterov else 1
    cdef Py_ssize_t i
    if is_descent(rule):                 # as a product can do it, in the same two roundings
        for i in range(size):
            after[i] = p[i] + scale * g[i]
        return
    if momentum == 0:                    # u would be g: neither read nor written
        for i in range(size):
            after[i] = p[i] - rate * (share * g[i] + decay * p[i])
        return
    for i in range(size):
        d = share * g[i] + decay * p[i]
        u[i] = momentum * u[i] + d
        after[i] = p[i] - rate * (of_d * d + of_u * u[i])


cdef inline void adam(floating* after, const floating* p, const floating* g, floating share, floating l2, floating* u,
                      floating* v, Py_ssize_t size, const Rule* rule) noexcept nogil:
    """g := share g + l2 p;   u := beta1 u + (1 - beta1) g;   v := beta2 v + (1 - beta2) g^2;
    after := (1 - rate decay) p - rate u / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)"""
    cdef floating beta1 = rule.momentum, beta2 = rule.beta2, epsilon = rule.epsilon
    cdef floating keep = 1 - rule.learning_rate * rule.weight_decay
    cdef floating rate = rule.rate, unbias = rule.unbias
    cdef floating new1 = 1 - rule.momentum, new2 = 1 - rule.beta2       # in double: a float's 1 - 0.999 has five digits
    cdef floating d
    cdef Py_ssize_t i
    for i in range(size):
        d = share * g[i] + l2 * p[i]
        u[i] = beta1 * u[i] + new1 * d
        v[i] = beta2 * v[i] + new2 * d * d
        after[i] = keep * p[i] - rate * u[i] / (sqrt(v[i]) * unbias + epsilon)


cdef inline void rmsprop(floating* after, const floating* p, const floating* g, floating share, floating l2, floating* u,
                         Py_ssize_t size, const Rule* rule) noexcept nogil:
    """g := share g + (decay + l2) p;   u := beta2 u + (1 - beta2) g^2;   after := p - rate g / (sqrt(u) + epsilon)"""
    cdef floating beta2 = rule.beta2, epsilon = rule.epsilon, rate = rule.rate, decay = rule.weight_decay + l2, d
    cdef floating new = 1 - rule.beta2
    cdef Py_ssize_t i
    for i in range(size):
        d = share * g[i] + decay * p[i]
        u[i] = beta2 * u[i] + new * d * d
        after[i] = p[i] - rate * d / (sqrt(u[i]) + epsilon)


cdef inline void lion(floating* after, const floating* p, const floating* g, floating share, floating l2, floating* u,
                      Py_ssize_t size, const Rule* rule) noexcept nogil:
    """g := share g + l2 p;   after := (1 - rate decay) p - rate sign(beta1 u + (1 - beta1) g);   u := beta2 u + (1 - beta2) g"""
    cdef floating beta1 = rule.momentum, beta2 = rule.beta2, rate = rule.rate, keep = 1 - rule.rate * rule.weight_decay, d, c
    cdef floating new1 = 1 - rule.momentum, new2 = 1 - rule.beta2
    cdef Py_ssize_t i
    for i in range(size):
        d = share * g[i] + l2 * p[i]
        c = beta1 * u[i] + new1 * d
        u[i] = beta2 * u[i] + new2 * d
        after[i] = keep * p[i] - (rate if c > 0 else -rate if c < 0 else c)


cdef inline bint is_penalised(const Rule* rule) noexcept nogil:
    """Whether the loss is more than the samples'"""
    return rule.l1 != 0 or rule.l2 != 0


cdef inline bint is_shaped(const Rule* rule) noexcept nogil:
    """Whether the gradient is more than the loss's and what the update itself adds for l2: it is made ready before that"""
    return rule.l1 != 0 or rule.clip_value != 0


cdef inline floating l2_of(const Rule* rule, floating share, bint weights) noexcept nogil:
    """What times p is the l2 penalty's gradient, of weights alone"""
    return rule.l2 * (share if rule.l2_of_sum else 1) if weights else 0


cdef void shape(floating* d, const floating* p, floating share, Py_ssize_t size, bint weights, const Rule* rule) noexcept nogil:
    """d := share d + l2 p + l1 sign(p), the penalties of weights alone; clipped to +-clip_value"""
    cdef floating l1 = rule.l1 if weights else 0, l2 = l2_of(rule, share, weights)
    cdef floating most = rule.clip_value if rule.clip_value != 0 else INFINITY
    cdef Py_ssize_t i
    for i in range(size):
        d[i] = share * d[i] + l2 * p[i] + (l1 if p[i] > 0 else -l1 if p[i] < 0 else 0)
        d[i] = most if d[i] > most else -most if d[i] < -most else d[i]


cdef bint are_finite(const floating* p, Py_ssize_t size) noexcept nogil:
    """Whether all of them are: p - p is 0 then, which has no bits but perhaps its sign, and else NaN"""
    cdef word32 short_bits, some_short = 0
    cdef word64 long_bits, some_long = 0
    cdef floating gap
    cdef Py_ssize_t i
    for i in range(size):
        gap = p[i] - p[i]
        if floating is float:
            memcpy(&short_bits, &gap, sizeof(gap))
            some_short |= short_bits
        else:
            memcpy(&long_bits, &gap, sizeof(gap))
            some_long |= long_bits
    return some_short << 1 == 0 and some_long << 1 == 0


cdef bint update(floating* after, const floating* p, const floating* g, floating share, floating l2, floating* u,
                 floating* v, Py_ssize_t size, const Rule* rule) noexcept nogil:
    """One step; whether every parameter after it is finite"""
    cdef Py_ssize_t i
    if rule.kind == SGD:
        sgd(after, p, g, share, l2, u, size, rule)
    elif rule.kind == ADAM:
        adam(after, p, g, share, l2, u, v, size, rule)
    elif rule.kind == RMSPROP:
        rmsprop(after, p, g, share, l2, u, size, rule)
    elif rule.kind == LION:
        lion(after, p, g, share, l2, u, size, rule)
    else:
        for i in range(size):
            after[i] = share * g[i] + l2 * p[i]
    return are_finite(after, size)
