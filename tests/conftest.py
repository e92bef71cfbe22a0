"""What every test can rely on."""

import os
import signal

from hypothesis import HealthCheck, settings

# Networks here are tiny, and every core has a worker of pytest's. Set before torch is imported,
# and for every process that a test starts.
os.environ["OMP_NUM_THREADS"] = "1"

# A worker of pytest's is told how wide a terminal is that it does not have; commands would heed it.
os.environ.pop("COLUMNS", None)

# How long an example takes says how busy the machine is.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

# A shell that starts the suite in the background has it ignore Ctrl-C, and so would every process
# that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
