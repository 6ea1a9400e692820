"""Files that are drafted from OpenAPI documents are valid, and say what their authors would have said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_dagster.drafting.document import DraftError
from analytics_dagster.drafting.draft import Drafter, document_of_answer
from analytics_dagster.spec import parse_text
from analytics_dagster_tests.drafting.documents import START, USER, drafted, gets, listed, openapi, query

USERS = listed(USER)
TIME: dict[str, Any] = {"type": "string", "format": "date-time"}
NULLABLE = ["string", "null"]
LIST: dict[str, Any] = {"type": "array", "items": USER}
CIRCLE = "#/paths/~1users/get/responses/200/content/application~1json/schema"


def first(paths: dict[str, Any], **said: Any) -> dict[str, Any]:
    """What the first resource of a drafted file says."""
    file, _ = drafted(openapi(paths, **said))
    return file.api.resources[0].model_dump(mode="json", by_alias=True, exclude_unset=True)


def test_a_document_becomes_a_file_that_says_how_it_was_guessed() -> None:
    file, draft = drafted(
        openapi(
            {
                "/v1/users": gets(
                    listed(USER, total="integer"),
                    query("limit", "integer", maximum=250),
                    query("offset", "integer"),
                    query("updated_after", format="date-time"),
                    query("updated_before", format="date-time"),
                    summary="All users",
                )
            },
            security=[{"key": []}],
            components={"securitySchemes": {"key": {"type": "apiKey", "in": "query", "name": "token"}}},
        )
    )
    assert file.api.model_dump(mode="json", by_alias=True, exclude_unset=True) == {
        "version": 1,
        "name": "acme",
        "client": {
            "base_url": "https://api.example.com",
            "auth": {"type": "api_key", "name": "token", "api_key": "${ACME_API_KEY}", "location": "query"},
        },
        "resources": [
            {
                "name": "users",
                "description": "All users",
                "primary_key": "id",
                "write_disposition": "merge",
                "partitions": {"every": "day", "start": "2024-01-01"},
                "endpoint": {
                    "path": "/v1/users",
                    "data_selector": "data",
                    "paginator": {"type": "offset", "limit": 250},
                    "incremental": {
                        "cursor_path": "updated_at",
                        "start_param": "updated_after",
                        "end_param": "updated_before",
                        "start": "exclusive",
                    },
                },
            }
        ],
    }
    assert "# guessed from parameters `offset` and `limit`" in draft.text
    assert "# guessed from parameters `updated_after` and `updated_before`" in draft.text
    assert draft.variables == ["ACME_API_KEY"]


@pytest.mark.parametrize(
    ("parameters", "around", "paginator"),
    [
        (
            [query("page", "integer", default=0), query("size", "integer")],
            {"totalPages": "integer"},
            {"type": "page_number", "base_page": 0, "total_path": "totalPages"},
        ),
        (
            [query("page", "integer"), query("page_size", "integer")],
            {"page": "integer", "page_size": "integer", "page_count": "integer", "total_count": "integer"},
            {"type": "page_number", "base_page": 1, "total_path": "page_count"},
        ),
        (
            [query("page", default="0"), query("page_size", "integer")],
            {"total_count": "integer"},
            {"type": "page_number", "base_page": 0, "total_path": "total_count", "total_is": "set"},
        ),
        (
            [query("pageToken"), query("pageSize", "integer")],
            {"nextPageToken": "string"},
            {"type": "cursor", "cursor_path": "nextPageToken", "cursor_param": "pageToken"},
        ),
        ([query("$skip", "integer"), query("$top", "integer")], {"@odata.nextLink": "string"}, {
            "type": "json_link", "next_url_path": "['@odata.nextLink']",
        }),
        ([query("skip", "integer"), query("take", "integer")], {"hasMore": "boolean"}, {
            "type": "offset", "limit": 100, "offset_param": "skip", "limit_param": "take",
            "has_more_path": "hasMore",
        }),
        ([query("from", "integer"), query("to", "integer"), query("limit", "integer")], {}, None),
    ],
)  # fmt: skip
def test_paginators_are_known_by_parameters_and_what_is_around_rows(
    parameters: list[Any], around: dict[str, str], paginator: Any
) -> None:
    endpoint = first({"/users": gets(listed(USER, **around), *parameters)})["endpoint"]
    assert endpoint.get("paginator") == paginator


@pytest.mark.parametrize(
    ("parameters", "incremental"),
    [
        (
            [query("created[gte]", "integer"), query("created[lt]", "integer")],
            {
                "cursor_path": "created_at",
                "start_param": "created[gte]",
                "end_param": "created[lt]",
                "format": "epoch",
            },
        ),
        (
            [{**query("since"), "description": "Only those updated after this time, YYYY-MM-DD"}],
            {
                "cursor_path": "updated_at",
                "start_param": "since",
                "format": "date",
                "initial_value": "2024-01-01",
            },
        ),
        (
            [query("created_at_gte", format="date-time"), query("created_at_lt", format="date-time")],
            {"cursor_path": "created_at", "start_param": "created_at_gte", "end_param": "created_at_lt"},
        ),
        (  # both words are of bounds, and one of them of the field's name, too
            [query("start_date_gte", format="date-time"), query("start_date_lte", format="date-time")],
            {
                "cursor_path": "start_date",
                "start_param": "start_date_gte",
                "end_param": "start_date_lte",
                "end": "inclusive",
            },
        ),
        ([query("min_price", "integer"), query("max_price", "integer")], None),  # no time
        ([query("starting_after")], None),
    ],
)
def test_clocks_are_known_by_parameters_and_fields(parameters: list[Any], incremental: Any) -> None:
    started = {"properties": {**USER["properties"], "start_date": {"type": "string", "format": "date-time"}}}
    endpoint = first({"/users": gets(listed(started), *parameters)})["endpoint"]
    assert endpoint.get("incremental") == incremental


@pytest.mark.parametrize(
    "null", [{"anyOf": [TIME, {"type": "null"}]}, {**TIME, "nullable": True}, {**TIME, "type": NULLABLE}]
)
def test_a_clock_that_each_row_has_is_taken_before_one_that_may_be_null(null: dict[str, Any]) -> None:
    run = {"properties": {"id": {"type": "integer"}, "end_date": null, "run_after": TIME, "when": null}}
    bounds = [
        query(f"{name}_{bound}", format="date-time")
        for name in ("end_date", "run_after")
        for bound in ("gte", "lt")
    ]
    said = first({"/runs": gets(listed(run), *bounds)})
    assert said["endpoint"]["incremental"]["cursor_path"] == "run_after"
    assert list(said["columns"]) == ["end_date", "when"]
    _, draft = drafted(openapi({"/runs": gets(listed(run), *bounds[:2])}))
    assert "it may be null, and such a row is in no window" in draft.text
    unnamed = [query("after", format="date-time"), query("before", format="date-time")]
    said = first({"/runs": gets(listed(run), *unnamed)})
    assert said["endpoint"]["incremental"]["cursor_path"] == "run_after"


def test_a_key_may_have_the_whole_name_of_the_resource() -> None:
    run = {
        "properties": {"dag_id": {"type": "string"}, "dag_run_id": {"type": "string"}},
        "required": ["dag_id", "dag_run_id"],
    }
    assert first({"/dag_runs": gets(listed(run))})["primary_key"] == "dag_run_id"


@pytest.mark.parametrize(
    ("schema", "selector"),
    [
        (LIST, "$"),
        ({"properties": {"_embedded": {"properties": {"users": LIST}}, "_links": {}}}, "_embedded.users"),
        ({"allOf": [{"properties": {"meta": {}}}, {"properties": {"users": LIST}}]}, "users"),
        ({"anyOf": [{"type": "null"}, USERS]}, "data"),
        ({"properties": {"things": LIST, "next": {"type": "string"}}}, "things"),
    ],
)  # fmt: skip
def test_rows_are_found_in_envelopes_of_many_kinds(schema: Any, selector: str) -> None:
    assert first({"/users": gets(schema)})["endpoint"]["data_selector"] == selector


def test_a_thing_with_a_list_in_it_is_no_list() -> None:
    me = {"properties": {"name": {"type": "string"}, "roles": LIST}}
    file, draft = drafted(openapi({"/me": gets(me), "/users/{id}": gets(USERS), "/users": gets(USERS)}))
    assert [one.name for one in file.api.resources] == ["users"]
    assert draft.others == 2


@pytest.mark.parametrize(
    ("path", "answer", "name", "selector", "paginator"),
    [
        (  # Redmine
            "issues.json?status_id=*",
            {"issues": [{"id": 1}], "total_count": 450, "offset": 0, "limit": 25},
            "issues",
            "issues",
            {"type": "offset", "limit": 100, "total_path": "total_count"},
        ),
        (  # Jira
            "search",
            {"startAt": 0, "maxResults": 50, "total": 450, "issues": [{"id": "1"}]},
            "search",
            "issues",
            {"type": "offset", "limit": 100, "offset_param": "startAt", "limit_param": "maxResults"},
        ),
        (
            "things?page=1",
            {"meta": {"page": 1, "per_page": 20, "total_pages": 7}, "things": [{"id": 1}]},
            "things",
            "things",
            {"type": "page_number", "base_page": 1, "total_path": "meta.total_pages"},
        ),
        (  # MediaWiki
            "api.php?action=query",
            {"batchcomplete": "", "query": {"allpages": [{"pageid": 1}]}, "limits": {"allpages": 500}},
            "rows",
            "query.allpages",
            None,
        ),
    ],
)
def test_one_answer_shows_rows_and_the_parameters_that_it_repeats(
    path: str, answer: Any, name: str, selector: str, paginator: Any
) -> None:
    document = document_of_answer("https://acme.example", path, answer, [])
    draft = Drafter(document, "acme").draft([], START, "https://acme.example", "none")
    [resource] = parse_text(draft.text, "apis/acme.yaml").api.resources
    assert (resource.name, resource.endpoint.data_selector) == (name, selector)
    found = resource.endpoint.paginator
    assert (found.model_dump(exclude_unset=True) if found else None) == paginator


def test_one_answer_with_a_key_is_one_thing() -> None:
    document = document_of_answer("https://acme.example", "me", {"id": 7, "roles": [{"id": 1}]}, [])
    with pytest.raises(DraftError, match="none of its 1 GET operations"):
        Drafter(document, "acme")


def test_what_a_path_needs_comes_from_parents_or_the_environment() -> None:
    paths = {
        "/orgs/{org}/users": gets(USERS),
        "/orgs/{org}/users/{user_id}/orders": gets(USERS),
        "/orgs/{org}/users/{user_id}/orders/{order_id}/items": gets(USERS),
    }
    file, draft = drafted(openapi(paths), "items")
    users, orders, items = file.api.resources
    assert (users.selected, orders.selected, items.selected) == (False, False, True)
    assert orders.endpoint.path == "/orgs/${ACME_ORG}/users/{resources.users.id}/orders"
    assert items.endpoint.path == (
        "/orgs/${ACME_ORG}/users/{resources.users.id}/orders/{resources.orders.id}/items"
    )
    assert orders.include_from_parent == ["id"]
    assert items.include_from_parent == ["users.id", "id"]
    # Two users may have orders of the same id, so that an order's id alone tells no items apart.
    assert items.primary_key == ["_users_id", "_orders_id", "id"]
    assert draft.variables == ["ACME_ORG"]


@pytest.mark.parametrize("length", [40, 57, 70, 120])
def test_a_long_path_becomes_a_name_that_a_resource_may_have(length: int) -> None:
    long = "/".join(["users_of_1_day"] * 10)[:length]
    file, draft = drafted(
        openapi({f"/{long}": gets(USERS), f"/a/{long}": gets(USERS), f"/b{long}": gets(USERS)})
    )
    assert len({*draft.resources}) == len(file.api.resources) == 3


def test_swagger_is_read_as_well() -> None:
    user = {"$ref": "#/definitions/User"}
    file, _ = drafted(
        {
            "swagger": "2.0",
            "host": "api.example.com",
            "basePath": "/v2",
            "schemes": ["http", "https"],
            "securityDefinitions": {
                "login": {
                    "type": "oauth2",
                    "flow": "application",
                    "tokenUrl": "/oauth/token",
                    "scopes": {"read": "", "write": ""},
                }
            },
            "definitions": {
                # a circle
                "User": {
                    "properties": {"uuid": {"type": "string"}, "friends": {"type": "array", "items": user}}
                }
            },
            "paths": {
                "/users": {
                    "get": {
                        "security": [{"login": ["read"]}],
                        "parameters": [
                            {"name": "page", "in": "query", "type": "integer"},
                            {"name": "site", "in": "query", "type": "string", "required": True},
                        ],
                        "responses": {"200": {"schema": {"type": "array", "items": user}}},
                    }
                }
            },
        }
    )
    assert file.api.client.model_dump(mode="json", exclude_unset=True) == {
        "base_url": "https://api.example.com/v2",
        "auth": {
            "type": "oauth2_client_credentials",
            "access_token_url": "https://api.example.com/oauth/token",
            "client_id": "${ACME_CLIENT_ID}",
            "client_secret": "${ACME_CLIENT_SECRET}",
            "scopes": ["read"],
        },
    }
    (users,) = file.api.resources
    assert users.primary_key == "uuid"
    assert users.endpoint.params == {"site": "${ACME_SITE}"}
    assert users.endpoint.paginator.model_dump(exclude_unset=True) == {"type": "page_number", "base_page": 1}


def test_a_password_flow_becomes_a_login_by_form() -> None:
    flows = {"password": {"tokenUrl": "/auth/token", "scopes": {}}}
    schemes = {"login": {"type": "oauth2", "flows": flows}}
    components = {"securitySchemes": schemes}
    file, draft = drafted(openapi({"/users": gets(USERS)}, security=[{"login": []}], components=components))
    assert file.api.client.model_dump(mode="json", exclude_unset=True)["auth"] == {
        "type": "session",
        "login_url": "https://api.example.com/auth/token",
        "login": {
            "grant_type": "password",
            "username": "${ACME_USERNAME}",
            "password": "${ACME_PASSWORD}",
        },
        "login_format": "form",
        "token_path": "access_token",
    }
    assert draft.variables == ["ACME_USERNAME", "ACME_PASSWORD"]


def test_a_first_page_may_want_an_empty_token() -> None:
    token = {**query("cursor"), "description": "Pass an empty string for the first page."}
    paging = [token, query("limit", "integer")]
    endpoint = first({"/users": gets(listed(USER, next_cursor="string"), *paging)})["endpoint"]
    assert endpoint["params"] == {"cursor": "", "limit": 100}


def test_a_search_is_asked_by_its_body() -> None:
    fields = {
        "limit": {"type": "integer"},
        "offset": {"type": "integer"},
        "updated_after": {"type": "string", "format": "date-time"},
        "updated_before": {"type": "string", "format": "date-time"},
    }
    body = {"content": {"application/json": {"schema": {"properties": fields}}}}
    post = {**gets(USERS)["get"], "requestBody": body}
    endpoint = first({"/users/search": {"post": post}})["endpoint"]
    assert (endpoint["method"], endpoint["paginator"]["offset_body_path"]) == ("POST", "offset")
    assert endpoint["json"] == {
        "updated_after": "{incremental.start_value}",
        "updated_before": "{incremental.end_value}",
    }


def test_a_search_has_the_name_of_what_it_finds_and_may_be_a_parent() -> None:
    body = {"limit": {"type": "integer", "maximum": 50.0}, "offset": {"type": "integer"}}
    asked = {"requestBody": {"content": {"application/json": {"schema": {"properties": body}}}}}
    found = {"properties": {"runs": LIST, "tags": LIST}}
    paths = {
        "/v2/runs/filter": {"post": {**gets(found)["get"], **asked}},
        "/v2/runs/{id}/logs": gets(USERS),
    }
    file, _ = drafted(openapi(paths))
    runs, logs = file.api.resources
    assert (runs.name, runs.endpoint.data_selector) == ("runs", "runs")
    assert runs.endpoint.paginator.model_dump(exclude_unset=True) == {
        "type": "offset",
        "limit": 50,
        "offset_body_path": "offset",
        "limit_body_path": "limit",
    }
    assert logs.endpoint.path == "/v2/runs/{resources.runs.id}/logs"


def test_a_next_link_of_a_search_is_asked_for_by_get() -> None:
    post = gets(listed(USER, next_page="string"))["get"]
    endpoint = first({"/events/filter": {"post": post}})["endpoint"]
    assert endpoint["paginator"] == {
        "type": "json_link",
        "next_url_path": "next_page",
        "next_method": "GET",
    }


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ({"info": {}}, "this is no OpenAPI document"),
        (openapi({}), "has no `paths`"),
        (openapi({"/users": gets({"$ref": "#/components/User"})}), "leads nowhere: there is no `comp"),
        (openapi({"/users": gets({"$ref": "other.yaml#/User"})}), "leads into another document"),
        (openapi({"/users": gets({"$ref": CIRCLE})}), "leads to itself"),
        (openapi({"/me": gets(USER)}), "none of its 1 GET operations"),
    ],
)  # fmt: skip
def test_a_document_that_cannot_be_used_says_why(root: Any, message: str) -> None:
    with pytest.raises(DraftError, match="openapi") as raised:
        drafted(root)
    assert message in str(raised.value)


TEXTS = st.one_of(
    st.sampled_from(
        ["id", "created_at", "1e5", "0o7", "${X}", "$ {", "{y}", "next", "a: b", "'", "null", "- x"]
    ),
    st.text(max_size=8),
)
TYPES = st.sampled_from(["string", "integer", "number", "boolean", "object", None, ["string", "null"]])
FORMATS = st.sampled_from(["date", "date-time", "uuid", "uri", None, 3])
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "type": TYPES,
        "format": FORMATS,
        "description": TEXTS,
        "default": st.one_of(TEXTS, st.integers(), st.none()),
        "nullable": st.booleans(),
        "enum": st.lists(TEXTS, max_size=2),
    },
)
SCHEMAS = st.recursive(
    st.one_of(VALUES, st.just({"$ref": "#/components/schemas/Circle"})),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}),
        st.fixed_dictionaries(
            {"properties": st.dictionaries(TEXTS, inner, max_size=4), "required": st.lists(TEXTS, max_size=2)}
        ),
        st.fixed_dictionaries({"allOf": st.lists(inner, max_size=2)}),
        st.fixed_dictionaries({"oneOf": st.lists(inner, max_size=2)}),
    ),
    max_leaves=8,
)
NAMES = st.one_of(
    TEXTS,
    st.sampled_from(
        [
            "page",
            "limit",
            "offset",
            "cursor",
            "since",
            "from",
            "to",
            "created_after",
            "created[lt]",
            "𑛀",
            "${Y",
        ]
    ),
)
PARAMETERS = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES, "in": st.sampled_from(["query", "path", "header"]), "schema": VALUES},
        optional={"required": st.booleans(), "description": TEXTS},
    ),
    max_size=5,
)
PATHS = st.lists(
    st.sampled_from(
        ["users", "{id}", "orders", "{user_id}", "v1", "search", "{", "a b", "Ä", "x__y", "{a}.json"]
    ),
    min_size=1,
    max_size=5,
).map(lambda parts: "/" + "/".join(parts))
OPERATIONS = st.builds(
    lambda schema, parameters, text: gets(schema, *parameters, summary=text),
    st.one_of(SCHEMAS, SCHEMAS.map(listed)),
    PARAMETERS,
    TEXTS,
)


@settings(max_examples=40, deadline=None)
@given(
    paths=st.dictionaries(PATHS, OPERATIONS, min_size=1, max_size=5),
    schemes=st.dictionaries(
        TEXTS,
        st.fixed_dictionaries(
            {"type": st.sampled_from(["apiKey", "http", "oauth2", "openIdConnect", "mutualTLS"])},
            optional={
                "in": st.sampled_from(["query", "header", "cookie"]),
                "name": TEXTS,
                "scheme": st.sampled_from(["basic", "bearer", "digest"]),
                "flows": st.just({"clientCredentials": {"tokenUrl": "token", "scopes": {"a b": ""}}}),
            },
        ),
        max_size=2,
    ),
    servers=st.lists(st.fixed_dictionaries({"url": TEXTS}), max_size=2),
    title=TEXTS,
)
def test_whatever_a_document_says_the_file_is_valid(
    paths: dict[str, Any], schemes: Any, servers: Any, title: str
) -> None:
    circle = {"allOf": [USER, {"properties": {"data": {"$ref": "#/components/schemas/Circle"}}}]}
    root = openapi(
        {**paths, "/users": gets(USERS)},
        info={"title": title},
        components={"schemas": {"Circle": circle}, "securitySchemes": schemes},
        security=[{name: [] for name in schemes}],
    )
    drafted({**root, "servers": servers})
