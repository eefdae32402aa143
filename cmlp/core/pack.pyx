# Matrices into packed panels, transposed on the way if need be, and out of them; and rows across, so that a register holds a
# number of each. Panels are described in gemm.pyx.
from libc.string cimport memcpy

cdef enum:
    SOME_ROWS = 32                       # that are worked on side by side
    SOME_COLUMNS = 16                    # of these, that are turned into runs of memory at a time
    FEWEST_ABREAST = 8                   # rows for which that pays


cdef inline void turn_square(floating* to, Py_ssize_t ld_to, const floating* source, Py_ssize_t ld_source) noexcept nogil:
    """to := source.T, both of as many rows and columns as 16 bytes hold"""
    cdef quad a, b, c, d, ac, bd
    cdef pair p, q
    if floating is float:
        a, b = (<const quad*> source)[0], (<const quad*> (source + ld_source))[0]
        c, d = (<const quad*> (source + 2 * ld_source))[0], (<const quad*> (source + 3 * ld_source))[0]
        ac, bd = deal_quads_low(a, c), deal_quads_low(b, d)
        (<quad*> to)[0], (<quad*> (to + ld_to))[0] = deal_quads_low(ac, bd), deal_quads_high(ac, bd)
        ac, bd = deal_quads_high(a, c), deal_quads_high(b, d)
        (<quad*> (to + 2 * ld_to))[0], (<quad*> (to + 3 * ld_to))[0] = deal_quads_low(ac, bd), deal_quads_high(ac, bd)
    else:
        p, q = (<const pair*> source)[0], (<const pair*> (source + ld_source))[0]
        (<pair*> to)[0], (<pair*> (to + ld_to))[0] = deal_pairs_low(p, q), deal_pairs_high(p, q)


cdef inline inlined turned_registers(vec* to, const floating* source, Py_ssize_t ld_source) noexcept nogil:
    """to := source.T, whose rows are registers: as many as 16 bytes hold numbers"""
    cdef vf a, b, c, d, ac, bd
    cdef vd p, q
    if vec is vf:
        if floating is float:
            a, b = floats_of_quads(source, 4 * ld_source), floats_of_quads(source + ld_source, 4 * ld_source)
            c, d = floats_of_quads(source + 2 * ld_source, 4 * ld_source), floats_of_quads(source + 3 * ld_source, 4 * ld_source)
            ac, bd = deal_floats_low(a, c), deal_floats_low(b, d)
            to[0], to[1] = deal_floats_low(ac, bd), deal_floats_high(ac, bd)
            ac, bd = deal_floats_high(a, c), deal_floats_high(b, d)
            to[2], to[3] = deal_floats_low(ac, bd), deal_floats_high(ac, bd)
    elif floating is double:
        p, q = doubles_of_pairs(source, 2 * ld_source), doubles_of_pairs(source + ld_source, 2 * ld_source)
        to[0], to[1] = deal_doubles_low(p, q), deal_doubles_high(p, q)


cdef inline void turn_squares(floating* to, Py_ssize_t ld_to, const floating* source, Py_ssize_t ld_source) noexcept nogil:
    """`turn_square` of as many squares as a register holds, side by side in `to`"""
    cdef vf floats[4]
    cdef vd doubles[2]
    cdef int i
    if floating is float:
        turned_registers(floats, source, ld_source)
        for i in range(4):
            (<vf*> (to + i * ld_to))[0] = floats[i]
    else:
        turned_registers(doubles, source, ld_source)
        for i in range(2):
            (<vd*> (to + i * ld_to))[0] = doubles[i]


cdef out_of_line turn(floating* to, Py_ssize_t ld_to, const floating* source, Py_ssize_t rows_apart, Py_ssize_t columns_apart,
                      Py_ssize_t rows, Py_ssize_t columns) noexcept nogil:
    """to (rows, columns) := source, whose columns are runs of memory if rows_apart is 1: in squares then"""
    cdef Py_ssize_t side = 16 // sizeof(floating), lanes = lane_count(to)
    cdef Py_ssize_t in_registers = 0, squares = 0, whole = rows // side * side, i, j, r
    if HAS_SHUFFLES and rows_apart == 1:
        in_registers, squares = columns // lanes * lanes, columns // side * side
    for i from 0 <= i < whole by side:
        for j from 0 <= j < in_registers by lanes:
            turn_squares(to + i * ld_to + j, ld_to, source + i + j * columns_apart, columns_apart)
        for j from in_registers <= j < squares by side:
            turn_square(to + i * ld_to + j, ld_to, source + i + j * columns_apart, columns_apart)
        for r in range(i, i + side):
            for j in range(squares, columns):
                to[r * ld_to + j] = source[r * rows_apart + j * columns_apart]
    for r in range(whole, rows):
        for j in range(columns):
            to[r * ld_to + j] = source[r * rows_apart + j * columns_apart]


