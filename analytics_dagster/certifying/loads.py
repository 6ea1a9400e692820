"""Checks of loads into a scratch destination, and of what all requests together were like."""

# ruff: noqa: S608 - all names are quoted

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from analytics_dagster.certifying.access import credentials_in
from analytics_dagster.certifying.probe import Probe
from analytics_dagster.certifying.rows import EXACT
from analytics_dagster.certifying.verdicts import Fault, NotApplicable, check
from analytics_dagster.loading.contents import canonical
from analytics_dagster.loading.verify import verify
from analytics_dagster.reading.redaction import Redactor

_SHORTEST = 6  # characters of a secret that cannot be there by accident
_MEMORY = 1 << 28  # bytes of answers at once, which become several times as much


@check("rows conform to the declared types")
def types_hold(probe: Probe) -> str:
    probe.loaded()
    schema = probe.scratch.schema
    columns = schema.get_table_columns(probe.scratch.table)
    beside = {name.rpartition("__v_")[0] for name in columns if "__v_" in name}
    declared = {name for name, hint in probe.resource.columns.items() if "data_type" in hint}
    if wrong := [name for name in declared if schema.naming.normalize_path(name) in beside]:
        raise Fault(f"values of {', '.join(sorted(wrong))} do not fit the types in `columns`")
    several = f"; values of {', '.join(sorted(beside))} are of several types" if beside else ""
    return f"{len(declared)} declared, {len(columns)} columns{several}"


@check("integers and decimals arrive exactly")
def numbers_arrive(probe: Probe) -> str:
    sent: dict[str, Counter[Any]] = {}
    for row in probe.whole().rows:
        for field, value in row.items():
            if isinstance(value, int | Decimal) and abs(value) > EXACT:
                sent.setdefault(field, Counter())[canonical(value)] += 1
    if not sent:
        raise NotApplicable("no field has numbers beyond 2^53")
    place = '"' + probe.loaded().table.replace(".", '"."') + '"'
    schema = probe.scratch.schema
    there = list(schema.get_table_columns(probe.scratch.table))
    for field, values in sent.items():
        name = schema.naming.normalize_path(field)
        stored = Counter(
            canonical(Decimal(value))
            for column in there
            if column == name or column.startswith(f"{name}__v_")
            for (value,) in probe.scratch.query(
                f'SELECT "{column}" FROM {place} WHERE "{column}" IS NOT NULL'
            )
        )
        if lost := values - stored:
            raise Fault(f"{lost.total():,} values of `{field}` are not stored, such as {next(iter(lost))}")
    return f"in {', '.join(f'`{field}`' for field in sent)}"


@check("a load, loaded again, is what the API has")
def reload_is_idempotent(probe: Probe) -> str:
    probe.loaded()
    probe.scratch.load(probe.windows)
    watch = probe.requests.watch()
    found = verify(
        probe.file,
        probe.resource.name,
        probe.windows,
        probe.scratch.destination,
        values=probe.values,
        on_change=lambda _, meter: watch(meter),
    )
    if not found.is_equal:
        examples = "; ".join(f"{one.kind} {one.key}" for one in found.examples)
        raise Fault(
            f"loaded twice, {found.missing:,} rows are missing, {found.extra:,} extra and"
            f" {found.different:,} different: {probe.redact(examples)}"
        )
    return f"{found.in_api:,} rows, loaded twice"


@check("no credential is in the rows, the state or the log")
def secrets_stay(probe: Probe) -> str:
    api = probe.resolved.api
    secrets = [
        secret
        for auth in (api.client.auth, *(one.endpoint.auth for one in api.resources))
        if auth is not None
        for secret in credentials_in(auth.model_dump(mode="python", by_alias=True, exclude_unset=True))
        if len(secret) >= _SHORTEST
    ]
    if not secrets:
        raise NotApplicable("there are no credentials")
    probe.loaded()
    hide = Redactor(secrets)
    for place, text in _texts(probe):
        if hide(text) != text:
            raise Fault(f"a credential is in {place}: {hide(text)[:200]}")
    return f"none of {len(secrets)}"


def _texts(probe: Probe) -> Iterator[tuple[str, str]]:
    scratch = probe.scratch
    yield "the state", scratch.state
    yield "the schema", str(scratch.schema.to_dict())
    yield from (("the log", line) for line in probe.log)
    for schema, table in scratch.query("SELECT table_schema, table_name FROM information_schema.tables"):
        yield from ((f"table {table}", str(row)) for row in scratch.query(f'FROM "{schema}"."{table}"'))


@check("answers are small enough for the memory")
def memory_is_bounded(probe: Probe) -> str:
    largest = max((page.size for page in probe.sample().pages), default=0)
    at_once = largest * probe.resolved.api.limits.concurrency
    if at_once > _MEMORY:
        raise Fault(
            f"the largest answer has {largest:,} bytes, and limits.concurrency may have {at_once:,} bytes in"
            " memory: ask for smaller pages or windows"
        )
    return f"{largest:,} bytes at most"


@check("no request is refused for its rate")
def no_429(probe: Probe) -> str:
    if probe.requests.throttled:
        raise Fault(f"{probe.redact(probe.requests.throttled[0])}: give the file `limits` that the API bears")
    return f"{probe.requests.sent:,} requests"
