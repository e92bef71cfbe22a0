"""What the application says when a person asked for something that cannot be done."""


class UsageError(ValueError):
    """A mistake the user can mend: the message says what is wrong, where, and what to do."""
