"""What `response_actions` may not say."""

from __future__ import annotations

from collections.abc import Iterator

from analytics_dagster.spec.api import Resource
from analytics_dagster.spec.auth import Auth, SeveralAuth
from analytics_dagster.spec.placeholders import Mistake, bounds_sent
from analytics_dagster.spec.problems import one_of
from analytics_dagster.spec.tokens import FetchedToken

_CONDITIONS = ("status_code", "content", "header", "when")
_BELONGS_TO = {
    "message": "fail",
    "message_path": "fail",
    "permanent": "fail",
    "max_retries": "retry",
    "wait": "retry",
    "max_wait": "wait_quota",
    "reset": "wait_quota",
    "timezone": "wait_quota",
}


def mistakes(resource: Resource) -> Iterator[Mistake]:
    """What is wrong with the rules of a resource."""
    for index, rule in enumerate(resource.endpoint.response_actions):
        place = ("endpoint", "response_actions", index)
        if all(getattr(rule, name) is None for name in _CONDITIONS):
            yield Mistake(place, f"this rule would hold for all answers; give {one_of(_CONDITIONS)}")
        for key, action in _BELONGS_TO.items():
            if key in rule.model_fields_set and rule.action != action:
                yield Mistake(
                    (*place, key),
                    f"{key} belongs to `action: {action}`, and this is {rule.action}; leave it out",
                )

        if rule.action == "halve" and (problem := _not_halved(resource)):
            yield Mistake((*place, "action"), f"there is no window to halve: {problem}")


def _not_halved(resource: Resource) -> str | None:
    """Why no window of a resource can be halved."""
    endpoint, cursor = resource.endpoint, resource.endpoint.incremental
    if resource.partitions is None or cursor is None:
        return "only a resource with partitions reads windows; add partitions, or write fail"
    if missing := {"start", "end"} - bounds_sent(endpoint):
        return (
            f"no request tells the API its {one_of(sorted(missing), last='and')}; give start_param and"
            ' end_param, or write "{incremental.start_value}" and "{incremental.end_value}"'
        )
    if cursor.row_order:
        return "with row_order a window is read in one piece; leave row_order out"
    if cursor.on_cursor_value_missing == "include":
        return "a row without a cursor would come with both halves; write raise or exclude"
    return None


def without_token(resource: Resource, client: Auth | None) -> Iterator[Mistake]:
    """Rules that would fetch a new token where requests carry none that is fetched.

    Args:
        resource: A resource.
        client: The authentication of the client.
    """
    auth = resource.endpoint.auth or client
    if any(isinstance(one, FetchedToken) for one in (auth.all if isinstance(auth, SeveralAuth) else [auth])):
        return
    for index, rule in enumerate(resource.endpoint.response_actions):
        if rule.action == "refresh_auth":
            yield Mistake(
                ("endpoint", "response_actions", index, "action"),
                "there is no token to fetch anew: refresh_auth needs auth of the type oauth2,"
                " oauth2_refresh_token, jwt_bearer or session; for credentials that do not change write fail",
            )
