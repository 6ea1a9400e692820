"""The sample API that comes with the package: where its files are, and the values of their templates."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from analytics_dagster.loading.resolve import lookup
from analytics_dagster.sandbox import RunningSandbox, running_sandbox
from analytics_dagster.spec import ApiFile
from analytics_dagster.spec.templates import names

FILES = Path(__file__).parent / "apis"
_URL = "SANDBOX_URL"


def is_sample(file: ApiFile) -> bool:
    """Whether a file's API is the sandbox."""
    return _URL in names(file.api.client.base_url)


@contextmanager
def sandbox_variables() -> Generator[Mapping[str, str]]:
    """Values for the sample API's templates: a sandbox started here, unless `SANDBOX_URL` names one."""
    if lookup(_URL):
        yield {}
        return
    with running_sandbox() as sandbox:
        yield variables_of(sandbox)


def variables_of(sandbox: RunningSandbox) -> dict[str, str]:
    """The values that lead to a running sandbox."""
    return {
        _URL: sandbox.url,
        "SANDBOX_API_KEY": sandbox.settings.api_key,
        "SANDBOX_CLIENT_ID": sandbox.settings.client_id,
        "SANDBOX_CLIENT_SECRET": sandbox.settings.client_secret,
    }
