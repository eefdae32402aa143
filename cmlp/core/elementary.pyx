# exp, log and their like without calls and branches, so that loops over them are vectorised. exp, log and tanh err by 2 units in
# the last place at most, the sigmoid of doubles by 3. The polynomials are those of the Cephes library (S. L. Moshier), or power
# series, cut off below a unit in the last place.
from libc.math cimport INFINITY, NAN, copysign as copysign_double, copysignf, rint as rint_double, rintf

cdef extern from *:
    """
    #define LOG2_OF_E 1.44269504088896340736
    #define ROOT_OF_PI 1.7724538509055160273
    """
    const double LOG2_OF_E, ROOT_OF_PI


cdef inline floating rint(floating x) noexcept nogil:
    """The nearest whole number"""
    return rintf(x) if floating is float else rint_double(x)


cdef inline floating copysign(floating size, floating x) noexcept nogil:
    """|size| with the sign of x"""
    return copysignf(size, x) if floating is float else copysign_double(size, x)


cdef inline floating power_of_two(floating n) noexcept nogil:
    """2^n for a whole n, if that is a normal number, by its bits: as large a number is added that n are its last bits"""
    cdef word32 short_bits
    cdef word64 long_bits
    if floating is float:
        n += 12582912.                   # 3 / 2 * 2^23
        memcpy(&short_bits, &n, sizeof(n))
        short_bits = (short_bits + 127) << 23
        memcpy(&n, &short_bits, sizeof(n))
    else:
        n += 6755399441055744.           # 3 / 2 * 2^52
        memcpy(&long_bits, &n, sizeof(n))
        long_bits = (long_bits + 1023) << 52
        memcpy(&n, &long_bits, sizeof(n))
    return n


cdef inline floating exp_near_0(floating r) noexcept nogil:
    """exp(r) for |r| < 1 / 2: Cephes's expf for floats, the power series for doubles"""
    cdef floating p
    if floating is float:
        p = <float> 1.9875691500e-4 * r + <float> 1.3981999507e-3
        p = p * r + <float> 8.3334519073e-3
        p = p * r + <float> 4.1665795894e-2
        p = p * r + <float> 1.6666665459e-1
        p = p * r + <float> 5.0000001201e-1
    else:
        p = r * (1 / 6227020800.) + (1. / 479001600)
        p = p * r + (1. / 39916800)
        p = p * r + (1. / 3628800)
        p = p * r + (1. / 362880)
        p = p * r + (1. / 40320)
        p = p * r + (1. / 5040)
        p = p * r + (1. / 720)
        p = p * r + (1. / 120)
        p = p * r + (1. / 24)
        p = p * r + (1. / 6)
        p = p * r + 0.5
    return p * (r * r) + r + 1


cdef inline floating exp(floating x) noexcept nogil:
    """exp(x) = 2^n exp(r), |r| <= log(2) / 2

    log(2) is subtracted in two parts, and 2^n multiplied in two, since n reaches beyond the exponents of normal numbers on both
    sides.
    """
    cdef floating most = 89 if floating is float else 710, least = -105 if floating is float else -746
    cdef floating bounded = most if x > most else least if x < least else x      # beyond, it is infinity or 0; NaN stays NaN
    cdef floating n = rint(bounded * <floating> LOG2_OF_E), half = rint(<floating> 0.5 * n), r
    if floating is float:
        r = bounded - n * <float> 0.693359375
        r = r + n * <float> 2.12194440e-4
    else:
        r = bounded - n * 6.93145751953125e-1
        r = r - n * 1.42860682030941723212e-6
    return exp_near_0(r) * power_of_two(half) * power_of_two(n - half)


