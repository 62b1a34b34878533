"""`doctor`: is everything there that the daemon needs? Looks, changes nothing, and says what to do.

One file an area; each gives findings. Secrets never come out: settings mask them, and no check repeats a URL.
"""

from daemon.admin.doctor.command import doctor
from daemon.admin.doctor.finding import Finding, exit_code

__all__ = ["Finding", "doctor", "exit_code"]
