"""What is wrong with data, told apart from what is wrong with a call."""


class DataError(ValueError):
    """Files that cannot be used as they are: unreadable, incomplete, or not laid out as they must be."""
