"""The base of all models of an API file: unknown keys are mistakes, values keep their type."""

from types import NoneType
from typing import Any, cast, get_args

from pydantic import BaseModel, ConfigDict, model_validator


class Model(BaseModel):
    """A part of an API file."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        validate_default=True,
        hide_input_in_errors=True,  # an input may be a secret
    )

    @model_validator(mode="before")
    @classmethod
    def _without_empty_keys(cls, value: Any) -> Any:
        """A key without a value (`tags:`) counts as left out, except where null means something."""
        if not isinstance(value, dict):
            return value
        given = cast("dict[str, Any]", value)
        if None not in given.values():
            return given
        may_be_null = {
            field.alias or name: field.annotation is Any or NoneType in get_args(field.annotation)
            for name, field in cls.model_fields.items()
        }
        return {k: v for k, v in given.items() if v is not None or may_be_null.get(k, True)}
