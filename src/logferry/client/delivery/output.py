"""What an output promises about the lines that it takes."""

from enum import Enum


class Guarantee(Enum):
    """How often a line that was read is stored, whatever breaks on its way."""

    EXACTLY_ONCE = "exactly once"
    AT_LEAST_ONCE = "at least once"
    BEST_EFFORT = "best effort"
