"""What can go wrong in the library, as types that a caller can tell apart.

Each message says what was expected and what came. None of these is a programming error: those stay
`TypeError`, `ValueError` and their like.
"""


class CoreError(Exception):
    """Base of every error the library raises on purpose."""


class ImageError(CoreError):
    """Bytes or an array that are not a picture the product can look at."""


class WeightsError(CoreError):
    """Model weights that are missing, damaged, or do not fit their configuration."""


class EncoderError(CoreError):
    """An encoder that cannot be built as asked: stages it lacks, an image size its patches do not divide."""


class DeviceError(CoreError):
    """A device or precision that was asked for and is not there."""


class BankError(CoreError):
    """A bank file that is damaged or not a bank."""


class MismatchError(CoreError):
    """Two artefacts that do not belong together: a bank or adapter made for another encoder."""


class DatasetError(CoreError):
    """A data set that cannot be trained or evaluated on; the message names the file."""


class TrainingError(CoreError):
    """A training that cannot begin as asked, cannot go on where it stopped, or left the finite numbers."""


class MetricsError(CoreError):
    """Scores that have no figures because they are not finite; the message names the picture's index."""


class EnrolmentError(CoreError):
    """Good samples that cannot be enrolled; `sample` names the guilty one where one is."""

    def __init__(self, message: str, *, sample: str | None = None) -> None:
        super().__init__(message)
        self.sample = sample


class CalibrationError(CoreError):
    """A promise on false rejects that this many samples cannot carry; `needed` says how many could."""

    def __init__(self, message: str, *, needed: int | None = None) -> None:
        super().__init__(message)
        self.needed = needed
