"""Turns what dlt raises into an error that says what to do, without secrets."""

from __future__ import annotations

import errno
import logging
import re
import traceback
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from dlt.common.configuration.exceptions import (
    ConfigFieldMissingException,
    ConfigurationException,
    FieldLookupTraces,
    LookupTraces,
)
from dlt.common.schema.exceptions import (
    CannotCoerceColumnException,
    CannotCoerceNullException,
    DataValidationError,
    UnboundColumnException,
)
from dlt.destinations.exceptions import DestinationConnectionError

from analytics_dagster.loading.workspace import root
from analytics_dagster.reading.disk import disk_full
from analytics_dagster.reading.errors import (
    ContractError,
    DestinationError,
    LoadError,
    MissingSecretError,
)
from analytics_dagster.reading.redaction import Redactor

_log = logging.getLogger(__name__)
_LIBRARIES = ("dlt", "requests", "urllib3")
_NO_DESTINATION = (DestinationConnectionError, ConfigurationException)
_CONTRACT = (
    CannotCoerceColumnException,
    CannotCoerceNullException,
    DataValidationError,
    UnboundColumnException,
)
# What the drivers of databases (PEP 249, like OperationalError) and the writer of Parquet files raise.
_MISFITS = {"IntegrityError", "DataError", "ArrowInvalid"}
# PostgreSQL's own, which its driver counts among the OperationalErrors.
_TOO_WIDE = {"TooManyColumns", "ProgramLimitExceeded"}
_UNREAD = re.compile(
    r"Failed to create trace dump|In resource: .*, when merging arrow schema with dlt schema, "
)
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # the last is said of `ulimit -f`


@contextmanager
def explained(redact: Redactor, where: str) -> Generator[None]:
    """Raise whatever goes wrong inside as a `LoadError`.

    The original error is not chained, because its message and those of its causes may hold secrets; a
    redacted traceback goes to the debug log.

    Args:
        redact: Hides secrets.
        where: What was being loaded, for the message.

    Raises:
        LoadError: Whatever went wrong.
        KeyboardInterrupt: If a person interrupted it, also where dlt made an error of that.
    """
    cleaned = _Cleaned(redact)
    loggers = list(_library_loggers())
    for logger in loggers:
        logger.addFilter(cleaned)
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not leave with a secret in it
        if any(isinstance(cause, KeyboardInterrupt) for cause in _chain(error)):
            raise KeyboardInterrupt from None  # dlt wraps what it gets while it commits
        _log.debug("%s", redact("".join(traceback.format_exception(error))))
        raise _explain(error, redact, where) from None
    finally:
        for logger in loggers:
            logger.removeFilter(cleaned)


def _library_loggers() -> Iterator[logging.Logger]:
    """The loggers of the libraries that see secrets; each one, as a filter does not hold for those below."""
    for name in _LIBRARIES:
        yield logging.getLogger(name)
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(tuple(f"{library}." for library in _LIBRARIES)):
            yield logging.getLogger(name)


class _Cleaned(logging.Filter):
    """Hides secrets in what libraries log, and leaves out what nobody reads.

    That is a traceback about a file; and, of each batch with a column of JSON, that its type is dlt's and not
    Arrow's, which has none for JSON that dlt knows.
    """

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self._redact(record.getMessage()), ()
        if record.exc_info:
            record.exc_text = self._redact(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None  # some handlers, Dagster's too, would write it out themselves
        return not _UNREAD.match(record.msg)


def _explain(error: BaseException, redact: Redactor, where: str) -> LoadError:
    chain = list(_chain(error))
    for cause in chain:
        if isinstance(cause, LoadError):
            told = type(cause)(redact(f"{where}: {cause}"))
            vars(told).update(vars(cause))  # such as when a quota is new
            return told
    for cause in chain:
        if isinstance(cause, ConfigFieldMissingException):
            names = ", ".join(dict.fromkeys(_missing(cause.traces)))
            return MissingSecretError(
                redact(
                    f"{where}: the destination's settings lack {names}. Set DESTINATION__<TYPE>__CREDENTIALS"
                    " to a whole connection string, such as postgresql://user:password@host:5432/database."
                )
            )
        kinds = {kind.__name__ for kind in type(cause).__mro__}
        if isinstance(cause, _CONTRACT) or (_MISFITS | _TOO_WIDE) & kinds:
            return ContractError(
                redact(f"{where}: the rows do not fit the table: {str(cause).strip()}{_remedy(cause, kinds)}")
            )
        if isinstance(cause, _NO_DESTINATION) or "OperationalError" in kinds:
            return DestinationError(
                redact(
                    f"{where}: the destination cannot be opened or written to: {cause}\nCheck"
                    " ANALYTICS_DESTINATION and DESTINATION__<TYPE>__CREDENTIALS, that it is running, and"
                    " that its disk has room."
                )
            )
        if isinstance(cause, OSError) and (problem := _no_room(cause)):
            return type(problem)(redact(f"{where}: {problem}"))
    # None of the errors that we know of: whoever looks into it needs the place, too.
    root = chain[-1]
    place = "".join(traceback.format_tb(root.__traceback__, limit=-3))
    return LoadError(redact(f"{where}: {type(root).__name__}: {root}\n{place}"))


def _no_room(cause: OSError) -> LoadError | None:
    """What the operating system says where a file cannot be made or written."""
    path = str(cause.filename or root())  # what writes to an open file does not say which
    if cause.errno == errno.ENAMETOOLONG:
        return ContractError(
            "the rows do not fit: nested rows would be stored in a table whose name is too long for a file"
            f" ({path.rpartition('/')[2]:.80}…). Write `max_table_nesting: 0`, which keeps lists in JSON"
            " columns."
        )
    return LoadError(disk_full(path)) if cause.errno in _FULL else None


def _missing(traces: FieldLookupTraces) -> Iterator[str]:
    """The settings that dlt did not find; what it says itself lists each place where it looked."""
    for name, tried in traces.items():
        nested = [one.traces for one in tried if isinstance(one, LookupTraces)]
        for inner in nested:
            yield from _missing(inner)
        if not nested:
            yield name


def _remedy(cause: BaseException, kinds: set[str]) -> str:
    if _TOO_WIDE & kinds:
        return (
            "\nPostgreSQL takes 1,600 columns, and 8 kB of numbers in a row. Keep objects in one column each"
            " (`columns: {<name>: {data_type: json}}`), or all of them (`max_table_nesting: 0`)."
        )
    if isinstance(cause, DataValidationError) and cause.schema_entity == "tables":
        return (
            "\n`schema_contract: freeze` forbids new tables too, even the first one; write `schema_contract:"
            " {columns: freeze, data_type: freeze}`."
        )
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
