"""Runs all checks of an API's resources, within one budget of requests."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from analytics_dagster.certifying import access, loads, paging, rows, windows
from analytics_dagster.certifying.probe import Probe, first_values
from analytics_dagster.certifying.quota import Requests
from analytics_dagster.certifying.verdicts import Check, Fault, NotApplicable, NotReached, Outcome, Verdict
from analytics_dagster.loading.resolve import resolve
from analytics_dagster.reading.errors import LoadError
from analytics_dagster.reading.meter import Meter
from analytics_dagster.spec import ApiFile

CHECKS: Sequence[Check] = (  # those that ask little come first
    access.templates_only,
    rows.read,
    access.wrong_credentials,
    rows.has_rows,
    rows.keys_are_there,
    rows.keys_are_unique,
    rows.cursor_is_there,
    rows.numbers_are_exact,
    windows.windows_add_up,
    windows.rows_are_inside,
    windows.bounds_mean_what_they_say,
    windows.empty_window,
    windows.far_future,
    windows.goes_on,
    windows.clocks_change,
    paging.readings_agree,
    paging.order_is_stable,
    paging.other_page_size,
    paging.past_the_end,
    paging.total_is_right,
    paging.children_of_each,
    loads.types_hold,
    loads.numbers_arrive,
    loads.reload_is_idempotent,
    loads.secrets_stay,
    loads.memory_is_bounded,
    loads.no_429,
)


def certify(
    file: ApiFile,
    resources: Sequence[str],
    limit: int,
    *,
    values: Mapping[str, str] | None = None,
    tell: Callable[[Meter], None] = lambda _: None,
) -> Iterator[Verdict]:
    """Check resources of an API, one after another; nothing is written but scratch files.

    Args:
        file: The API file.
        resources: Their names.
        limit: How many requests to send at most; each resource gets an equal share of what is left.
        values: Values for the file's templates that come before the environment.
        tell: Called with the meter of what is under way, after each change.

    Raises:
        LoadError: If a secret is missing.
    """
    resolved = resolve(file, values=values)
    few = [one.model_copy(update={"for_each": first_values(one)}) for one in resolved.api.resources]
    resolved = replace(resolved, api=resolved.api.model_copy(update={"resources": few}))
    requests = Requests(tell)
    with tempfile.TemporaryDirectory(prefix="analytics_dagster-") as directory, _logged() as log:
        for place, name in enumerate(resources):
            requests.limit = requests.sent + (limit - requests.sent) // (len(resources) - place)
            resource = next(one for one in resolved.api.resources if one.name == name)
            probe = Probe(file, resolved, resource, requests, Path(directory), values, log)
            for one in CHECKS:
                if not (one.of_api and place):
                    yield _verdict(one, probe)


def _verdict(one: Check, probe: Probe) -> Verdict:
    before = probe.requests.sent
    outcome: Outcome = "failed"
    try:
        text = one.run(probe)
        outcome = "passed"
    except Fault as fault:
        text = str(fault)
    except NotApplicable as reason:
        text, outcome = str(reason), "not applicable"
    except NotReached as reason:
        why = str(reason).rpartition(": ")[2]  # before it stands what was being read or loaded
        text, outcome = f"not reached within the budget: {why}", "not reached"
    except LoadError as error:
        text = str(error)
    except Exception as error:  # noqa: BLE001 - the other checks have something to say, too
        text = f"the check itself broke, which should not happen: {type(error).__name__}: {error}"
    return Verdict(
        None if one.of_api else probe.resource.name,
        one.title,
        outcome,
        probe.redact(text),
        probe.requests.sent - before,
    )


@contextmanager
def _logged() -> Generator[list[str]]:
    """What is logged meanwhile."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    kept = Keep()
    loggers = [logging.getLogger(), logging.getLogger("dlt")]
    for logger in loggers:
        logger.addHandler(kept)
    try:
        yield lines
    finally:
        for logger in loggers:
            logger.removeHandler(kept)
