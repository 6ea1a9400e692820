"""Turns what dlt raises into an error that says what to do, without secrets."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.schema.exceptions import (
    CannotCoerceColumnException,
    CannotCoerceNullException,
    DataValidationError,
    UnboundColumnException,
)
from dlt.destinations.exceptions import DestinationConnectionError

from analytics_dagster.reading.errors import ContractError, DestinationError, LoadError
from analytics_dagster.reading.redaction import Redactor

_log = logging.getLogger(__name__)
_CONTRACT = (
    CannotCoerceColumnException,
    CannotCoerceNullException,
    DataValidationError,
    UnboundColumnException,
)


@contextmanager
def explained(redact: Redactor, where: str) -> Iterator[None]:
    """Raise whatever goes wrong inside as a `LoadError`.

    The original error is not chained, because its message and those of its causes may hold secrets; a
    redacted traceback goes to the debug log.

    Args:
        redact: Hides secrets.
        where: What was being loaded, for the message.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not leave with a secret in it
        _log.debug("%s", redact("".join(traceback.format_exception(error))))
        raise _explain(error, redact, where) from None


def _explain(error: BaseException, redact: Redactor, where: str) -> LoadError:
    chain = list(_chain(error))
    for cause in chain:
        if isinstance(cause, LoadError):
            return type(cause)(redact(f"{where}: {cause}"))
    for cause in chain:
        if isinstance(cause, DestinationConnectionError | ConfigurationException):
            return DestinationError(
                redact(
                    f"{where}: the destination cannot be opened: {cause}\nCheck ANALYTICS_DESTINATION and"
                    " DESTINATION__<TYPE>__CREDENTIALS, and that it is running."
                )
            )
        if isinstance(cause, _CONTRACT):
            return ContractError(redact(f"{where}: the rows do not fit the table: {cause}"))
    root = chain[-1]
    return LoadError(redact(f"{where}: {type(root).__name__}: {root}"))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
