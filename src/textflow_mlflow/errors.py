"""What a person can put right: a fact, a remedy, and the exit status that says which kind."""

from typing import NamedTuple

EXIT_FAILED = 1
EXIT_USAGE = 2  # click's own, for an unknown flag
EXIT_SETTINGS = 3
EXIT_DATABASE = 4
EXIT_FOLDERS = 5
EXIT_ADDRESS = 6

STATUSES = {
    EXIT_FAILED: "the command failed",
    EXIT_USAGE: "an unknown command or flag",
    EXIT_SETTINGS: "a setting is wrong",
    EXIT_DATABASE: "the database cannot be used",
    EXIT_FOLDERS: "a folder cannot be written",
    EXIT_ADDRESS: "the address cannot be listened on",
}


class Problem(NamedTuple):
    """A fact and what to do about it, each one line, lower case, without a secret."""

    fact: str
    remedy: str


class UserError(Exception):
    """One or more problems that end a command; `exit_code` is the process's exit status."""

    def __init__(self, *problems: Problem, exit_code: int = EXIT_FAILED):
        super().__init__("; ".join(problem.fact for problem in problems))
        self.problems = problems
        self.exit_code = exit_code


class BadValue(ValueError):
    """A value that a setting cannot take; `fact` goes on where the setting's name stops."""

    def __init__(self, fact: str, remedy: str):
        super().__init__(fact)
        self.fact = fact
        self.remedy = remedy
