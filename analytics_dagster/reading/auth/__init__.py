"""How requests are signed, and how the tokens are fetched that they are signed with."""

from analytics_dagster.reading.auth.signing import build_auth

__all__ = ["build_auth"]
