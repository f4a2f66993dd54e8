"""The tests, and what libraries read only once: before their import."""

import os

# scikit-learn dispatches on arrays only if scipy was told so.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

# Several test processes share the cores: threads that wait for each other at every
# small product would cost more than they give. This is for BLAS and OpenMP, here and in
# processes that tests start; conftest.py holds torch to one, and `many_threads` undoes
# that.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
