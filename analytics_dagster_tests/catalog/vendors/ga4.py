"""GA4's Data API: a token for a signed assertion, then `runReport` for inclusive days.

https://developers.google.com/analytics/devguides/reporting/data/v1/rest/v1beta/properties/runReport
"""

from __future__ import annotations

import json
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from analytics_dagster_tests.catalog.vendors.serving import form_of

_KEY = rsa.generate_private_key(65537, 2048)
_ACCOUNT = "reader@project.iam.gserviceaccount.com"
_SCOPE = "https://www.googleapis.com/auth/analytics.readonly"
_FIELDS = {"dateRanges", "dimensions", "metrics", "orderBys", "offset", "limit"}


class Ga4:
    """A property, whose reports have a row for each of `rows` that has all that is asked for.

    Args:
        rows: Values by the names of dimensions and metrics; dates as `20240131`.
        cap: The most rows of an answer, whatever is asked for.
    """

    property = "123456789"

    def __init__(self, rows: list[dict[str, Any]], cap: int = 250_000) -> None:
        self.rows = rows
        self.cap = cap
        self.exhausted = ""  # which quota
        self.asked: list[dict[str, Any]] = []

    @staticmethod
    def service_account(url: str) -> str:
        """Google's JSON key of an account that may read the property."""
        how = (
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return json.dumps(
            {
                "type": "service_account",
                "private_key_id": "k1",
                "private_key": _KEY.private_bytes(*how).decode(),
                "client_email": _ACCOUNT,
                "token_uri": f"{url}/token",
            }
        )

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/token", self._token, methods=["POST"]),
                Route("/v1beta/properties/{call}", self._run_report, methods=["POST"]),
            ]
        )

    async def _token(self, request: Request) -> JSONResponse:
        form = await form_of(request)
        audience = str(request.url)
        try:
            claims = jwt.decode(form["assertion"], _KEY.public_key(), ["RS256"], audience=audience)
        except jwt.InvalidTokenError as error:
            return JSONResponse({"error": "invalid_grant", "error_description": str(error)}, 400)
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        assert (claims["iss"], claims["scope"]) == (_ACCOUNT, _SCOPE)
        return JSONResponse({"access_token": "ya29.t0ken", "expires_in": 3599, "token_type": "Bearer"})

    async def _run_report(self, request: Request) -> JSONResponse:
        if request.headers.get("authorization") != "Bearer ya29.t0ken":
            return _error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        if request.path_params["call"] != f"{self.property}:runReport":
            message = "User does not have sufficient permissions for this property."
            return _error(403, "PERMISSION_DENIED", message)
        if self.exhausted:
            message = f"Exhausted property tokens for a project per {self.exhausted}."
            return _error(429, "RESOURCE_EXHAUSTED", message)
        asked = await request.json()
        self.asked.append(asked)
        if unknown := asked.keys() - _FIELDS:
            message = f'Invalid JSON payload received. Unknown name "{min(unknown)}"'
            return _error(400, "INVALID_ARGUMENT", message)
        [range_] = asked["dateRanges"]
        start, end = (range_[name].replace("-", "") for name in ("startDate", "endDate"))
        if start > end:
            message = f"Invalid dateRanges: startDate {start} is after endDate {end}."
            return _error(400, "INVALID_ARGUMENT", message)
        dimensions, metrics = ([one["name"] for one in asked[name]] for name in ("dimensions", "metrics"))
        order = [one["dimension"]["dimensionName"] for one in asked.get("orderBys", [])]
        found = [
            row for row in self.rows if row.keys() >= {*dimensions, *metrics} and start <= row["date"] <= end
        ]
        found.sort(key=lambda row: [row[name] for name in order])
        offset, limit = int(asked.get("offset", 0)), min(int(asked.get("limit", 10_000)), self.cap)
        report: dict[str, Any] = {
            "dimensionHeaders": [{"name": name} for name in dimensions],
            "metricHeaders": [{"name": name, "type": "TYPE_INTEGER"} for name in metrics],
            "metadata": {"currencyCode": "EUR", "timeZone": "Etc/UTC"},
            "kind": "analyticsData#runReport",
        }
        if page := found[offset : offset + limit]:  # without rows there are neither `rows` nor `rowCount`
            report["rows"] = [
                {
                    "dimensionValues": [{"value": row[name]} for name in dimensions],
                    "metricValues": [{"value": str(row[name])} for name in metrics],
                }
                for row in page
            ]
            report["rowCount"] = len(found)
        return JSONResponse(report)


def _error(code: int, status: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message, "status": status}}, code)
