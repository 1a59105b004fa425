"""The one error of this package."""

from collections.abc import Iterable


class ConfigError(Exception):
    """The settings cannot be used.

    `problems` holds one sentence for each thing to mend, all of them at once, so that nobody has to try again
    and again. No sentence repeats the value of a text or of a secret.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        """Keep the sentences, in order and without repeats."""
        self.problems = tuple(dict.fromkeys(problems))
        count = len(self.problems)
        heading = f"The configuration has {count} problem{'' if count == 1 else 's'}:"
        super().__init__("\n".join([heading, *(f"- {problem}" for problem in self.problems)]))

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[tuple[str, ...]]]:
        """Pickle by the sentences, not by the finished text."""
        return type(self), (self.problems,)
