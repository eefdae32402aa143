# Which of a layer's outputs a step leaves out: numbers that follow from where they stand alone, so that any thread, block and
# regime leaves out the same ones.
cdef extern from "<stdint.h>" nogil:
    ctypedef unsigned int uint32_t
    ctypedef unsigned long long uint64_t


cdef inline uint64_t mixed(uint64_t x) noexcept nogil:
    """A number that each bit of x changes half the bits of: the finalizer of SplitMix64 (Steele, Lea, Flood 2014)"""
    x += <uint64_t> 0x9e3779b97f4a7c15
    x = (x ^ (x >> 30)) * <uint64_t> 0xbf58476d1ce4e5b9
    x = (x ^ (x >> 27)) * <uint64_t> 0x94d049bb133111eb
    return x ^ (x >> 31)


cdef inline uint32_t scattered(uint32_t x) noexcept nogil:
    """The same for 32 bits, which vectors multiply: Wellons's lowbias32"""
    x = (x ^ (x >> 16)) * <uint32_t> 0x7feb352d
    x = (x ^ (x >> 15)) * <uint32_t> 0x846ca68b
    return x ^ (x >> 16)


cdef void drop(floating* y, floating* s, Py_ssize_t m, Py_ssize_t columns, Py_ssize_t ld, double rate, uint64_t seed,
               Py_ssize_t step, Py_ssize_t layer, Py_ssize_t row, Py_ssize_t column) noexcept nogil:
    """y := 0 for about `rate` of the numbers, y / (1 - rate) for the others, and the same of s (Srivastava et al. 2014)

    row, column: where y begins, in all that the layer makes in this step.
    """
    cdef uint64_t key
    cdef uint32_t low, high, limit = <uint32_t> (rate * 4294967296.)
    cdef floating factor = 1 / (1 - rate), kept
    cdef Py_ssize_t i, j
    for i in range(m):
        key = mixed(mixed(mixed(seed + <uint64_t> step) + <uint64_t> layer) + <uint64_t> (row + i))
        low, high = <uint32_t> key, <uint32_t> (key >> 32)
        for j in range(columns):
            kept = factor if scattered(scattered(low + <uint32_t> (column + j)) ^ high) >= limit else 0
            y[i * ld + j] *= kept
            s[i * ld + j] *= kept
