"""Requests as a file says them where dlt's REST source takes less: methods, lists as JSON, encoded paths."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

from requests import Request

from analytics_dagster.reading.actions import Actions
from analytics_dagster.reading.errors import ContractError
from analytics_dagster.spec import Endpoint
from analytics_dagster.spec.placeholders import ONE_SEGMENT, VALUE

_LIST = "\x02list"
_IN_SEGMENTS = ":@!$&'()*+,;=~"  # what a value in a path may hold as it is (RFC 3986, section 3.3)


def described_for_dlt(endpoint: Endpoint) -> dict[str, Any]:
    """The keys of dlt's endpoint for method, query, headers and body, in the form that it takes.

    Args:
        endpoint: The file's.
    """
    body = endpoint.json_body
    return {
        "method": "GET" if endpoint.method == "GET" else "POST",
        "params": _as_in_json(endpoint.params),
        "json": {_LIST: body} if isinstance(body, list) else body,
        "data": _as_in_json(endpoint.data if endpoint.form is None else endpoint.form),
        "headers": {name: str(_as_in_json(value)) for name, value in endpoint.headers.items()} or None,
    }


@dataclass(frozen=True)
class Completion:
    """Makes of dlt's requests those that the file says.

    Args:
        method: The file's.
        actions: What to do with certain answers.
    """

    method: str = "GET"
    actions: Actions | None = None

    def complete(self, request: Request) -> None:
        """Change a request that dlt has filled in, before it is sent.

        Args:
            request: Made from what `described_for_dlt` gives.

        Raises:
            ContractError: If a value would lead to another place of the path.
        """
        request.method = self.method
        if self.actions is not None:
            vars(request)["actions"] = self.actions
        request.url = VALUE.sub(_encoded, request.url or "")
        body: Any = request.json
        if isinstance(body, dict) and _LIST in body:
            request.json = cast("dict[str, Any]", body)[_LIST]


def _encoded(value: re.Match[str]) -> str:
    if value[1] == ONE_SEGMENT:
        return quote(value[2], safe=_IN_SEGMENTS)
    if not {".", ".."}.isdisjoint(value[2].split("/")):
        raise ContractError(
            f"a value for the path is `{value[2]:.80}`, in which `..` or `.` means another place. Write"
            " `!e` behind the name of its placeholder, so that the `/` in it is encoded."
        )
    return quote(value[2], safe=f"/{_IN_SEGMENTS}")


def _as_in_json(value: Any) -> Any:
    """Truth values as `true` and `false`; requests would write them as Python does."""
    match value:
        case bool():
            return "true" if value else "false"
        case dict():
            return {name: _as_in_json(one) for name, one in cast("dict[str, Any]", value).items()}
        case list():
            return [_as_in_json(one) for one in cast("list[Any]", value)]
        case _:
            return value
