# One step of the parameters, for any slice of them: after := p - what the gradient asks for.
#
# p, g, and the moments u, v: flat arrays.   after: another array than p, so that the step can be taken back.   share: what
# g is to be multiplied by, as it is a sum over samples.
# t: the step's number, counted from 1.

from libc.math cimport pow as power, sqrt as sqrt_double, sqrtf

cdef enum optimizer:
    SGD
    ADAM

# AdamW is Adam with a weight decay.
OPTIMIZERS = {"sgd": SGD, "adam": ADAM}

cdef struct Rule:
    int kind
    double learning_rate
    double momentum                      # beta1 of Adam
    double beta2
    double epsilon
    double weight_decay
    bint nesterov
    double rate                          # of the step at hand, with Adam's correction of the mean's bias
    double unbias                        # and of the square's


cdef inline int moments_of(const Rule* rule) noexcept nogil:
    """How many numbers a rule keeps of each parameter's past"""
    return 2 if rule.kind == ADAM else rule.momentum != 0


cdef inline Rule at_step(const Rule* given, Py_ssize_t t) noexcept nogil:
    """The rule for step t"""
    cdef Rule rule = given[0]
    rule.rate, rule.unbias = rule.learning_rate, 1
    if rule.kind == ADAM:
        rule.rate /= 1 - power(rule.momentum, t)
        rule.unbias = 1 / sqrt_double(1 - power(rule.beta2, t))
    return rule


cdef inline floating sqrt(floating x) noexcept nogil:
    return sqrtf(x) if floating is float else sqrt_double(x)


cdef inline void sgd(floating* after, const floating* p, const floating* g, floating share, floating* u,
                     Py_ssize_t size, const Rule* rule) noexcept nogil:
    """g := share g + decay p;   u := momentum u + g;   after := p - rate (g + momentum u if nesterov else u)"""
    cdef floating rate = rule.rate, momentum = rule.momentum, decay = rule.weight_decay, d
    cdef floating of_d = 1 if rule.nesterov else 0, of_u = momentum if rule.nesterov else 1
    cdef Py_ssize_t i
    if momentum == 0:                    # u would be g: neither read nor written
        for i in range(size):
            after[i] = p[i] - rate * (share * g[i] + decay * p[i])
        return
    for i in range(size):
        d = share * g[i] + decay * p[i]
        u[i] = momentum * u[i] + d
        after[i] = p[i] - rate * (of_d * d + of_u * u[i])


cdef inline void adam(floating* after, const floating* p, const floating* g, floating share, floating* u,
                      floating* v, Py_ssize_t size, const Rule* rule) noexcept nogil:
    """g := share g;   u := beta1 u + (1 - beta1) g;   v := beta2 v + (1 - beta2) g^2;
    after := (1 - rate decay) p - rate u / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)"""
    cdef floating beta1 = rule.momentum, beta2 = rule.beta2, epsilon = rule.epsilon
    cdef floating keep = 1 - rule.learning_rate * rule.weight_decay
    cdef floating rate = rule.rate, unbias = rule.unbias
    cdef floating d
    cdef Py_ssize_t i
    for i in range(size):
        d = share * g[i]
        u[i] = beta1 * u[i] + (1 - beta1) * d
        v[i] = beta2 * v[i] + (1 - beta2) * d * d
        after[i] = keep * p[i] - rate * u[i] / (sqrt(v[i]) * unbias + epsilon)


cdef bint update(floating* after, const floating* p, const floating* g, floating share, floating* u, floating* v,
                 Py_ssize_t size, const Rule* rule) noexcept nogil:
    """One step; whether every parameter after it is finite"""
    cdef Py_ssize_t i
    cdef int finite = 1
    if rule.kind == SGD:
        sgd(after, p, g, share, u, size, rule)
    else:
        adam(after, p, g, share, u, v, size, rule)
    for i in range(size):
        finite &= after[i] - after[i] == 0
    return finite
