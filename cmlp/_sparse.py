"""Sparse samples as the compiled core takes them: SciPy's CSR, one sample a row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class SparseRows:
    """
    Samples most of whose numbers are 0; only the others are kept.

    Parameters
    ----------
    matrix : scipy.sparse array or matrix of shape (m, n_inputs)
        The samples as rows, in any of SciPy's formats; CSR is not copied, if its type and order are the core's.
    """

    def __init__(self, matrix: Any) -> None:
        if hasattr(matrix, "check_format"):  # the core goes where the indices say
            matrix.check_format(full_check=True)
        csr = matrix.tocsr()
        if not csr.has_canonical_format:
            csr = csr.copy()
            csr.sum_duplicates()
        self.shape, self.dtype = csr.shape, csr.data.dtype
        self.values = self._cast = np.ascontiguousarray(csr.data)
        self.columns = np.ascontiguousarray(csr.indices, dtype=np.intc)
        self.starts = np.array(csr.indptr, dtype=np.intp)  # ours: the core goes where they say

    def __len__(self) -> int:
        return int(self.shape[0])

    def astype(self, dtype: np.dtype[Any]) -> tuple[Array, Array, Array, int]:
        """
        Return the samples for a network of this type.

        Parameters
        ----------
        dtype : numpy.dtype
            The network's.

        Returns
        -------
        values : ndarray of shape (n_values,), the dtype
            One after the other, sample by sample.
        columns : ndarray of shape (n_values,), intc
            Where they stand, ascending in each sample.
        starts : ndarray of shape (m + 1,), intp
            Where each sample's begin.
        n_inputs : int
            Columns in all.
        """
        if self._cast.dtype != dtype:  # once, for the steps of all epochs
            with np.errstate(over="ignore"):  # the passes find infinity
                self._cast = self.values.astype(dtype)
        return self._cast, self.columns, self.starts, int(self.shape[1])