cdef inline Py_ssize_t in_squares(Py_ssize_t columns, Py_ssize_t room, const floating* like) noexcept nogil:
    """As many columns that they can be turned fast, if there is room for them"""
    cdef Py_ssize_t side = 16 // sizeof(floating)
    return min((columns + side - 1) // side * side, room)


cdef out_of_line take_across(floating* across, const floating* y, Py_ssize_t ld, Py_ssize_t m, Py_ssize_t columns,
                             Py_ssize_t room) noexcept nogil:
    """across := y.T, SOME_ROWS apart, of a few columns; room: columns that y may have, with the padding"""
    cdef Py_ssize_t i, j
    if columns > FEW:
        turn(across, SOME_ROWS, y, 1, ld, in_squares(columns, room, y), m)
        return
    for j in range(columns):             # turning squares would take as long for four
        for i in range(m):
            across[j * SOME_ROWS + i] = y[i * ld + j]


cdef out_of_line give_across(floating* y, Py_ssize_t ld, const floating* across, Py_ssize_t m, Py_ssize_t columns,
                             Py_ssize_t room) noexcept nogil:
    """y := across.T, likewise; the padding too, if that was taken"""
    cdef Py_ssize_t i, j
    if columns > FEW:
        turn(y, ld, across, 1, SOME_ROWS, m, in_squares(columns, room, y))
        return
    for j in range(columns):
        for i in range(m):
            y[i * ld + j] = across[j * SOME_ROWS + i]


cdef inline void copy_block(floating* to, Py_ssize_t ld_to, const floating* source, Py_ssize_t ld_source,
                            Py_ssize_t rows, Py_ssize_t columns) noexcept nogil:
    """to := source, row by row"""
    cdef Py_ssize_t i
    for i in range(rows):
        memcpy(to + i * ld_to, source + i * ld_source, columns * sizeof(floating))


cdef inline void copy_panel(floating* to, Py_ssize_t ld_to, const floating* source, Py_ssize_t ld_source,
                            Py_ssize_t rows, Py_ssize_t columns) noexcept nogil:
    """to := source, of at most a panel's columns"""
    cdef Py_ssize_t i
    if columns < panel(to):
        copy_block(to, ld_to, source, ld_source, rows, columns)
        return
    for i in range(rows):                # of a size that the compiler knows
        memcpy(to + i * ld_to, source + i * ld_source, PANEL_BYTES)


cdef void pack(floating* to, Py_ssize_t to_rows, Py_ssize_t first, const floating* source,
               Py_ssize_t rows_apart, Py_ssize_t columns_apart, Py_ssize_t rows, Py_ssize_t columns) noexcept nogil:
    """Rows first .. first + rows of `to`, packed panels of to_rows rows, := source; the padding := 0"""
    cdef Py_ssize_t width = panel(to), all_columns = padded(columns, to), some = ROWS_TO_PACK if columns_apart == 1 else rows
    cdef Py_ssize_t i, j, r, wide, filled, depth
    cdef floating* out
    cdef const floating* block
    for i from 0 <= i < rows by some:
        depth = min(rows - i, some)
        for j from 0 <= j < all_columns by width:
            wide, filled = min(all_columns - j, width), min(columns - j, width)
            out, block = to + j * to_rows + (first + i) * wide, source + i * rows_apart + j * columns_apart
            for r in range(depth if filled < wide else 0):
                memset(out + r * wide + filled, 0, (wide - filled) * sizeof(floating))
            if columns_apart == 1:
                copy_panel(out, wide, block, rows_apart, depth, filled)
            else:
                turn(out, wide, block, rows_apart, columns_apart, depth, filled)


cdef double unpack(floating* to, Py_ssize_t ld, const floating* source, Py_ssize_t source_rows, Py_ssize_t first,
                   Py_ssize_t rows, Py_ssize_t columns) noexcept nogil:
    """to, row-major, := rows first .. first + rows of source, packed panels of source_rows rows; the sum of their squares"""
    cdef Py_ssize_t width = panel(to), i, j, q, wide
    cdef double sum = 0
    cdef floating squares[PANEL_FLOATS]
    cdef const floating* block
    for j from 0 <= j < columns by width:
        wide = min(columns - j, width)
        block = source + j * source_rows + first * wide
        copy_panel(to + j, ld, block, wide, rows, wide)
        memset(squares, 0, sizeof(squares))
        for i in range(rows):
            for q in range(wide):
                squares[q] += block[i * wide + q] * block[i * wide + q]
        for q in range(wide):
            sum += squares[q]
    return sum


cdef struct Loose:                       # a matrix b that is not in panels
    const void* b
    const void* bias                     # of as many columns, with the padding
    Py_ssize_t rows_apart                # in elements
    Py_ssize_t columns_apart
    Py_ssize_t first                     # of its columns, the one that is used first
    Py_ssize_t columns                   # without padding
    Py_ssize_t panel_rows                # unless 0: it is the transpose of what lies in packed panels of so many rows


cdef void turn_block(floating* to, const Loose* loose, Py_ssize_t k, Py_ssize_t p, Py_ssize_t depth, Py_ssize_t j,
                     Py_ssize_t wide) noexcept nogil:
    """`take_block` of the transpose of packed panels"""
    cdef Py_ssize_t width = panel(to), filled = min(loose.columns - j, wide), at = p, apart, some
    cdef const floating* source
    while at < p + depth:
        apart = min(padded(k, to) - at // width * width, width)
        some = min(width - at % width, p + depth - at)
        source = <const floating*> loose.b + at // width * width * loose.panel_rows + j * apart
        pack(to, depth, at - p, source + at % width, 1, apart, some, filled)
        at += some


cdef void take_block(floating* to, const Loose* loose, Py_ssize_t k, Py_ssize_t p, Py_ssize_t depth, Py_ssize_t j,
                     Py_ssize_t wide) noexcept nogil:
    """to := rows p .. p + depth of k and columns j .. j + wide, a panel's, of b"""
    if loose.panel_rows > 0:
        turn_block(to, loose, k, p, depth, j, wide)
    else:
        pack(to, depth, 0, <const floating*> loose.b + p * loose.rows_apart + j * loose.columns_apart, loose.rows_apart,
             loose.columns_apart, depth, min(loose.columns - j, wide))
