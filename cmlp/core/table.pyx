# Rows out of what the user holds: any type of number, any strides, a block at a time, converted on the way.
#
# A table has one sample a row, m rows of n columns, from one on.   order: which rows, in the order of their use; NULL: first,
# first + 1, ...
from libc.math cimport INFINITY, NAN, ldexp

cdef enum:
    ROWS_AT_ONCE = 64                    # of a table whose columns are runs of memory, or nearly
    COLUMNS_AT_ONCE = 16                 # of these: a cache line of floats
    FAR_BYTES = 8388608                  # that a row spans, if it is not a run: more pages than a processor remembers

ctypedef fused number:
    signed char
    unsigned char
    short
    ushort
    int
    unsigned int
    long long
    unsigned long long
    float
    double
    long double

cdef struct Scaling:                     # of what is read: (x - shift) * factor for each column, or scale * x for all alike
    double scale
    const double* shift                  # or NULL
    const double* factor

cdef struct Table:
    const char* data
    Py_ssize_t rows_apart                # in bytes, as columns_apart; any sign
    Py_ssize_t columns_apart
    Py_ssize_t itemsize
    char kind                            # i signed, u unsigned, e half, f floating
    bint swapped                         # a number's bytes stand in the other order than this machine's


cdef inline double half(ushort bits) noexcept nogil:
    """The number that an IEEE 754 binary16 stands for"""
    cdef int exponent = bits >> 10 & 31
    cdef double fraction = bits & 1023, value
    if exponent == 31:
        value = INFINITY if fraction == 0 else NAN
    elif exponent == 0:
        value = ldexp(fraction, -24)
    else:
        value = ldexp(fraction + 1024, exponent - 25)
    return -value if bits >> 15 else value


cdef inline number element(const char* at, bint swapped, number like) noexcept nogil:
    """The number at any address"""
    cdef number value
    cdef char* to = <char*> &value
    cdef size_t i
    if swapped:
        for i in range(sizeof(number)):
            to[i] = at[sizeof(number) - 1 - i]
    else:
        memcpy(to, at, sizeof(number))
    return value


cdef inline void convert(floating* to, Py_ssize_t to_apart, const char* at, Py_ssize_t at_apart, Py_ssize_t size,
                         const Scaling* scaling, Py_ssize_t column, bint across, bint swapped, bint halves,
                         number like) noexcept nogil:
    """to := size numbers, scaled; elements and bytes apart; they stand in one column, or across columns, from this one on"""
    cdef Py_ssize_t i, j
    cdef number value
    cdef floating scale = scaling.scale
    if scaling.shift != NULL:            # in double: the difference of large numbers may be small
        for i in range(size):
            value, j = element(at + i * at_apart, swapped, like), column + (i if across else 0)
            to[i * to_apart] = <floating> (((half(<ushort> value) if number is ushort and halves else <double> value)
                                            - scaling.shift[j]) * scaling.factor[j])
        return
    for i in range(size):
        value = element(at + i * at_apart, swapped, like)
        if number is ushort:
            to[i * to_apart] = scale * <floating> (half(value) if halves else value)
        else:
            to[i * to_apart] = scale * <floating> value


cdef one_copy convert_any(floating* to, Py_ssize_t to_apart, const char* at, Py_ssize_t at_apart, Py_ssize_t size,
                          const Scaling* scaling, Py_ssize_t column, bint across, bint swapped, bint halves,
                          number like) noexcept nogil:
    """`convert`, whatever the steps"""
    convert(to, to_apart, at, at_apart, size, scaling, column, across, swapped, halves, like)


cdef one_copy convert_run(floating* to, const char* at, Py_ssize_t size, const Scaling* scaling, Py_ssize_t column, bint across,
                          bint halves, number like) noexcept nogil:
    """`convert` from a run of memory to another, so that the compiler knows the steps"""
    convert(to, 1, at, sizeof(number), size, scaling, column, across, False, halves, like)


cdef inline void convert_as(floating* to, const Table* table, const char* at, Py_ssize_t at_apart, Py_ssize_t size,
                            const Scaling* scaling, Py_ssize_t column, bint across, number like) noexcept nogil:
    """`convert` to a run of memory, of numbers of one type"""
    if at_apart == sizeof(number) and not table.swapped:
        convert_run(to, at, size, scaling, column, across, table.kind == c'e', like)
    else:
        convert_any(to, 1, at, at_apart, size, scaling, column, across, table.swapped, table.kind == c'e', like)


cdef void convert_numbers(floating* to, const Table* table, const char* at, Py_ssize_t at_apart, Py_ssize_t size,
                          const Scaling* scaling, Py_ssize_t column, bint across) noexcept nogil:
    """The same, of whichever type the table's are"""
    if table.kind == c'u':
        if table.itemsize == 1:
            convert_as(to, table, at, at_apart, size, scaling, column, across, <unsigned char> 0)
        elif table.itemsize == 2:
            convert_as(to, table, at, at_apart, size, scaling, column, across, <ushort> 0)
        elif table.itemsize == 4:
            convert_as(to, table, at, at_apart, size, scaling, column, across, <unsigned int> 0)
        else:
            convert_as(to, table, at, at_apart, size, scaling, column, across, <unsigned long long> 0)
    elif table.kind == c'i':
        if table.itemsize == 1:
            convert_as(to, table, at, at_apart, size, scaling, column, across, <signed char> 0)
        elif table.itemsize == 2:
            convert_as(to, table, at, at_apart, size, scaling, column, across, <short> 0)
        elif table.itemsize == 4:
            convert_as(to, table, at, at_apart, size, scaling, column, across, <int> 0)
        else:
            convert_as(to, table, at, at_apart, size, scaling, column, across, <long long> 0)
    elif table.itemsize == 2:
        convert_as(to, table, at, at_apart, size, scaling, column, across, <ushort> 0)
    elif table.itemsize == 4:
        convert_as(to, table, at, at_apart, size, scaling, column, across, <float> 0)
    elif table.itemsize == 8:
        convert_as(to, table, at, at_apart, size, scaling, column, across, <double> 0)
    else:
        convert_as(to, table, at, at_apart, size, scaling, column, across, <long double> 0)


