"""What Dagster loads: the API files in use, and the sample API, which a run serves for itself."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager

import dagster as dg
from pydantic import PrivateAttr

from analytics_dagster.orchestration.build import build_defs
from analytics_dagster.orchestration.resources import (
    ApiKeyCredentials,
    Credentials,
    OAuth2Credentials,
    credentials_key,
)
from analytics_dagster.sample import is_sample, sandbox_variables
from analytics_dagster.spec import find_files, read_files


class _ServingSandbox(Credentials):
    """Credentials of the sample API, which serve it for the time of a run."""

    _variables: Mapping[str, str] = PrivateAttr(default={})

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Generator[_ServingSandbox]:
        with sandbox_variables() as self._variables:
            yield self

    def variables(self) -> Mapping[str, str]:
        return self._variables


class SandboxApiKey(_ServingSandbox, ApiKeyCredentials):
    """The sample API's key."""

    api_key: str = "${SANDBOX_API_KEY}"


class SandboxOAuth2(_ServingSandbox, OAuth2Credentials):
    """The sample API's OAuth 2 client."""

    client_id: str = "${SANDBOX_CLIENT_ID}"
    client_secret: str = "${SANDBOX_CLIENT_SECRET}"  # noqa: S105 - a template


_SAMPLE = {"sandbox_credentials": SandboxApiKey(), "sandbox_oauth2_credentials": SandboxOAuth2()}

_files = read_files(find_files())
_served = {credentials_key(file) for file in _files if is_sample(file)}
defs = build_defs(_files, {key: resource for key, resource in _SAMPLE.items() if key in _served})
