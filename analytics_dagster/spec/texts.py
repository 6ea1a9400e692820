"""Texts with a rule of their own: names, URLs, cron expressions, owners, tags and formats of time."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlsplit

from croniter import croniter
from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from analytics_dagster.spec.problems import nearest, shown

TIME_FORMATS = ("iso", "date", "epoch", "epoch_ms")
CONTRACT_ENTITIES = ("tables", "columns", "data_type")
CONTRACT_MODES = ("evolve", "discard_value", "freeze", "discard_row")

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")  # dlt makes names of files of it
_HOST = re.compile(r"[\w.-]+|[0-9a-f:.]+")
# Dagster's rules for owners and tags, which it would otherwise report without file and line.
_EMAIL = re.compile(r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}\b")
_TAG_KEY = re.compile(r"([A-Za-z0-9_.-]{1,63}/|dagster/kind/)?[A-Za-z0-9_.-]{1,63}")
_TAG_VALUE = re.compile(r"[A-Za-z0-9_.-]{0,63}")
_QUOTED_OR_FILTER = re.compile(r"""'[^']*'|"[^"]*"|\?\([^)]*\)""")
_PLAIN_PATH = re.compile(r"(\$\.)?[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_DIRECTIVE = re.compile(r"%-?[aAwdbBmyYHIMSpfzZjUWcxXGuV%]")


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(
            "expected a name that begins with a letter and goes on with letters, digits, _ and -, "
            f"100 characters at most, not {shown(value)}"
        )
    return value


def _has_host(url: str) -> bool:
    """Whether a URL has a web scheme and a host; what a `${NAME}` template stands for may be anything."""
    url = re.sub(r"\$\{[^}]*\}", "0", url)
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(_HOST.fullmatch(parts.hostname or ""))


def _url(value: str) -> str:
    # The value is not repeated in a message: a URL may carry a password.
    if value.startswith("${"):
        return value
    if not _has_host(value):
        raise ValueError(
            "expected a URL with http:// or https:// and a host, such as https://api.example.com"
        )
    if "@" in urlsplit(value).netloc:
        raise ValueError(
            "a user name or password does not belong in a URL; write auth: {type: http_basic, …}"
        )
    return value


def _origin(value: str) -> str:
    url = value if "://" in value else f"https://{value}"
    if not value.startswith("${") and (not _has_host(url) or urlsplit(url).path.strip("/") or "@" in url):
        raise ValueError(
            "expected a host or an origin without a path, such as cdn.example.com or https://cdn.example.com:8443"
        )
    return value


def _cron(value: str) -> str:
    try:
        fields, *_ = croniter.expand(value)
        if len(fields) == 5:
            croniter(value, datetime(2024, 1, 1, tzinfo=UTC)).get_next()  # fails for the 30th of February
            return value
    except (ValueError, TypeError, KeyError):
        pass
    raise ValueError(
        "expected a cron expression of five fields (minute hour day month weekday) that comes due, "
        f'such as "15 * * * *", not {shown(value)}'
    )


def _owner(value: str) -> str:
    if not (_EMAIL.fullmatch(value) or re.fullmatch(r"team:\S.*", value)):
        raise ValueError(f"expected an e-mail address or team:NAME, not {shown(value)}")
    return value


def _tag_key(value: str) -> str:
    if not _TAG_KEY.fullmatch(value):
        raise ValueError(
            "expected a tag of up to 63 letters, digits, _, - and . (prefix/name is allowed), "
            f"not {shown(value)}"
        )
    return value


def _tag_value(value: str) -> str:
    if not _TAG_VALUE.fullmatch(value):
        raise ValueError(f"expected up to 63 letters, digits, _, - and ., not {shown(value)}")
    return value


def _time_format(value: str) -> str:
    if value in TIME_FORMATS:
        return value
    if "%" not in value:
        raise ValueError(
            f"expected iso, date, epoch, epoch_ms or a strftime pattern such as %Y-%m-%d, not {shown(value)}"
            + nearest(value, TIME_FORMATS)
        )
    return strftime_pattern(value)


def strftime_pattern(value: str) -> str:
    """The pattern itself.

    Raises:
        ValueError: If it has a code that Python does not know on every system.
    """
    if "%" in _DIRECTIVE.sub("", value):
        hint = "; for seconds since 1970 write epoch" if "%s" in value else ""
        raise ValueError(f"{shown(value)} has a % code that Python's strftime does not document{hint}")
    return value


def json_path(value: str) -> str:
    """The path itself.

    Raises:
        ValueError: If it is no JSONPath.
    """
    # Without quotes, the dot in `@odata.nextLink` would lead into an object called `@odata`.
    if found := re.search(r"@[\w-]+\.[\w.-]+", _QUOTED_OR_FILTER.sub("", value)):
        raise ValueError(f"a name with @ and a dot needs quotes in a JSONPath: ['{found[0]}']")
    if not _PLAIN_PATH.fullmatch(value) and not _parses(value):
        raise ValueError(
            f"expected a JSONPath such as data, result.items or data[*].rows[*], not {shown(value)}; a name"
            " with special characters needs quotes: ['$name']"
        )
    return value


@cache
def _parses(path: str) -> bool:
    from jsonpath_ng.ext.parser import parse  # noqa: PLC0415 - most paths are plain, and this one makes a parser

    try:
        parse(path)
    except Exception:  # noqa: BLE001 - jsonpath_ng raises its own, and bare ones from its lexer
        return False
    return True


def _names(value: object) -> object:
    names = _as_list(value) or [value]
    if value not in (None, []) and not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"expected a column's name or a list of names, not {shown(value)}")
    return value


