from cmlp.core.core import *
