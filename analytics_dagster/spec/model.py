"""The base of all models of an API file: unknown keys are mistakes, values do not change."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """A part of an API file."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