cdef inline floating fraction_of(floating x, floating* n) noexcept nogil:
    """1 + r of x = 2^n (1 + r), sqrt(1/2) <= 1 + r < sqrt(2), for a positive x"""
    cdef floating smallest = 1.17549435e-38 if floating is float else 2.2250738585072014e-308
    cdef floating shift = 8388608. if floating is float else 4503599627370496.
    cdef bint tiny = x < smallest
    cdef floating scaled = x * shift if tiny else x
    cdef word32 short_bits, short_n
    cdef word64 long_bits, long_n
    if floating is float:
        memcpy(&short_bits, &scaled, sizeof(scaled))
        short_bits += 0x3f800000 - 0x3f3504f3
        short_n = (short_bits >> 23) | 0x4b000000            # 2^23 and the exponent
        short_bits = (short_bits & 0x7fffff) + 0x3f3504f3
        memcpy(n, &short_n, sizeof(scaled))
        memcpy(&scaled, &short_bits, sizeof(scaled))
        n[0] -= <float> 8388735. + (23 if tiny else 0)
    else:
        memcpy(&long_bits, &scaled, sizeof(scaled))
        long_bits += <word64> 0x3ff0000000000000 - <word64> 0x3fe6a09e667f3bcd
        long_n = (long_bits >> 52) | <word64> 0x4330000000000000
        long_bits = (long_bits & <word64> 0xfffffffffffff) + <word64> 0x3fe6a09e667f3bcd
        memcpy(n, &long_n, sizeof(scaled))
        memcpy(&scaled, &long_bits, sizeof(scaled))
        n[0] -= 4503599627371519. + (52 if tiny else 0)
    return scaled


cdef inline floating artanh_rest(floating s) noexcept nogil:
    """artanh(t) / t - 1 for s = t^2 <= 1/9: s / 3 + s^2 / 5 + ..."""
    cdef floating p
    if floating is float:
        p = s * <float> (1. / 17) + <float> (1. / 15)
    else:
        p = s * (1. / 35) + (1. / 33)
        p = p * s + (1. / 31)
        p = p * s + (1. / 29)
        p = p * s + (1. / 27)
        p = p * s + (1. / 25)
        p = p * s + (1. / 23)
        p = p * s + (1. / 21)
        p = p * s + (1. / 19)
        p = p * s + (1. / 17)
        p = p * s + (1. / 15)
    p = p * s + <floating> (1. / 13)
    p = p * s + <floating> (1. / 11)
    p = p * s + <floating> (1. / 9)
    p = p * s + <floating> (1. / 7)
    p = p * s + <floating> (1. / 5)
    p = p * s + <floating> (1. / 3)
    return p * s


cdef inline floating log(floating x) noexcept nogil:
    """log(x) = n log(2) + log(1 + r): Cephes's logf for floats; for doubles r - r^2 / 2 + t (r^2 / 2 + 2 (artanh(t) - t) / t),
    t = r / (2 + r), in which what is rounded is small beside r"""
    cdef floating n, r = fraction_of(x, &n) - 1, s = r * r, p, t
    cdef floating limit = -<floating> INFINITY if x == 0 else x if x > 0 else <floating> NAN
    if floating is float:
        p = <float> 7.0376836292e-2 * r - <float> 1.1514610310e-1
        p = p * r + <float> 1.1676998740e-1
        p = p * r - <float> 1.2420140846e-1
        p = p * r + <float> 1.4249322787e-1
        p = p * r - <float> 1.6668057665e-1
        p = p * r + <float> 2.0000714765e-1
        p = p * r - <float> 2.4999993993e-1
        p = p * r + <float> 3.3333331174e-1
        p = p * r * s - n * <float> 2.12194440e-4 - <float> 0.5 * s
    else:
        t = r / (2 + r)
        p = t * (0.5 * s + 2 * artanh_rest(t * t)) - n * 2.12194440054690583e-4 - 0.5 * s
    p = r + p + n * <floating> 0.693359375
    return p if 0 < x < <floating> INFINITY else limit


cdef inline floating log1p(floating x) noexcept nogil:
    """log(1 + x) = 2 artanh(x / (2 + x)), for 0 <= x <= 1"""
    cdef floating t = x / (2 + x)
    return 2 * (artanh_rest(t * t) * t + t)


cdef inline floating tanh_rest(floating x) noexcept nogil:
    """tanh(x) - x for |x| < 0.625: Cephes's tanhf and tanh"""
    cdef floating s = x * x, p, q
    if floating is float:
        p = <float> -5.70498872745e-3 * s + <float> 2.06390887954e-2
        p = p * s - <float> 5.37397155531e-2
        p = p * s + <float> 1.33314422036e-1
        p = p * s - <float> 3.33332819422e-1
    else:
        p = -9.64399179425052238628e-1 * s - 9.92877231001918586564e1
        p = p * s - 1.61468768441708447952e3
        q = s + 1.12811678491632931402e2
        q = q * s + 2.23548839060100448583e3
        q = q * s + 4.84406305325125486048e3
        p = p / q
    return p * s * x


