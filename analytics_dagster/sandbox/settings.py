"""What a sandbox can be set to: its data's seed and size, its secrets, its manners."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

_Count = Annotated[int, Field(ge=0)]
_Positive = Annotated[int, Field(gt=0)]


class SandboxSettings(BaseModel):
    """The settings of one sandbox. Two sandboxes with equal settings serve equal rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 7
    # The number of rows of each resource:
    users: _Count = 500
    events: _Count = 3_000
    sessions: _Count = 1_000
    orders: _Count = 600
    start: AwareDatetime = datetime(2024, 1, 1, tzinfo=UTC)
    """The first row's created_at."""
    days: _Positive = 31
    """How many days the rows are spread over."""

    api_key: str = "sandbox-key"
    token: str = "sandbox-token"  # noqa: S105 - a sample secret of a sample API, like the others
    """The fixed bearer token."""
    username: str = "sandbox-user"
    password: str = "sandbox-password"  # noqa: S105
    client_id: str = "sandbox-client"
    client_secret: str = "sandbox-secret"  # noqa: S105
    token_lifetime: Annotated[int | float, Field(gt=0)] = 3600
    """Seconds an OAuth2 token is valid."""

    default_page_size: _Positive = 100
    max_page_size: _Positive = 1_000
    """Larger pages are cut to this size, silently."""
    after_inclusive: bool = True
    """Whether `…_after=t` lets rows of t itself through."""
    before_inclusive: bool = False
    """Whether `…_before=t` lets rows of t itself through."""
    latency: Annotated[float, Field(ge=0)] = 0
    """Seconds that every answer is held back."""
