"""extra corruptions."""

from attacks.corruptions.corruption import Corruption

CORRUPTIONS: tuple[Corruption, ...] = ()
