"""`python -m training`: steps of a training run, promotion, backtests, batch recommendations."""

import os

# Read when numerical libraries load: on few shared cores, spinning and nested threads cost more than they give.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from training.cli.app import main  # after the variables

main()
