"""Checks of the file's secrets, and of what the API makes of credentials."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, cast

from analytics_dagster.certifying.pages import Reading
from analytics_dagster.certifying.probe import Probe
from analytics_dagster.certifying.verdicts import Fault, NotApplicable, NotReached, check
from analytics_dagster.loading.resolve import ResolvedApi, resolve, secrets_in
from analytics_dagster.reading.errors import LoadError, RefusedError
from analytics_dagster.spec import Resource, Retry, Window, templates, window_containing

_BROKEN = "certify-00000000"
_OTHERS = 5  # resources that are asked with a wrong key, too, where the first is open to all
_UNBROKEN = {"jwt_bearer", "oauth2_refresh_token"}
_FETCHING = {"oauth2", "oauth2_client_credentials", "session"}
_WHO = {"account", "email", "identifier", "login", "strategy", "user", "username"}
_RULE = re.compile(r"\bresponse_actions\[\d+\]")
_SECRET_HEADER = re.compile(r"auth|token|key|secret|cookie", re.IGNORECASE)


def credentials_in(auth: Any) -> Iterator[str]:
    """The secrets of a block `auth`, without names of clients and of those who log in, which are none.

    Args:
        auth: The block, or nothing.
    """
    block = cast("dict[str, Any]", auth or {})
    for one in block.get("all", [block]):
        login = cast("dict[str, Any]", one.get("login") or {})
        secret = {name: value for name, value in login.items() if name.lower() not in _WHO}
        yield from filter(None, secrets_in({**one, "login": secret, "client_id": None}))


@check("the file is valid, and its secrets are templates", of_api=True)
def templates_only(probe: Probe) -> str:
    api = probe.file.api
    raw = api.model_dump(mode="python", by_alias=True, exclude_unset=True)
    blocks = [raw["client"].get("auth"), *(one["endpoint"].get("auth") for one in raw["resources"])]
    headers = [api.client.headers, *(one.endpoint.headers for one in api.resources)]
    secrets = [secret for block in blocks for secret in credentials_in(block)]
    secrets += [str(value) for one in headers for name, value in one.items() if _SECRET_HEADER.search(name)]
    if literal := sum(not templates.names(secret) for secret in secrets):
        raise Fault(
            f"{literal} of {len(secrets)} secrets stand in {probe.file.path} as they are. Write ${{NAME}} in"
            " their place, and set the environment variable NAME."
        )
    return f"each of {len(secrets)} is a template" if secrets else "there are no secrets"


@check("wrong credentials are refused", of_api=True)
def wrong_credentials(probe: Probe) -> str:
    auth = probe.file.api.client.auth
    if auth is None or probe.resource.endpoint.auth:
        raise NotApplicable("`client.auth` is not used here")
    given = auth.model_dump(mode="python", by_alias=True, exclude_unset=True)
    types = {str(one.get("type", "")) for one in (given, *given.get("all", ()))}
    if types & _UNBROKEN:
        raise NotApplicable("a wrong key cannot sign, and a refused refresh may cost the token that is kept")
    resolved = resolve(probe.file, _broken(given), probe.values)
    once = replace(resolved, api=resolved.api.model_copy(update={"retry": Retry(max_retries=0)}))
    window = None
    if probe.resource.partitions:
        window = probe.sample().window
    open_to_all = _asked(probe, probe.resource, window, once, types)
    if isinstance(open_to_all, str):
        return f"refused {open_to_all}"
    for other in _others(probe):
        try:
            found = _asked(probe, other, _first_window(other), once, types)
        except NotReached:
            raise
        except (Fault, LoadError):
            continue  # that this one cannot be read is not what is looked at here
        if isinstance(found, str):
            return f"refused {found} for `{other.name}`; `{probe.resource.name}` is open to all"
    raise Fault(
        f"{open_to_all.asked} answered {len(open_to_all.rows):,} rows to a wrong key, so the API does not"
        " look at credentials here: its data are open, or they are sent in another place than it looks at."
    )


def _asked(
    probe: Probe, resource: Resource, window: Window | None, resolved: ResolvedApi, types: set[str]
) -> str | Reading:
    """How an API refuses a wrong key, or what it answered to it."""
    try:
        return probe.read(window, most=1, resource=resource, resolved=resolved)
    except RefusedError as error:
        if rule := _RULE.search(str(error)):  # the file says how this API refuses
            return f"by {rule[0]}"
        found = re.search(r"\b(40[013]) ", str(error))
        if found and (found[1] != "400" or types & _FETCHING):
            return f"with {found[1]}"
        raise Fault(f"expected 401 or 403 for a wrong key: {probe.redact(str(error))}") from None


def _others(probe: Probe) -> Iterator[Resource]:
    """A few other resources that are asked for with the same credentials."""
    others = (
        one
        for one in probe.resolved.api.resources
        if one.name != probe.resource.name and not (one.is_child or one.endpoint.auth)
    )
    return islice(others, _OTHERS)


def _first_window(resource: Resource) -> Window | None:
    partitions = resource.partitions
    return window_containing(partitions, partitions.first) if partitions else None


def _broken(auth: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an auth that are secret, with other values; one entry for each of `all`."""
    if "all" in auth:
        return {"all": [_broken(one) for one in cast("list[dict[str, Any]]", auth["all"])]}
    secret = {key: value for key, value in auth.items() if any(secrets_in({key: value}))}
    if auth.get("password") == "":
        secret["username"] = auth["username"]
    return {
        key: {**cast("dict[str, Any]", value), **_broken(cast("dict[str, Any]", value))}
        if isinstance(value, dict)
        else _BROKEN
        for key, value in secret.items()
    }