cdef inline floating tanh(floating x) noexcept nogil:
    """tanh(x): near 0 by `tanh_rest`, beyond as 1 - 2 / (exp(2 |x|) + 1)"""
    cdef floating size = x if x > 0 else -x, near = tanh_rest(size) + size, far = 1 - 2 / (exp(2 * size) + 1)
    return copysign(near if size < <floating> 0.625 else far, x)


cdef inline floating expm1(floating x) noexcept nogil:
    """exp(x) - 1; near 0 as (exp(x) + 1) tanh(x / 2), which keeps what the difference would cancel"""
    cdef floating half = <floating> 0.5 * x, e = exp(x), near = (tanh_rest(half) + half) * (e + 1)
    return near if -<floating> 0.625 < half < <floating> 0.625 else e - 1


cdef inline floating erfc(floating x, floating* e) noexcept nogil:
    """1 - erf(x), and e := exp(-x^2): for floats e t p(t), t = 1 / (1 + |x| / 2), p interpolated at Chebyshev's points, which
    errs by less than a float's roundings; for doubles one of three quotients, W. J. Cody, Mathematics of Computation 23 (1969),
    of which the last is for 1 / x^2

    exp(-x^2) = exp(-h^2) exp(h^2 - x^2), h near x and h^2 exact: the roundings of a large x^2 would show.
    """
    cdef floating size = x if x > 0 else -x, s, t, p, q, num, den, over, under, h
    cdef bint small, large
    size = 30 if size > 30 else size     # where it is 0 already
    h = rint(64 * size) * <floating> 0.015625
    e[0] = exp(-h * h) * exp_near_0((h - size) * (h + size))
    if floating is float:
        t = 1 / (1 + <float> 0.5 * size)
        p = <float> 3.320108536e-2 * t - <float> 1.764524721e-1
        p = p * t + <float> 3.452935583e-1
        p = p * t - <float> 2.383526449e-1
        p = p * t - <float> 6.788245052e-2
        p = p * t + <float> 6.248515243e-2
        p = p * t + <float> 4.427629946e-2
        p = p * t + <float> 1.883063409e-1
        p = p * t + <float> 2.447470328e-1
        p = p * t + <float> 2.822910507e-1
        p = p * t + <float> 2.820870497e-1
        p = p * t * e[0]
        return p if x > 0 else 2 - p
    else:
        s = size * size
        p = 1.85777706184603153e-1 * s + 3.16112374387056560
        p = p * s + 113.864154151050156
        p = p * s + 377.485237685302021
        p = p * s + 3209.37758913846947
        q = s + 23.6012909523441209
        q = q * s + 244.024637934444173
        q = q * s + 1282.61652607737228
        q = q * s + 2844.23683343917062
        over = 2.15311535474403846e-8 * size + 5.64188496988670089e-1
        over = over * size + 8.88314979438837594
        over = over * size + 66.1191906371416295
        over = over * size + 298.635138197400131
        over = over * size + 881.952221241769090
        over = over * size + 1712.04761263407058
        over = over * size + 2051.07837782607147
        over = over * size + 1230.33935479799725
        under = size + 15.7449261107098347
        under = under * size + 117.693950891312499
        under = under * size + 537.181101862009858
        under = under * size + 1621.38957456669019
        under = under * size + 3290.79923573345963
        under = under * size + 4362.61909014324716
        under = under * size + 3439.36767414372164
        under = under * size + 1230.33935480374942
        num = 6.58749161529837803e-4 * s + 1.60837851487422766e-2
        num = num * s + 1.25781726111229246e-1
        num = num * s + 3.60344899949804439e-1
        num = num * s + 3.05326634961232344e-1
        num = num * s + 1.63153871373020978e-2
        den = 2.33520497626869185e-3 * s + 6.05183413124413191e-2
        den = den * s + 5.27905102951428412e-1
        den = den * s + 1.87295284992346725
        den = den * s + 2.56852019228982242
        den = den * s + 1
        small, large = size < 0.46875, size >= 4
        over = p if small else <double> (1 / ROOT_OF_PI) * den * s - num if large else over
        under = q if small else den * s * size if large else under
        t = over / under
        p = e[0] * t
        p = p if x > 0 else 2 - p
        return 1 - x * t if small else p


cdef inline floating sigmoid(floating z) noexcept nogil:
    """1 / (1 + exp(-z)), from exp(-|z|), which cannot overflow"""
    cdef floating e = exp(-z if z > 0 else z)
    return (1 if z > 0 else e) / (1 + e)
