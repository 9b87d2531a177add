"""What can go wrong in a way that the person at the keyboard can mend."""


class StageError(Exception):
    """One line saying what is wrong, where (file, record, key) and what to do. The command line exits with status 2."""

    exit_status = 2


class Interrupted(StageError):
    """The person (or the machine's manager) asked to stop; what was reached is on disk. Exit status 130."""

    exit_status = 130
