"""What row number i of a resource looks like: a pure function of seed, resource and i."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from analytics_dagster.sandbox.settings import SandboxSettings

Row = dict[str, Any]
Resource = Literal["users", "events", "sessions", "orders"]
RESOURCES: tuple[Resource, ...] = ("users", "events", "sessions", "orders")

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR

# Formatting two numbers costs more than making the rest of a timestamp.
_SECONDS = tuple(f"{second:02d}." for second in range(60))
_MILLISECONDS = tuple(f"{millisecond:03d}Z" for millisecond in range(1000))

# Seven rows share four instants, so ties lie across page edges of every usual size (7 is prime).
_INSTANT_OF_ROW = (0, 0, 0, 1, 2, 2, 3)
_INSTANTS_PER_BLOCK = 4

_FIRST_NAMES = ("Ada", "Bo", "Chloé", "Dmitri", "Eun-ji", "Fátima", "Grace", "Hiro")
_LAST_NAMES = ("Adeyemi", "Brown", "Çelik", "Díaz", "Eriksen", "Fischer", "Gupta", "Hoàng")
_COUNTRIES = ("DE", "US", "BR", "JP", "IN", "NG", "FR", None)
_PLANS = ("free", "free", "pro", "enterprise")
_EVENTS = ("page_view", "page_view", "page_view", "click", "search", "add_to_cart", "checkout", "sign_up")
_PATHS = ("/", "/pricing", "/docs", "/blog/größe", "/cart", "/checkout", "/login", "/search?q=a&b")
_BROWSERS = ("Chrome", "Firefox", "Safari", None)
_DEVICES = ("desktop session", "desktop session", "mobile session", "tablet session")
_REFERRERS = ("https://www.example.com/", "https://news.example.org/item?id=1", None, None)
_CURRENCIES = ("EUR", "USD", "JPY", "GBP")
_STATUSES = ("paid", "paid", "shipped", "refunded")


class RowKind(NamedTuple):
    """How ids and updates of one resource look."""

    prefix: str
    update_lag: int  # milliseconds from created_at to the first updated_at
    fields: Callable[[int, int, SandboxSettings], Row]  # from the row's number and its hash


def mix(number: int) -> int:
    """Scramble a number into 64 bits (the finalizer of splitmix64)."""
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return number ^ (number >> 31)


@lru_cache(4096)
def _minute_text(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).strftime("%Y-%m-%dT%H:%M:")


def iso(instant: int) -> str:
    """Write milliseconds since 1970 as ISO 8601 UTC, always with three decimals."""
    minute, rest = divmod(instant, MINUTE)
    return _minute_text(minute) + _SECONDS[rest // 1000] + _MILLISECONDS[rest % 1000]


def _some_id(prefix: str, number: int, count: int) -> str | None:
    return f"{prefix}_{number % count + 1}" if count else None


def _user(_number: int, h: int, _settings: SandboxSettings) -> Row:
    first, last = _FIRST_NAMES[h & 7], _LAST_NAMES[h >> 3 & 7]
    return {
        "name": f"{first} {last}",
        "email": None if h >> 6 & 7 == 0 else f"{first}.{h >> 40}@example.com".lower(),
        "country": _COUNTRIES[h >> 9 & 7],
        "plan": _PLANS[h >> 12 & 3],
        "age": None if h >> 14 & 3 == 0 else 18 + (h >> 16 & 63),
        "lifetime_value": (h >> 22 & 0xFFFFF) / 100,
        "is_active": h >> 42 & 3 != 0,
    }


def _event(_number: int, h: int, settings: SandboxSettings) -> Row:
    return {
        "name": _EVENTS[h & 7],
        "user_id": _some_id("usr", h >> 3, settings.users),
        "session_id": None if h >> 32 & 7 == 0 else _some_id("ses", h >> 7, settings.sessions),
        "sequence": h >> 1,  # needs all 63 bits: a reader that goes through floats damages it
        "duration_ms": h >> 20 & 0x3FFF,
        "value": None if h >> 34 & 3 == 0 else (h >> 36 & 0xFFFF) / 100,
        "properties": {
            "path": _PATHS[h >> 52 & 7],
            "browser": _BROWSERS[h >> 55 & 3],
            "screen_width": 320 + 160 * (h >> 61),
        },
    }


def _session(_number: int, h: int, settings: SandboxSettings) -> Row:
    return {
        "name": _DEVICES[h & 3],
        "user_id": _some_id("usr", h >> 2, settings.users),
        "referrer": _REFERRERS[h >> 30 & 3],
        "page_views": 1 + (h >> 32 & 31),
        "duration_seconds": None if h >> 37 & 7 == 0 else (h >> 40 & 0x1FFFFF) / 1000,
        "is_bounce": h >> 32 & 31 == 0,
    }


def _order(number: int, h: int, settings: SandboxSettings) -> Row:
    items: list[Row] = []
    for line in range(1 + h % 4):
        item = mix(h + line)
        price = (item >> 8 & 0x3FFF) / 100
        items.append(
            {"line": line + 1, "sku": f"SKU-{item & 255:03d}", "quantity": 1 + item % 5, "price": price}
        )
    return {
        "name": f"Order {number + 1}",
        "user_id": _some_id("usr", h >> 2, settings.users),
        "status": _STATUSES[h >> 30 & 3],
        "currency": _CURRENCIES[h >> 32 & 3],
        "total": round(sum(item["quantity"] * item["price"] for item in items), 2),
        "coupon": None if h >> 34 & 3 else f"SAVE{h >> 36 & 63}",
        "items": items,
    }


KINDS: dict[Resource, RowKind] = {
    "users": RowKind("usr", DAY, _user),
    "events": RowKind("evt", 0, _event),
    "sessions": RowKind("ses", 30 * MINUTE, _session),
    "orders": RowKind("ord", 2 * HOUR, _order),
}


class Rows:
    """The rows of one resource as they were first made, in the order of created_at."""

    def __init__(self, resource: Resource, settings: SandboxSettings) -> None:
        self.kind = KINDS[resource]
        self.count: int = getattr(settings, resource)
        self._settings = settings
        self._salt = int.from_bytes(
            hashlib.blake2b(f"{settings.seed} {resource}".encode(), digest_size=8).digest()
        )
        self._start = round(settings.start.timestamp() * 1000)
        self._span = settings.days * DAY
        self._instants = -(-self.count // len(_INSTANT_OF_ROW)) * _INSTANTS_PER_BLOCK or 1
        # Rows at the very edge of a window are where loaders go wrong, so every midnight has some,
        # and every full hour where the rows are dense enough.
        self._edge = HOUR if self._span // self._instants < HOUR // 4 else DAY

    def created(self, number: int) -> int:
        """When a row was created, in milliseconds since 1970; never less than for the row before it."""
        block, place = divmod(number, len(_INSTANT_OF_ROW))
        instant = block * _INSTANTS_PER_BLOCK + _INSTANT_OF_ROW[place]
        begin = self._start + instant * self._span // self._instants
        end = self._start + (instant + 1) * self._span // self._instants
        edge = end - 1 - (end - 1) % self._edge
        if edge >= begin:
            return edge
        return begin + (self._salt + instant * 0x9E3779B1) % ((end - begin) or 1)

    def updated(self, number: int) -> int:
        """When a row was last updated, in milliseconds since 1970, if nobody has changed it since."""
        return self.created(number) + self.kind.update_lag

    def row(self, number: int) -> Row:
        """Make a row."""
        created = self.created(number)
        created_text = iso(created)
        lag = self.kind.update_lag
        return {
            "id": self.id_of(number),
            "created_at": created_text,
            "updated_at": iso(created + lag) if lag else created_text,
            **self.kind.fields(number, mix(self._salt + number * 0x9E3779B97F4A7C15), self._settings),
        }

    def id_of(self, number: int) -> str:
        """The id of a row."""
        return f"{self.kind.prefix}_{number + 1}"

    def number_of(self, row_id: str) -> int | None:
        """The number of the row with an id, if there is one."""
        digits = row_id.removeprefix(f"{self.kind.prefix}_")
        number = int(digits) - 1 if digits.isdecimal() else -1
        return number if 0 <= number < self.count and self.id_of(number) == row_id else None
