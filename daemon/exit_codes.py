"""Exit codes of every command (contract.md; the two large ones are sysexits.h names)."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process says as it ends."""

    OK = 0
    REFUSED = 1
    """The data were refused: a bad image, a promise that cannot be kept."""
    USAGE = 2
    UNAVAILABLE = 69
    """A service is unavailable: Redis, SQL, the daemon."""
    SOFTWARE = 70
    """The service stopped itself: a thread or process died and could not be replaced."""
    CONFIG = 78
