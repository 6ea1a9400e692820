"""How an API writes the times of its rows, and what it takes a bound of a request to mean."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

Form = Literal["iso", "micro", "offset", "naive", "date", "epoch", "epoch_ms", "pattern", "number"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PATTERN = "%Y%m%d %H%M%S"
_UNITS = {
    "iso": timedelta(milliseconds=1),
    "micro": timedelta(microseconds=1),
    "date": timedelta(days=1),
    "epoch_ms": timedelta(milliseconds=1),
}


@dataclass(frozen=True)
class Clock:
    """The cursor of an endpoint's rows.

    `moves` says whether a change of a row changes it too, as it does an `updated_at`; the two flags, whether
    the API's bounds include their own instant.
    """

    form: Form
    zone: str
    nested: bool
    moves: bool
    start_inclusive: bool
    end_inclusive: bool

    @property
    def unit(self) -> timedelta:
        """The finest difference that it shows."""
        return _UNITS.get(self.form, timedelta(seconds=1))

    @property
    def path(self) -> str:
        """Where a row has it."""
        return "meta.at" if self.nested else "at"

    @property
    def options(self) -> dict[str, Any]:
        """What an API file says about it in `incremental`."""
        formats = {"date": "date", "epoch": "epoch", "epoch_ms": "epoch_ms", "pattern": _PATTERN}
        return {
            "cursor_path": self.path,
            "start_param": "created_after",
            "start": "inclusive" if self.start_inclusive else "exclusive",
            "end": "inclusive" if self.end_inclusive else "exclusive",
            "timezone": self.zone,
        } | ({"format": formats[self.form]} if self.form in formats else {})

    def rounded(self, instant: datetime) -> datetime:
        """The instant, or one nearby, that a row can tell exactly."""
        if self.form == "date":
            return self.read(instant.astimezone(ZoneInfo(self.zone)).date().isoformat())
        instant -= (instant - _EPOCH) % self.unit
        # What a clock without an offset shows twice, when it goes back, means the first time.
        return self.read(self.write(instant))

    def write(self, instant: datetime) -> str | int:
        """What a row has for an instant."""
        local = instant.astimezone(ZoneInfo(self.zone))
        match self.form:
            case "epoch" | "epoch_ms" | "number":
                return (instant - _EPOCH) // self.unit
            case "iso":
                return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            case "naive":
                return local.replace(tzinfo=None).isoformat()
            case "date" | "pattern":
                return local.strftime("%Y-%m-%d" if self.form == "date" else _PATTERN)
            case _:
                return local.isoformat()

    def read(self, written: str | int) -> datetime:
        """The instant that a row or a bound means."""
        match self.form:
            case "epoch" | "epoch_ms" | "number":
                return _EPOCH + int(written) * self.unit
            case "date":
                day = date.fromisoformat(str(written))
                found = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - the zone comes below
            case "pattern":
                found = datetime.strptime(str(written), _PATTERN)  # noqa: DTZ007
            case _:
                found = datetime.fromisoformat(str(written))
        local = found if found.tzinfo else found.replace(tzinfo=ZoneInfo(self.zone))
        return local.astimezone(UTC)

    def lets_through(self, at: datetime, after: str | None, before: str | None) -> bool:
        """Whether the API answers with a row, by the bounds of the request."""
        if after is not None:
            start = self.read(after)
            if at < start or (at == start and not self.start_inclusive):
                return False
        if before is not None:
            end = self.read(before)
            return at < end or (at == end and self.end_inclusive)
        return True
