# What the processor can do at most: multiply-adds on whole registers, none of which waits for memory or for another one.
#
# gemm.py builds this for each instruction set with the core's own flags. Where there is no fused multiply-add, it is a
# multiplication and an addition.

cdef extern from "vec.h" nogil:
    ctypedef float vf                    # to Cython a float; really one register of floats, as in cmlp/core/tile.pyx
    ctypedef double vd

cdef enum:
    CHAINS = 12                          # with x and y 14 of 16 registers; 2 units of 4 cycles each want 8 chains
    MOST_NUMBERS = 192                   # floats in CHAINS registers of 64 bytes

ctypedef fused floating:
    float
    double

ctypedef fused vec:
    vf
    vd


cdef inline void chains(vec* acc, floating x, floating y, Py_ssize_t repeats) noexcept nogil:
    """acc := acc * x + y for each of CHAINS registers, again and again"""
    cdef vec a[CHAINS]
    cdef Py_ssize_t _
    cdef int i
    for i in range(CHAINS):
        a[i] = acc[i]
    for _ in range(repeats):
        for i in range(CHAINS):
            a[i] = a[i] * x + y
    for i in range(CHAINS):
        acc[i] = a[i]


def multiply_add(floating x, floating y, Py_ssize_t repeats):
    """What a number has come to, y / (1 - x) in the end, and the floating-point operations that were done."""
    cdef floating numbers[MOST_NUMBERS]
    cdef Py_ssize_t q, lanes = (sizeof(vf) if floating is float else sizeof(vd)) // sizeof(floating)
    for q in range(MOST_NUMBERS):        # all different, so that no chain can stand for another
        numbers[q] = q
    with nogil:
        if floating is float:
            chains(<vf*> numbers, x, y, repeats)
        else:
            chains(<vd*> numbers, x, y, repeats)
    return numbers[CHAINS * lanes - 1], 2 * CHAINS * lanes * repeats
