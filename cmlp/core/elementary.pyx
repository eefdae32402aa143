# exp, log and their like, for floats without calls and branches, so that loops over them are vectorised: within 2 units in the
# last place. For doubles they are the C library's.
from libc.math cimport INFINITY, NAN, erfc as erfc_double, exp as exp_double, expm1 as expm1_double, log as log_double
from libc.math cimport log1p as log1p_double, rintf, tanh as tanh_double


cdef inline float power_of_two(int n) noexcept nogil:
    """2^n, for -126 <= n <= 127, by its bits"""
    cdef int bits = (n + 127) << 23
    cdef float power
    memcpy(&power, &bits, sizeof(power))
    return power


cdef inline float exp_float(float x) noexcept nogil:
    """exp(x) = 2^n exp(r), |r| <= log(2) / 2. The polynomial is that of the Cephes library's expf.

    Without calls and branches, so that loops over it are vectorised. log(2) is subtracted in two parts, and 2^n multiplied in
    two, since n reaches beyond the exponents of normal numbers on both sides.
    """
    cdef float bounded = 89 if x > 89 else -105 if x < -105 else x        # beyond, it is infinity or 0; NaN stays NaN
    cdef float whole = rintf(bounded * <float> 1.44269504), p, r
    cdef int n = <int> whole
    r = bounded - whole * <float> 0.693359375
    r = r + whole * <float> 2.12194440e-4
    p = <float> 1.9875691500e-4 * r + <float> 1.3981999507e-3
    p = p * r + <float> 8.3334519073e-3
    p = p * r + <float> 4.1665795894e-2
    p = p * r + <float> 1.6666665459e-1
    p = p * r + <float> 5.0000001201e-1
    p = p * (r * r) + r + 1
    return p * power_of_two(n // 2) * power_of_two(n - n // 2)


cdef inline floating exp(floating x) noexcept nogil:
    return exp_float(x) if floating is float else exp_double(x)


cdef inline float log_float(float x) noexcept nogil:
    """log(x) = n log(2) + log(1 + r), x = 2^n (1 + r), sqrt(1/2) <= 1 + r < sqrt(2). The polynomial is that of Cephes's logf."""
    cdef bint tiny = x < <float> 1.17549435e-38
    cdef float scaled = x * <float> 8388608. if tiny else x, r, s, p, n, limit
    cdef int bits
    memcpy(&bits, &scaled, sizeof(bits))
    bits += 0x3f800000 - 0x3f3504f3
    n = (bits >> 23) - 127 - (23 if tiny else 0)
    bits = (bits & 0x7fffff) + 0x3f3504f3
    memcpy(&r, &bits, sizeof(r))
    r -= 1
    s = r * r
    p = <float> 7.0376836292e-2 * r - <float> 1.1514610310e-1
    p = p * r + <float> 1.1676998740e-1
    p = p * r - <float> 1.2420140846e-1
    p = p * r + <float> 1.4249322787e-1
    p = p * r - <float> 1.6668057665e-1
    p = p * r + <float> 2.0000714765e-1
    p = p * r - <float> 2.4999993993e-1
    p = p * r + <float> 3.3333331174e-1
    p = p * r * s - n * <float> 2.12194440e-4 - <float> 0.5 * s
    limit = -<float> INFINITY if x == 0 else x if x > 0 else <float> NAN
    return r + p + n * <float> 0.693359375 if 0 < x < <float> INFINITY else limit


cdef inline float log1p_float(float x) noexcept nogil:
    """log(1 + x) for 0 <= x <= 1, as 2 artanh(x / (2 + x)): its power series, cut off below a unit in the last place"""
    cdef float t = x / (2 + x), s = t * t, p
    p = s * <float> (1. / 17) + <float> (1. / 15)
    p = p * s + <float> (1. / 13)
    p = p * s + <float> (1. / 11)
    p = p * s + <float> (1. / 9)
    p = p * s + <float> (1. / 7)
    p = p * s + <float> (1. / 5)
    p = p * s + <float> (1. / 3)
    return 2 * (p * s * t + t)


cdef inline float tanh_float(float x) noexcept nogil:
    """tanh(x): near 0 the odd polynomial of the Cephes library's tanhf, beyond 1 - 2 / (exp(2 |x|) + 1)"""
    cdef float size = x if x > 0 else -x, s = x * x, p, far
    p = <float> -5.70498872745e-3 * s + <float> 2.06390887954e-2
    p = p * s - <float> 5.37397155531e-2
    p = p * s + <float> 1.33314422036e-1
    p = p * s - <float> 3.33332819422e-1
    far = 1 - 2 / (exp_float(2 * size) + 1)
    return p * s * x + x if size < <float> 0.625 else far if x > 0 else -far


cdef inline float erfc_float(float x) noexcept nogil:
    """1 - erf(x), relative error 1.2e-7: Press et al., Numerical Recipes in C, 2nd edition, section 6.2"""
    cdef float size = x if x > 0 else -x, t = 1 / (1 + <float> 0.5 * size), p
    p = t * <float> 0.17087277 - <float> 0.82215223
    p = p * t + <float> 1.48851587
    p = p * t - <float> 1.13520398
    p = p * t + <float> 0.27886807
    p = p * t - <float> 0.18628806
    p = p * t + <float> 0.09678418
    p = p * t + <float> 0.37409196
    p = p * t + <float> 1.00002368
    p = p * t - <float> 1.26551223
    p = t * exp_float(p) * exp_float(-size * size)
    return p if x > 0 else 2 - p


cdef inline floating tanh(floating x) noexcept nogil:
    return tanh_float(x) if floating is float else tanh_double(x)


cdef inline floating expm1(floating x) noexcept nogil:
    """exp(x) - 1; for floats (exp(x) + 1) tanh(x / 2), which keeps what the difference would cancel"""
    return tanh_float(<float> 0.5 * x) * (exp_float(x) + 1) if floating is float else expm1_double(x)


cdef inline floating log(floating x) noexcept nogil:
    return log_float(x) if floating is float else log_double(x)


cdef inline floating log1p(floating x) noexcept nogil:
    return log1p_float(x) if floating is float else log1p_double(x)


cdef inline floating erfc(floating x) noexcept nogil:
    return erfc_float(x) if floating is float else erfc_double(x)


cdef inline floating sigmoid(floating z) noexcept nogil:
    """1 / (1 + exp(-z)), from exp(-|z|), which cannot overflow"""
    cdef floating e = exp(-z if z > 0 else z)
    return (1 if z > 0 else e) / (1 + e)