cdef void collect(char* to, const char* at, Py_ssize_t apart, const Py_ssize_t* order, Py_ssize_t size,
                  Py_ssize_t itemsize) noexcept nogil:
    """to := the bytes of numbers so far apart, in this order"""
    cdef Py_ssize_t i
    if itemsize == 1:
        for i in range(size):
            to[i] = at[order[i] * apart]
    elif itemsize == 4:                  # of a size that the compiler knows
        for i in range(size):
            memcpy(to + 4 * i, at + order[i] * apart, 4)
    elif itemsize == 8:
        for i in range(size):
            memcpy(to + 8 * i, at + order[i] * apart, 8)
    else:
        for i in range(size):
            memcpy(to + itemsize * i, at + order[i] * apart, itemsize)


cdef void read_columns(floating* to, Py_ssize_t ld, const Table* table, const char* data, const Py_ssize_t* order, Py_ssize_t m,
                       Py_ssize_t column, Py_ssize_t n, const Scaling* scaling) noexcept nogil:
    """`read_rows`, one column after the other of some rows"""
    cdef floating side[ROWS_AT_ONCE * COLUMNS_AT_ONCE]
    cdef long double raw[ROWS_AT_ONCE]   # room for any type
    cdef Py_ssize_t down = table.rows_apart, i, j, q, rows, columns
    cdef const char* at
    for i from 0 <= i < m by ROWS_AT_ONCE:
        rows = min(m - i, ROWS_AT_ONCE)
        for j from 0 <= j < n by COLUMNS_AT_ONCE:
            columns = min(n - j, COLUMNS_AT_ONCE)
            for q in range(columns):
                at = data + (j + q) * table.columns_apart
                if order != NULL:
                    collect(<char*> raw, at, down, order + i, rows, table.itemsize)
                convert_numbers(side + q * ROWS_AT_ONCE, table, <const char*> raw if order != NULL else at + i * down,
                                table.itemsize if order != NULL else down, rows, scaling, column + j + q, False)
            turn(to + i * ld + j, ld, side, 1, ROWS_AT_ONCE, rows, columns)


cdef void read_rows(floating* to, Py_ssize_t ld, const Table* table, const Py_ssize_t* order, Py_ssize_t first,
                    Py_ssize_t m, Py_ssize_t column, Py_ssize_t n, const Scaling* scaling) noexcept nogil:
    """to := n columns of m rows of the table, scaled"""
    cdef Py_ssize_t i, j
    cdef Py_ssize_t down = table.rows_apart, across = table.columns_apart
    cdef const char* data = table.data + column * across + (first * down if order == NULL else 0)
    cdef const char* at
    order += first if order != NULL else 0
    down, across = down if down > 0 else -down, across if across > 0 else -across
    # Columns that are runs of memory, read from end to end, or in any order if along a row each number is in a page by itself.
    # And few of them: a call for each row would take longer than what it reads.
    if down < across and (order == NULL or n * across > FAR_BYTES) or n <= FEW and m > n:
        read_columns(to, ld, table, data, order, m, column, n, scaling)
        return
    for i in range(m):
        at = data + (i if order == NULL else order[i]) * table.rows_apart
        if table.columns_apart == table.itemsize and i + 1 < m:      # no processor can tell which row, or part of one, comes next
            for j from 0 <= j < n * across by LINE_BYTES:
                prefetch(data + (i + 1 if order == NULL else order[i + 1]) * table.rows_apart + j)
        convert_numbers(to + i * ld, table, at, table.columns_apart, n, scaling, column, True)


cdef inline bint in_place(const Table* table, const Py_ssize_t* order, const Scaling* scaling,
                          const floating* like) noexcept nogil:
    """Whether the rows can be used where they lie, as numbers of the network's own type"""
    cdef Py_ssize_t size = sizeof(floating)
    if table.rows_apart == size:         # of one feature, side by side: the product would take them for columns
        return False
    return (table.kind == c'f' and table.itemsize == size and not table.swapped and order == NULL
            and scaling.scale == 1 and scaling.shift == NULL
            and table.columns_apart == size and table.rows_apart % size == 0 and <size_t> table.data % size == 0)


cdef Fetch fetching(const Table* table, const Py_ssize_t* order, Py_ssize_t first, Py_ssize_t m, Py_ssize_t column,
                    Py_ssize_t n) noexcept nogil:
    """n columns of m rows of the table, which are to come; if a row is a run of memory"""
    cdef Fetch f
    f.data, f.rows_apart, f.order = table.data + column * table.columns_apart, table.rows_apart, order
    f.row, f.at, f.size = first, 0, n * table.itemsize
    f.end = first + m if table.columns_apart == table.itemsize else first
    return f
