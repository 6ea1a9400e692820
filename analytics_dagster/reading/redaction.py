"""Keeps secrets out of everything that people may read."""

import base64
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

_MASK = "***"
_SHORTEST = 3  # a shorter value would black out ordinary text and is no secret


class Redactor:
    """Replaces known secrets in texts, in every form in which they travel.

    Args:
        secrets: The values to hide; also hidden are their URL-encoded and base64 forms.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: list[str] = []
        for secret in secrets:
            self.hide(secret)

    def hide(self, secret: str) -> None:
        """Hide one more secret, such as a token that was fetched."""
        forms = {*self._forms, *(form for form in _forms(secret) if len(form) >= _SHORTEST)}
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text without any of the secrets."""
        for form in self._forms:
            text = text.replace(form, _MASK)
        return text


def _forms(secret: str) -> set[str]:
    encoded = base64.b64encode(secret.encode()).decode()
    return {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), encoded, encoded.rstrip("=")}
