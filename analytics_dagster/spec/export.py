"""Exports that an API makes while one waits: how one is looked after, fetched and deleted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Literal, Self, cast

from pydantic import AfterValidator, Field, model_validator

from analytics_dagster.spec.model import Model
from analytics_dagster.spec.problems import shown
from analytics_dagster.spec.texts import JsonPath, Names
from analytics_dagster.spec.units import Duration

TAKEN = re.compile(r"\{(create|poll)\.([^{}]+)\}")
"""A value taken from an answer: which one's, and where it is (JSONPath)."""

_BRACES = re.compile(r"(?<!\$)\{[^{}]*\}")
_OF_THE_ENDPOINT = re.compile(r"\{(incremental|resources)\.[^{}]*\}")


def _path(value: str) -> str:
    for found in _BRACES.findall(value):
        if not TAKEN.fullmatch(found):
            raise ValueError(
                f"expected {{create.PATH}} or {{poll.PATH}}, a value of the answer to the first request or to"
                f" poll, not {shown(found)}"
            )
    return value


def _positive(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("expected a duration longer than nothing")
    return value


class ExportRequest(Model):
    """A request for an export, with the endpoint's headers and authentication."""

    path: Annotated[str, AfterValidator(_path)] = Field(
        description="Behind the base URL, or a whole URL. {create.PATH} is a value of the answer to the"
        " endpoint's own request, {poll.PATH} one of poll's last answer.",
        examples=["exports/{create.id}", "{poll.result.url}"],
    )
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    params: dict[str, Any] = Field(
        default={},
        description="The query; such values may stand in it too.",
        examples=[{"id": "{create.id}"}],
    )
    json_body: dict[str, Any] | None = Field(
        default=None,
        alias="json",
        description="A body that is sent as JSON; such values may stand in it too.",
        examples=[{"id": "{create.id}"}],
    )

    @model_validator(mode="after")
    def _takes_from_answers(self) -> Self:
        for text in _texts((self.params, self.json_body)):
            if found := _OF_THE_ENDPOINT.search(text):
                raise ValueError(
                    f"{found[0]} stands in the endpoint's own request, which has the export made; here values"
                    " are those of its answer: {create.PATH}"
                )
        return self

    @property
    def taken(self) -> set[str]:
        """Whose answers values are taken from: create, poll."""
        texts = _texts((self.path, self.params, self.json_body))
        return {whose for text in texts for whose, _ in TAKEN.findall(text)}


class ExportPoll(ExportRequest):
    """Asks whether the export is done, again and again."""

    status_path: JsonPath | None = Field(
        default=None,
        description="Where the answer says how far the export is (JSONPath); without it, the export is done"
        " as soon as the answer is no 202 any more.",
        examples=["status", "data.job.state"],
    )
    done: Names = Field(
        default=[], description="What it says then when the export is done.", examples=["finished"]
    )
    failed: Names = Field(
        default=[],
        description="What it says when there will be none; anything else means to wait.",
        examples=[["failed", "cancelled"]],
    )
    every: Annotated[Duration, AfterValidator(_positive)] = Field(
        default=timedelta(seconds=5),
        json_schema_extra={"default": "5s"},
        description="How long to wait before each time.",
    )
    timeout: Annotated[Duration, AfterValidator(_positive)] = Field(
        default=timedelta(hours=1),
        json_schema_extra={"default": "1h"},
        description="How long to wait in all before the load fails.",
    )

    @model_validator(mode="after")
    def _knows_the_end(self) -> Self:
        if self.status_path is None and (self.done or self.failed):
            raise ValueError("done and failed are what stands at status_path; give it")
        if self.status_path is not None and not self.done:
            raise ValueError("done is missing: what stands at status_path when the export is done")
        return self

    @property
    def words_for_done(self) -> list[str]:
        """`done` as a list."""
        return [self.done] if isinstance(self.done, str) else self.done

    @property
    def words_for_failed(self) -> list[str]:
        """`failed` as a list."""
        return [self.failed] if isinstance(self.failed, str) else self.failed


class ExportDownload(ExportRequest):
    """Fetches what was exported; a PATH that finds several URLs means several files, one after another."""

    required: bool = Field(
        default=True,
        description="Whether null in place of the URL is an error, or says that there are no rows.",
    )


class ExportDelete(ExportRequest):
    """Tidies up at the end of the load, also where that failed."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "DELETE"


class Export(Model):
    """What follows where the endpoint's own request only has an export made."""

    poll: ExportPoll | None = Field(
        default=None, description="How to wait for it; without it, it is there at once."
    )
    download: ExportDownload = Field(description="How to fetch it.")
    delete: ExportDelete | None = Field(default=None, description="How to tidy up.")
    idempotent: bool = Field(
        default=False,
        description="Whether the endpoint's own request may be sent again where its answer was lost, as the"
        " API makes no second export then. A GET always may.",
    )

    @model_validator(mode="after")
    def _takes_what_there_is(self) -> Self:
        if self.poll and "poll" in self.poll.taken:
            raise ValueError("poll cannot take values of its own answer; take them from create")
        if not self.poll and "poll" in self.download.taken | (self.delete.taken if self.delete else set()):
            raise ValueError("there is no poll to take values from")
        if self.delete and "poll" in self.delete.taken:
            raise ValueError(
                "delete also follows a poll that failed, so it cannot take its values; take them from create"
            )
        return self


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for one in cast("dict[str, Any]", value).values():
                yield from _texts(one)
        case list() | tuple():
            for one in cast("list[Any]", value):
                yield from _texts(one)
        case _:
            pass
