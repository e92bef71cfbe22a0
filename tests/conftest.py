"""What every test can rely on."""

import signal

# A shell that starts the suite in the background has it ignore Ctrl-C, and so would every process
# that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
