"""What can go wrong between the API and the destination, for the person who reads it at night."""

from datetime import datetime
from typing import ClassVar


class LoadError(Exception):
    """A load that did not happen, with a message that says what failed, where, why and what to do.

    `permanent` says that trying again cannot help until somebody changes something.
    """

    permanent: ClassVar[bool] = False


class RequestError(LoadError):
    """The API could not be reached or did not answer well, and trying again did not help."""


class RefusedError(LoadError):
    """The API understood the request and refused it: 401, 403, 404 and their like."""

    permanent = True


class QuotaError(LoadError):
    """The API takes no request until its quota is new, and that is longer than a request may wait.

    Args:
        message: What failed, where, why, and what to do.
        renewed: When the quota is new.
    """

    def __init__(self, message: str, renewed: datetime | None = None) -> None:
        super().__init__(message)
        self.renewed = renewed


class ForbiddenOriginError(LoadError):
    """A next link or a redirect leads to an origin that the file does not allow."""

    permanent = True


class TooLargeError(LoadError):
    """An answer is larger than `client.max_response_bytes`, or there are more pages than `limits.pages`."""

    permanent = True


class WindowTooLargeError(LoadError):
    """The API says that a window is too large to be asked for at once."""

    permanent = True


class TooSlowError(LoadError):
    """An answer takes longer than `client.max_response_time`."""


class PageError(LoadError):
    """A page does not look as the file says, or pages do not come to an end."""


class UnstableError(PageError):
    """Rows came or went while they were read, so that some may be missing; another reading may be whole."""


class PartsError(PageError):
    """What came for parts of a window does not add up to the window."""

    permanent = True


class ExportError(LoadError):
    """An export did not come to be, or not in time."""


class SelectorError(PageError):
    """`data_selector` matches nothing in an answer."""


class CursorError(LoadError):
    """Rows do not carry the cursor, or it cannot be read as a time."""

    permanent = True


class MissingSecretError(LoadError):
    """A `${NAME}` has no value."""

    permanent = True


class CredentialsError(LoadError):
    """Credentials that cannot be used: a key that is none, tokens that cannot be kept."""

    permanent = True


class DestinationError(LoadError):
    """The destination cannot be opened."""


class MissingDriverError(DestinationError):
    """The Python package that dlt needs for the destination is not installed."""

    permanent = True


class WeakDestinationError(DestinationError):
    """The destination cannot keep what is promised of a resource."""

    permanent = True


class ContractError(LoadError):
    """Rows break the schema contract, the primary key or a column's type."""

    permanent = True


class ChangedError(LoadError):
    """The file says something else than when the stored rows were loaded, and a load would damage them."""

    permanent = True