def _certificate(value: object) -> object:
    files = _as_list(value) or [value, value]
    if value is not None and not (len(files) == 2 and all(isinstance(file, str) for file in files)):
        raise ValueError("expected a PEM file that holds certificate and key, or [certificate, key]")
    return value


def _schema_contract(value: object) -> object:
    by_entity = _as_mapping(value)
    if by_entity is None:
        by_entity = dict.fromkeys(CONTRACT_ENTITIES, value)
    for entity, mode in by_entity.items():
        if entity not in CONTRACT_ENTITIES:
            raise ValueError(
                f"expected the keys tables, columns and data_type, not {shown(entity)}"
                + nearest(entity, CONTRACT_ENTITIES)
            )
        if mode is not None and mode not in CONTRACT_MODES:
            raise ValueError(
                f"expected evolve, discard_value, freeze or discard_row, not {shown(mode)}"
                + nearest(mode, CONTRACT_MODES)
            )
    return value


def _write_disposition(value: object) -> object:
    """Take dlt's long form `{disposition: merge, strategy: delete-insert}` for its short one."""
    long_form = _as_mapping(value)
    if long_form is None:
        return value
    strategy = long_form.get("strategy", "delete-insert")
    if strategy != "delete-insert":
        raise ValueError(
            f"the strategy {shown(strategy)} is not supported: merge deletes and inserts in one transaction, "
            "so that a run replaces exactly its own window; leave strategy out"
        )
    if others := [key for key in long_form if key not in ("disposition", "strategy")]:
        raise ValueError(f"only disposition and strategy are supported here, not {', '.join(others)}")
    if "disposition" not in long_form:
        raise ValueError("disposition is missing; expected merge, append or replace")
    return long_form["disposition"]


def _as_mapping(value: object) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _as_list(value: object) -> list[Any] | None:
    return cast("list[Any]", value) if isinstance(value, list) else None


Name = Annotated[
    str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$"})
]
Url = Annotated[str, AfterValidator(_url)]
Origin = Annotated[str, AfterValidator(_origin)]
Cron = Annotated[str, AfterValidator(_cron)]
Owner = Annotated[str, AfterValidator(_owner)]
Tags = dict[Annotated[str, AfterValidator(_tag_key)], Annotated[str, AfterValidator(_tag_value)]]
TimeFormat = Annotated[str, AfterValidator(_time_format)]
JsonPath = Annotated[str, AfterValidator(json_path)]
Names = Annotated[str | list[str], BeforeValidator(_names)]
Certificate = Annotated[str | list[str], BeforeValidator(_certificate)]
SchemaContract = Annotated[str | dict[str, str | None], BeforeValidator(_schema_contract)]
WriteDisposition = Annotated[Literal["merge", "append", "replace"], BeforeValidator(_write_disposition)]
