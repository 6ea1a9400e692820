"""What an API file may say, and how files are found, read and checked. Imports nothing of ours."""

from analytics_dagster.spec.actions import ResponseAction
from analytics_dagster.spec.api import (
    Api,
    Client,
    Limits,
    Partitions,
    Rerun,
    Resource,
    ResourceDefaults,
    Retry,
)
from analytics_dagster.spec.auth import ApiKeyAuth, Auth, BearerAuth, HttpBasicAuth, SeveralAuth
from analytics_dagster.spec.checking import ApiFile
from analytics_dagster.spec.endpoint import Endpoint, EndpointDefaults, Incremental
from analytics_dagster.spec.files import find_files, parse_text, read_file, read_files
from analytics_dagster.spec.json_schema import json_schema
from analytics_dagster.spec.page_ends import PastEnd
from analytics_dagster.spec.paginators import (
    CursorPaginator,
    HeaderCursorPaginator,
    HeaderLinkPaginator,
    HeaderNextPaginator,
    JsonLinkPaginator,
    KeysetPaginator,
    LinksPaginator,
    OffsetPaginator,
    PageNumberPaginator,
    Paginator,
    SimplePaginator,
    UntilEmptyPaginator,
)
from analytics_dagster.spec.problems import ApiFileError, Problem
from analytics_dagster.spec.records import Records
from analytics_dagster.spec.response import ResponseFormat
from analytics_dagster.spec.tokens import (
    FetchedToken,
    GrantedToken,
    JwtBearerAuth,
    OAuth2Auth,
    RefreshTokenAuth,
    SessionAuth,
)
from analytics_dagster.spec.units import in_timezone
from analytics_dagster.spec.windows import Window, window_containing, windows_between

__all__ = [
    "Api",
    "ApiFile",
    "ApiFileError",
    "ApiKeyAuth",
    "Auth",
    "BearerAuth",
    "Client",
    "CursorPaginator",
    "Endpoint",
    "EndpointDefaults",
    "FetchedToken",
    "GrantedToken",
    "HeaderCursorPaginator",
    "HeaderLinkPaginator",
    "HeaderNextPaginator",
    "HttpBasicAuth",
    "Incremental",
    "JsonLinkPaginator",
    "JwtBearerAuth",
    "KeysetPaginator",
    "Limits",
    "LinksPaginator",
    "OAuth2Auth",
    "OffsetPaginator",
    "PageNumberPaginator",
    "Paginator",
    "Partitions",
    "PastEnd",
    "Problem",
    "Records",
    "RefreshTokenAuth",
    "Rerun",
    "Resource",
    "ResourceDefaults",
    "ResponseAction",
    "ResponseFormat",
    "Retry",
    "SessionAuth",
    "SeveralAuth",
    "SimplePaginator",
    "UntilEmptyPaginator",
    "Window",
    "find_files",
    "in_timezone",
    "json_schema",
    "parse_text",
    "read_file",
    "read_files",
    "window_containing",
    "windows_between",
]
