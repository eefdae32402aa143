# Which thread has something for itself. Python lets neither signals nor other threads in between a `with` of C's and the lines
# that it holds, as it would into one written in Python: whatever is raised, and wherever, nobody owns a thing for ever.
from cpython.pythread cimport PyThread_get_thread_ident

cdef int forks = 0                       # of the processes that this one comes from, since the module was there


cdef class Owner:
    """Keeps a network to the thread that is within."""
    cdef long thread
    cdef int forks_before
    cdef bint taken

    cdef bint is_taken(self):
        """Whether a thread is within that has not stayed behind in the process that this one was forked from"""
        return self.taken and self.forks_before == forks

    def __enter__(self):
        cdef long thread = PyThread_get_thread_ident()
        if self.is_taken() and self.thread == thread:
            raise RuntimeError("neither a callback nor a source of chunks can train or change the network being trained")
        if self.is_taken():
            raise RuntimeError("another thread is training this network: train one network from one thread at a time")
        self.thread, self.forks_before, self.taken = thread, forks, True

    def __exit__(self, *error):
        self.taken = False

    def is_elsewhere(self):
        """Whether it is another thread that is within."""
        return self.is_taken() and self.thread != PyThread_get_thread_ident()
