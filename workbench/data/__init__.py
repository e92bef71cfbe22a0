"""The embedded data set, with its licence and the rule by which it was chosen (README.md)."""
