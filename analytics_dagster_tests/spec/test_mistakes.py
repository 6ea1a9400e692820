"""Each mistake is reported where it stands, in words that say what to do; all of them at once."""

from __future__ import annotations

import pytest

from analytics_dagster.spec import ApiFileError, parse_text
from analytics_dagster_tests.spec.helpers import problems, resource, with_resource

CLIENT = "client: {base_url: 'https://x.y'}\n"
FULL = "\nresources: [{name: a, write_disposition: replace}]\n"
AUTH = "client:\n  base_url: https://x.y\n  auth: "
REFRESH = AUTH + (
    "{type: oauth2_refresh_token, access_token_url: 'https://x.y/t', client_id: i, refresh_token: r,\n   "
)
REPLACED = "name: a\nwrite_disposition: replace\nendpoint:\n"
AT = ".endpoint.response_actions[0]"
WINDOWED = """\
name: a
primary_key: id
write_disposition: merge
partitions: {every: day, start: 2024-01-01}
endpoint:
  incremental: {cursor_path: t, start_param: since}
"""

# A whole file, the line and the key of its mistake, and words that its message must have.
FILES: list[tuple[str, int, str, str]] = [
    ("", 1, "", "empty"),
    ("- a\n", 1, "", "client and resources"),
    ("client: {a: b\n", 2, "", "does not parse"),
    ("client:\n\tbase_url: x\n", 2, "", "spaces, not tabs"),
    ("client: {auth: {token: ${KEY}}}", 1, "", 'quotes: "${NAME}"'),
    ("a: b: c", 1, "", "quotes"),
    ("client: *x", 1, "", "begins with * needs quotes"),
    (CLIENT + FULL + "---\na: 1", 4, "", "a second document begins here; one file holds one API"),
    (
        "a: &a [1]\nb: &b ["
        + "*a," * 9
        + "]\n"
        + "".join(
            f"{chr(c + 1)}: &{chr(c + 1)} [" + f"*{chr(c)}," * 9 + "]\n" for c in range(ord("b"), ord("h"))
        ),
        1,
        "",
        "aliases multiply",
    ),
    ("a: &a [*a]", 1, "", "contains itself"),
    ("a: " + "[" * 100 + "]" * 100, 1, "", "nested too deeply"),
    ("client: \x00", 1, "", "not allowed"),
    (
        CLIENT + FULL + "tags: !!python/object/apply:os.system [ls]",
        4,
        "tags",
        "tags (values that begin with !)",
    ),
    (CLIENT + FULL + "limits: {requests: !!int x}", 4, "limits.requests", "begin with !"),
    (CLIENT + FULL + "retry: {}\nretry: {}", 5, "retry", "twice; the first one is in line 4"),
    (CLIENT + FULL + "? [a]\n: b", 4, "", "must be text"),
    (FULL, 1, "client", "missing"),
    (CLIENT, 1, "resources", "missing"),
    (CLIENT + "resources: []", 2, "resources", "at least one resource"),
    (CLIENT + "resources:\n  name: users", 2, "resources", "each entry begins with `- `"),
    (CLIENT + "resources: users", 2, "resources", "expected a list, not 'users'"),
    (CLIENT + "resources:\n  - 5", 3, "resources[0]", "mapping of keys to values, not the number 5"),
    ("client: x" + FULL, 1, "client", "mapping of keys to values, not 'x'"),
    ("client: {base_url: api.x.y}" + FULL, 1, "client.base_url", "https://"),
    ("client: {base_url: 'https://'}" + FULL, 1, "client.base_url", "a host"),
    ("client: {base_url: 'https://x.y:port'}" + FULL, 1, "client.base_url", "a host"),
    ("client: {base_url: 'ftp://x.y'}" + FULL, 1, "client.base_url", "http://"),
    ("client: {base_url: 'https://me:hunter2@x.y'}" + FULL, 1, "client.base_url", "http_basic"),
    (
        "client:\n  base_url: https://x.y\n  allowed_hosts: [https://a.b/c]" + FULL,
        3,
        "client.allowed_hosts[0]",
        "without a path",
    ),
    ("client:\n  base_url: https://x.y\n  heders: {}" + FULL, 3, "client.heders", "did you mean `headers`?"),
    (
        "client:\n  base_url: https://x.y\n  session: x" + FULL,
        3,
        "client.session",
        "cannot stand in a YAML file",
    ),
    (
        "client:\n  base_url: https://x.y\n  headers: {X-Version: 2}" + FULL,
        3,
        "client.headers.X-Version",
        "quotes make it text",
    ),
    (
        "client:\n  base_url: https://x.y\n  auth:\n    type: apikey" + FULL,
        4,
        "client.auth.type",
        "not 'apikey'; did you mean `api_key`?",
    ),
    (
        "client:\n  base_url: https://x.y\n  auth:\n    type: api_key" + FULL,
        3,
        "client.auth.api_key",
        "missing",
    ),
    (
        "client:\n  base_url: https://x.y\n  auth:\n    tokn: x" + FULL,
        4,
        "client.auth.tokn",
        "did you mean `token`?",
    ),
    (
        "client:\n  base_url: https://x.y\n  auth: {type: api_key, api_key: k, locaton: query}" + FULL,
        3,
        "client.auth.locaton",
        "did you mean `location`?",
    ),
    (
        "client:\n  base_url: https://x.y\n  auth: {type: api_key, api_key: k, location: cookie}" + FULL,
        3,
        "client.auth.location",
        "header, query or param, not 'cookie'",
    ),
    (
        "client:\n  base_url: https://x.y\n  auth:\n    type: oauth2\n    client_id: i\n"
        "    client_secret: s\n    access_token_url: x.y/token" + FULL,
        7,
        "client.auth.access_token_url",
        "https://",
    ),
    (
        "client:\n  base_url: https://x.y\n  auth: {token: '${TOKEN'}" + FULL,
        3,
        "client.auth.token",
        "write ${NAME}",
    ),
    (
        "client:\n  base_url: https://x.y\n  paginator: {type: keyset, keys: id}" + FULL,
        3,
        "client.paginator",
        "write it below endpoint, or resource_defaults.endpoint",
    ),
    (AUTH + "{token: $TOKEN}" + FULL, 3, "client.auth.token", "write ${NAME} for the value"),
    (AUTH + "{token: t}\n  headers: {X-Key: $KEY}" + FULL, 4, "client.headers.X-Key", "write ${NAME}"),
    (AUTH + "{type: jwt_bearer, issuer: i, private_key: x}" + FULL, 3, "client.auth.private_key", "PEM file"),
    (
        AUTH + "{type: jwt_bearer, issuer: i, private_key: '-----BEGIN ENCRYPTED PRIVATE KEY-----a"
        "-----END ENCRYPTED PRIVATE KEY-----'}" + FULL,
        3,
        "client.auth.private_key",
        "decrypt it",
    ),
    (
        AUTH
        + "{type: jwt_bearer, private_key: '-----BEGIN PRIVATE KEY-----a-----END PRIVATE KEY-----'}"
        + FULL,
        3,
        "client.auth",
        "issuer is missing",
    ),
    (
        AUTH + "{type: jwt_bearer, private_key: '${K}', algorithm: RS265}" + FULL,
        3,
        "client.auth.algorithm",
        "RS256 or ES256, not 'RS265'; did you mean",
    ),
    (
        AUTH + "{type: jwt_bearer, private_key: '${K}', lifetime: 0s}" + FULL,
        3,
        "client.auth.lifetime",
        "above zero, such as",
    ),
    (
        AUTH + "{type: jwt_bearer, private_key: '${K}', scopes: 5}" + FULL,
        3,
        "client.auth.scopes",
        "expected a list",
    ),
    (
        AUTH + "{type: session, login_url: 'https://x.y', login: {}}" + FULL,
        3,
        "client.auth.login",
        "at least one",
    ),
    (
        AUTH + "{type: session, login: {a: b}}" + FULL,
        3,
        "client.auth.login_url",
        "missing",
    ),
    (
        AUTH
        + "{type: session, login_url: 'https://x.y', login: {a: b}, location: query, prefix: Token}"
        + FULL,
        3,
        "client.auth.prefix",
        "leave it out",
    ),
    (
        AUTH + "{type: session, login_url: 'https://x.y', login: {a: b}, login_format: xml}" + FULL,
        3,
        "client.auth.login_format",
        "json or form, not 'xml'",
    ),
    (AUTH + "{all: []}" + FULL, 3, "client.auth.all", "at least one"),
    (AUTH + "{all: {token: a}}" + FULL, 3, "client.auth.all", "expected a list"),
    (
        AUTH + "{all: [{token: a}, {type: api_key, api_key: b}]}" + FULL,
        3,
        "client.auth.all",
        "the header authorization, and one would overwrite the other",
    ),
    (AUTH + "{all: [{token: a}, {type: api_key}]}" + FULL, 3, "client.auth.all[1].api_key", "missing"),
    (AUTH + "{all: [{all: [{token: a}]}]}" + FULL, 3, "client.auth.all[0]", "not 'all'"),
    (
        REFRESH + "client_authentication: basic}" + FULL,
        4,
        "client.auth.client_authentication",
        "client_secret",
    ),
    (REFRESH + "token_store: tokens}" + FULL, 4, "client.auth.token_store", "an absolute path"),
    (
        REFRESH + "access_token_path: '@odata.token'}" + FULL,
        4,
        "client.auth.access_token_path",
        "needs quotes in a JSONPath",
    ),
    (
        REFRESH + "access_token_request_format: xml}" + FULL,
        4,
        "client.auth.access_token_request_format",
        "form or json, not 'xml'",
    ),
    ("client:\n  base_url: https://x.y\n  cert: [a]" + FULL, 3, "client.cert", "[certificate, key]"),
    ("client:\n  base_url: https://x.y\n  verify: no" + FULL, 3, "client.verify", "REQUESTS_CA_BUNDLE"),
    ("client:\n  base_url: https://x.y\n  proxies: {}" + FULL, 3, "client.proxies", "HTTPS_PROXY"),
    ("client: {base_url: '${}/v1'}" + FULL, 1, "client.base_url", "write ${NAME}"),
    (CLIENT + FULL + "version: 2", 4, "version", "expected 1"),
    (CLIENT + FULL + "name: my api", 4, "name", "begins with a letter"),
    (CLIENT + FULL + "owners: [data]", 4, "owners[0]", "team:NAME, not 'data'"),
    (CLIENT + FULL + "tags: {a b: c}", 4, "tags.a b", "letters, digits"),
    (CLIENT + FULL + "tags: {a: b c}", 4, "tags.a", "not 'b c'"),
    (CLIENT + FULL + "tags: {tier: 1}", 4, "tags.tier", "not the number 1 (quotes"),
    (CLIENT + FULL + "retry:\n  max_retries: abc", 5, "retry.max_retries", "a whole number, not 'abc'"),
    (CLIENT + FULL + "retry: {max_retries: '3'}", 4, "retry.max_retries", "without quotes"),
    (CLIENT + FULL + "retry: {max_retries: true}", 4, "retry.max_retries", "a whole number, not true"),
    (CLIENT + FULL + "retry: {max_retries: -1}", 4, "retry.max_retries", "at least 0, not the number -1"),
    (CLIENT + FULL + "retry: {max_retries: 1.5}", 4, "retry.max_retries", "a whole number"),
    (
        CLIENT + FULL + "retry: {max_wait: soon}",
        4,
        "retry.max_wait",
        "such as 30s, 10m, 1h or 2d, not 'soon'",
    ),
    (CLIENT + FULL + "retry: {max_wait: .inf}", 4, "retry.max_wait", "such as 30s"),
    (CLIENT + FULL + "limits: {per: week}", 4, "limits.per", "second, minute, hour or day, not 'week'"),
    (CLIENT + FULL + "rerun: {delays: []}", 4, "rerun.delays", "at least one"),
    (
        "client: {base_url: 'https://x.y', max_response_bytes: 1XB}" + FULL,
        1,
        "client.max_response_bytes",
        "1GB",
    ),
    (CLIENT + FULL + "resource_default: {}", 4, "resource_default", "did you mean `resource_defaults`?"),
    (
        CLIENT + FULL + "resource_defaults:\n  endpoint:\n    path: api.php",
        6,
        "resource_defaults.endpoint.path",
        "write path in each resource's endpoint",
    ),
    (CLIENT + FULL + "zzz: 1", 4, "zzz", "unknown key; expected one of client, description,"),
]

# A resource whose first line is line 5 of its file.
RESOURCES: list[tuple[str, int, str, str]] = [
    ("nam: a", 5, ".nam", "did you mean `name`?"),
    ("name: 1a", 5, ".name", "begins with a letter"),
    ("name: a\nendpoint:\npath: a", 7, ".path", "it belongs below `endpoint`"),
    (
        "name: a\nendpoint: {path: a, cursor_path: t}",
        6,
        ".endpoint.cursor_path",
        "belongs below `incremental`",
    ),
    ("name: a\nendpoint: {data_selector: 'data['}", 6, ".endpoint.data_selector", "not 'data['"),
    ("name: a\nendpoint: {data_selector: $.a.$b}", 6, ".endpoint.data_selector", "needs quotes"),
    ("name: a\nselected: yes", 6, ".selected", "true or false, not 'yes'"),
    ("name: a\nprimary_key: 5", 6, ".primary_key", "a list of names, not the number 5"),
    ("name: a\nwrite_disposition: upsert", 6, ".write_disposition", "merge, append or replace, not 'upsert'"),
    (
        "name: a\nwrite_disposition: {disposition: merge, strategy: scd2}",
        6,
        ".write_disposition",
        "'scd2' is not supported",
    ),
    ("name: a\nschema_contract: {colums: freeze}", 6, ".schema_contract", "did you mean `columns`?"),
    ("name: a\nschema_contract: frozen", 6, ".schema_contract", "did you mean `freeze`?"),
    ("name: a\ncolumns:\n  t: {data_type: string}", 7, ".columns.t", "timestamp, bigint"),
    ("name: a\ncolumns:\n  t: {nulable: true}", 7, ".columns.t.nulable", "did you mean `nullable`?"),
    ("name: a\nprocessing_steps: []", 6, ".processing_steps", "Python functions"),
    ("name: a\ntable_format: delta", 6, ".table_format", "not supported"),
    ("name: a\nschedule: often", 6, ".schedule", "cron expression"),
    ("name: a\nschedule: '0 0 30 2 *'", 6, ".schedule", "comes due"),
    ("name: a\nschedule: '* * * * * *'", 6, ".schedule", "five fields"),
    (
        "name: a\nendpoint:\n  method: GETT",
        7,
        ".endpoint.method",
        "OPTIONS, QUERY, SEARCH or REPORT, not 'GETT'; did you mean `GET`",
    ),
    ("name: a\nendpoint:\n  pagintor: x", 7, ".endpoint.pagintor", "did you mean `paginator`?"),
    ("name: a\nendpoint:\n  paginator: ofset", 7, ".endpoint.paginator", "did you mean `offset`?"),
    ("name: a\nendpoint:\n  paginator: offset", 7, ".endpoint.paginator.limit", "missing"),
    ("name: a\nendpoint:\n  paginator: {limit: 5}", 7, ".endpoint.paginator", "the key type"),
    (
        "name: a\nendpoint:\n  paginator: {type: json_link, next_url_path: '@odata.nextLink'}",
        7,
        ".endpoint.paginator.next_url_path",
        "needs quotes in a JSONPath: ['@odata.nextLink']",
    ),
    (
        "name: a\nendpoint:\n  paginator: {type: json_link, total_path: '$.meta.@odata.count'}",
        7,
        ".endpoint.paginator.total_path",
        "needs quotes in a JSONPath: ['@odata.count']",
    ),
    ("name: a\nendpoint:\n  data_selector: 'a.@odata.b'", 7, ".endpoint.data_selector", "['@odata.b']"),
    (
        "name: a\nendpoint:\n  paginator: {type: cursor, offset_param: x}",
        7,
        ".endpoint.paginator.offset_param",
        "cursor_param",
    ),
    (
        "name: a\nendpoint:\n  paginator: {type: offset, limit: 5, offset_param: a, offset_body_path: b}",
        7,
        ".endpoint.paginator",
        "offset_param and offset_body_path exclude each other",
    ),
    (
        "name: a\nendpoint:\n  paginator: {type: offset, limit: 5, limit_param: a, limit_body_path: b}",
        7,
        ".endpoint.paginator",
        "limit_param and limit_body_path exclude each other",
    ),
    (
        "name: a\nendpoint:\n  paginator: {type: page_number, limit: 100}",
        7,
        ".endpoint.paginator.limit",
        "into params, such as {per_page: 100}",
    ),
    (
        "name: a\nendpoint:\n  paginator: {type: until_empty, by: page, limit: 100}",
        7,
        ".endpoint.paginator",
        "limit is nothing that by: page takes; write how long pages are into params",
    ),
    (
        "name: a\nendpoint:\n  paginator: {type: page_number, page_param: a, page_body_path: b}",
        7,
        ".endpoint.paginator",
        "page_param and page_body_path exclude each other",
    ),
    (
        "name: a\nendpoint:\n  paginator: {type: cursor, cursor_param: a, cursor_body_path: b}",
        7,
        ".endpoint.paginator",
        "cursor_param and cursor_body_path exclude each other",
    ),
    (
        (
            "name: a\nendpoint:\n  paginator:\n    {type: offset, limit: 5, total_path: ~,\n"
            "      stop_after_empty_page: false}"
        ),
        7,
        ".endpoint.paginator",
        "would never end: give total_path, maximum_offset",
    ),
    (
        (
            "name: a\nendpoint:\n  paginator:\n    {type: page_number, total_path: ~,\n"
            "      stop_after_empty_page: false}"
        ),
        7,
        ".endpoint.paginator",
        "would never end: give total_path, maximum_page",
    ),
    *(
        (f"name: a\nendpoint:\n  paginator: {paginator}", 7, f".endpoint.paginator{key}", words)
        for paginator, key, words in [
            ("{type: until_empty, by: offset}", "", "by: offset needs limit"),
            ("{type: until_empty, by: page, limit: 5}", "", "limit is nothing that by: page takes"),
            ("{type: until_empty, by: pages}", ".by", "offset or page, not 'pages'; did you mean `page`?"),
            ("{type: header_next}", ".header", "missing"),
            ("{type: header_next, header: 'X Next'}", ".header", "such as X-Next-Page, not 'X Next'"),
            ("{type: header_nxt}", ".type", "did you mean `header_next`?"),
            ("{type: json_link, total_path: 'header:'}", ".total_path", "the name of a header"),
            ("{type: json_link, total_is: all}", ".total_is", "set or page, not 'all'"),
            ("{type: json_link, past_end: {}}", ".past_end", "expected status_code, content or"),
            ("{type: json_link, past_end: {status_code: 4xx}}", ".past_end", "401 says"),
            (
                "{type: json_link, past_end: {status_code: []}}",
                ".past_end.status_code",
                "at least one status",
            ),
            ("{type: json_link, past_end: {status_code: [400, 429]}}", ".past_end", "429 says"),
            ("{type: json_link, past_end: {status: 400}}", ".past_end.status", "did you mean `status_code`?"),
            ("{type: cursor, cursor_param: a, cursor_form: b}", "", "cursor_param and cursor_form exclude"),
            ("{type: page_number, page_form: p}", ".page_form", "method: POST, or page_param for the query"),
            ("{type: page_number, page_form: p}\n  json: {}", ".page_form", "write page_body_path"),
            ("{type: cursor, cursor_form: p}\n  data: x", ".cursor_form", "give it as fields and values"),
        ]
    ),
    *(
        (f"name: a\nendpoint:\n  paginator: {{type: keyset, {rest}", line, f".endpoint.{key}", words)
        for rest, line, key, words in [
            ("}", 7, "paginator.keys", "missing"),
            ("keys: []}", 7, "paginator", "at least one field, and each once"),
            ("keys: [a, a]}", 7, "paginator", "at least one field, and each once"),
            ("keys: 5}", 7, "paginator.keys", "a list of names, not the number 5"),
            ("keys: id, start: {ids: 1}}", 7, "paginator", "start.ids is none of keys; did you mean `id`?"),
            ("keys: id, start: {id: [1]}}", 7, "paginator", "a text or a number, not a list"),
            ("keys: id, limit: 0}", 7, "paginator.limit", "greater than 0"),
            ("keys: id}", 7, "paginator.keys", "no request would have `id`; write {page.id} in path, params"),
            (
                "keys: [at, id]}\n  params: {since: '{page.at}'}",
                7,
                "paginator.keys",
                "no request would have `id`",
            ),
            (
                "keys: [id]}\n  params:\n    since: '{page.id}'\n    x: '{page.idd}'",
                10,
                "params.x",
                "expected {page.id}, not {page.idd}; did you mean `id`?",
            ),
            (
                "keys: [id]}\n  params:\n    filter: 'id>{page.id}'",
                9,
                "params.filter",
                "no value in the first request; give paginator.start.id, or make it the whole value",
            ),
            (
                "keys: [id]}\n  json: {in: ['{page.id}']}",
                8,
                "json.in[0]",
                "give paginator.start.id, or make it",
            ),
            (
                "keys: [id], start: {id: '{incremental.start_value}'}}\n  params: {a: '{page.id}'}",
                7,
                "paginator.start.id",
                "needs endpoint.incremental",
            ),
            (
                (
                    "keys: [t], start: {t: 0}}\n  params:\n    since: '{page.t}'\n"
                    "  incremental: {cursor_path: t, start_param: since}"
                ),
                9,
                "params.since",
                'write paginator.start.t: "{incremental.start_value}"',
            ),
        ]
    ),
    (
        (
            "name: a\nendpoint:\n  paginator: {type: keyset, keys: id}\n  params: {a: '{page.id}'}\n"
            "  response: {format: csv}"
        ),
        9,
        ".endpoint.response",
        "one JSON document; leave it out",
    ),
    (
        "name: a\nendpoint:\n  paginator: single_page\n  params: {since: '{page.id}'}",
        8,
        ".endpoint.params.since",
        "needs paginator: {type: keyset, keys: [id]} in this endpoint",
    ),
    (
        (
            "name: a\nendpoint:\n  paginator: {type: keyset, keys: id}\n  params: {since: '{page.id}'}\n"
            "records: {hash: [id]}"
        ),
        9,
        ".records.hash",
        "`id` is of the paginator's keys",
    ),
    ("name: a\nendpoint:\n  incremental: {}", 7, ".endpoint.incremental.cursor_path", "missing"),
    (
        "name: a\nendpoint:\n  incremental: {cursor_path: t, format: unix}",
        7,
        ".endpoint.incremental.format",
        "iso, date, epoch, epoch_ms or a strftime pattern",
    ),
    (
        "name: a\nendpoint:\n  incremental: {cursor_path: t, format: '%Q'}",
        7,
        ".endpoint.incremental.format",
        "strftime",
    ),
    (
        "name: a\nendpoint:\n  incremental: {cursor_path: t, format: '%s'}",
        7,
        ".endpoint.incremental.format",
        "write epoch",
    ),
    (
        "name: a\nendpoint:\n  incremental: {cursor_path: t, convert: f}",
        7,
        ".endpoint.incremental.convert",
        "write format",
    ),
    ("name: a\npartitions: {every: dai, start: 2024-01-01}", 6, ".partitions.every", "did you mean `day`?"),
    ("name: a\npartitions: {every: day}", 6, ".partitions.start", "missing"),
    ("name: a\npartitions: {every: day, start: 2024-13-01}", 6, ".partitions.start", "such as 2024-01-01"),
    (
        "name: a\npartitions: {every: day, start: 2024-01-01, timezone: Europe/Berln}",
        6,
        ".partitions.timezone",
        "did you mean `Europe/Berlin`?",
    ),
    (
        "name: a\nwrite_disposition: replace\nendpoint:\n  params: {since: {incremental.start_value}}",
        8,
        ".endpoint.params.since",
        'needs quotes, else it is a mapping: "{incremental.start_value}"',
    ),
    (
        "name: a\nwrite_disposition: replace\nendpoint:\n  params: {since: '{incremental.start_value}'}",
        8,
        ".endpoint.params.since",
        "needs endpoint.incremental",
    ),
    (
        "name: a\nwrite_disposition: replace\nendpoint:\n  json: {q: '{users}'}",
        8,
        ".endpoint.json.q",
        "write {{ or }}",
    ),
    (
        "name: a\nwrite_disposition: replace\nendpoint:\n  json: {q: ['{']}",
        8,
        ".endpoint.json.q[0]",
        "partner",
    ),
    (
        'name: a\nwrite_disposition: replace\nendpoint:\n  params: {q: \'{"since": "{incremntal.start}"}\'}',
        8,
        ".endpoint.params.q",
        'is sent as it stands; for a bound or a parent\'s value, write "{incremental.start_value}"',
    ),
    (
        "name: a\nwrite_disposition: replace\nendpoint:\n  data: 'query { a(b: {start_value}) }'",
        8,
        ".endpoint.data",
        "{start_value} is sent as it stands",
    ),
    (
        "name: a\nwrite_disposition: replace\nendpoint: {json: {a: 1},\n  form: {a: 1}}",
        8,
        ".endpoint.form",
        "there are json and form; keep one",
    ),
    (
        "name: a\nwrite_disposition: replace\nendpoint: {\n  json: 'a'}",
        8,
        ".endpoint.json",
        "an object or a list, not 'a'; a text that is JSON belongs in data",
    ),
    (
        "name: a\nwrite_disposition: replace\nendpoint: {\n  form: {a: {b: 1}}}",
        8,
        ".endpoint.form.a",
        "JSON is written in quotes",
    ),
    (
        "name: a\nwrite_disposition: replace\nendpoint: {\n  params: {a: [{b: 1}]}}",
        8,
        ".endpoint.params.a",
        "JSON is written in quotes",
    ),
    (
        "name: a\nwrite_disposition: replace\nendpoint: {\n  headers: {a: [1]}}",
        8,
        ".endpoint.headers.a",
        "one text or number",
    ),
    (
        (
            "name: a\nwrite_disposition: replace\nendpoint: {json: [1],\n"
            "  paginator: {type: cursor, cursor_body_path: a}}"
        ),
        8,
        ".endpoint.paginator.cursor_body_path",
        "or cursor_param",
    ),
    *(
        (
            f"name: a\nwrite_disposition: replace\nendpoint:\n  response_actions:\n  - {{{rule}}}",
            9,
            f"{AT}{key}",
            words,
        )
        for rule, key, words in (
            (
                "status_code: 999, action: fail",
                ".status_code",
                "from 100 to 599, 4xx, or a list of them, not the number 999",
            ),
            (
                "status_code: 40x, action: fail",
                ".status_code",
                "from 100 to 599, 4xx, or a list of them, not '40x'",
            ),
            ("status_code: '404', action: fail", ".status_code", "(without quotes)"),
            ("status_code: [], action: fail", ".status_code", "at least one status"),
            ("action: ignore", "", "hold for all answers; give status_code, content, header or when"),
            ("status_code: 404, action: no_date", ".action", "did you mean `no_data`?"),
            (
                "status_code: 404, action: ignore, message: m",
                ".message",
                "belongs to `action: fail`, and this is ignore",
            ),
            ("status_code: 404, action: retry, permanent: true", ".permanent", "belongs to `action: fail`"),
            ("status_code: 404, action: fail, max_retries: 2", ".max_retries", "belongs to `action: retry`"),
            ("status_code: 404, action: retry, wait: []", ".wait", "at least one duration"),
            (
                "status_code: 404, action: retry, wait: [soon]",
                ".wait",
                "such as 30s, 10m, 1h or 2d, not 'soon'",
            ),
            ("when: 'code == 5', action: fail", ".when", "is not JMESPath, from '5' on"),
            ("when: lenght(a), action: fail", ".when", "did you mean `length`?"),
            ("status_code: 404, action: fail, message_path: 'a['", ".message_path", "is not JMESPath"),
            ("header: 'X-A: b', action: fail", ".header", "{name: value}, such as {X-Remaining: 0}"),
            ("header: {}, action: fail", ".header", "a header's name"),
            ("status_code: 404, action: retry, max_wait: 1h", ".max_wait", "belongs to `action: wait_quota`"),
            ("status_code: 404, action: wait_quota, reset: week", ".reset", "hour or day, not 'week'"),
            ("status_code: 404, action: wait_quota, timezone: UTD", ".timezone", "did you mean `UTC`?"),
            (
                "status_code: 400, action: halve",
                ".action",
                "no window to halve: only a resource with partitions",
            ),
            ("status_code: 403, action: refresh_auth", ".action", "no token to fetch anew"),
        )
    ),
    ("name: a\nwrite_disposition: replace\nendpoint:\n  path: a/{id}", 8, ".endpoint.path", "{id}"),
    (
        "name: a\nwrite_disposition: replace\nendpoint:\n  path: a/{resource.b.id}",
        8,
        ".endpoint.path",
        "did you mean `resources`?",
    ),
    (
        "name: a\nwrite_disposition: replace\nendpoint:\n  path: a/{resources.b}",
        8,
        ".endpoint.path",
        "{resources.PARENT.FIELD}",
    ),
    (
        "name: a\nwrite_disposition: replace\nendpoint:\n  params: {x: {resource: a}}",
        8,
        ".endpoint.params.x",
        "{type: resolve",
    ),
    (
        (
            "name: a\nwrite_disposition: append\nendpoint:\n  incremental: {cursor_path: t}\n"
            "  params: {s: '{incremental.start}'}"
        ),
        9,
        ".endpoint.params.s",
        "did you mean `start_value`?",
    ),
    (
        (
            "name: a\nwrite_disposition: append\nendpoint:\n  incremental: {cursor_path: t}\n"
            "  params: {s: {type: incremental, cursor_path: u}}"
        ),
        9,
        ".endpoint.params.s",
        "one cursor",
    ),
    (
        (
            "name: a\nwrite_disposition: append\nendpoint:\n"
            "  incremental: {cursor_path: t, start_param: x, end_param: x}"
        ),
        8,
        ".endpoint.incremental.end_param",
        "the same",
    ),
    (
        (
            "name: a\nwrite_disposition: append\nendpoint:\n"
            "  params: {since: '{incremental.start_value}'}\n  incremental: {cursor_path: t}"
        ),
        8,
        ".endpoint.params.since",
        "give endpoint.incremental.initial_value, or partitions",
    ),
    (
        (
            "name: a\nwrite_disposition: append\nendpoint:\n"
            "  path: 'a/{incremental.end_value}'\n  incremental: {cursor_path: t, initial_value: 2024-01-01}"
        ),
        8,
        ".endpoint.path",
        "give endpoint.incremental.end_value, or partitions",
    ),
    (
        "name: a\nwrite_disposition: replace\nendpoint: 'a/{resources.bs.id}'",
        7,
        ".endpoint",
        "no resource `bs`",
    ),
    ("name: a\nwrite_disposition: replace\nendpoint: '{resources.a.id}'", 5, "", "its own parent: a → a"),
    (
        "name: a\nwrite_disposition: replace\ninclude_from_parent: [id]",
        7,
        ".include_from_parent",
        "no parent",
    ),
]

# What replaces a part of WINDOWED.
WINDOWS: list[tuple[str, str, int, str, str]] = [
    ("start: 2024-01-01", "start: 2024-01-01T05:00", 8, ".partitions.start", "2024-01-01 or 2024-01-02"),
    ("day, start: 2024-01-01", "week, start: 2024-01-03", 8, ".partitions.start", "2024-01-01 or 2024-01-08"),
    (
        "day, start: 2024-01-01",
        "month, start: 2024-01-31",
        8,
        ".partitions.start",
        "2024-01-01 or 2024-02-01",
    ),
    (
        "day, start: 2024-01-01",
        "hour, start: 2024-01-01T05:30",
        8,
        ".partitions.start",
        "2024-01-01T05:00 or 2024-01-01T06:00",
    ),
    (
        "start: 2024-01-01",
        "start: 2024-01-01T00:00:00Z, timezone: Europe/Berlin",
        8,
        ".partitions.start",
        "in Europe/Berlin, such as 2024-01-01",
    ),
    ("start_param: since", "format: iso", 10, ".endpoint.incremental", "each run would read everything"),
    ("since", "since, initial_value: 5", 10, ".endpoint.incremental.initial_value", "partitions.start"),
    ("since", "since, end_value: 5", 10, ".endpoint.incremental.end_value", "leave it out"),
    ("since", "since, lag: 5", 10, ".endpoint.incremental.lag", "partitions.lookback"),
    ("since", "since, range_end: closed", 10, ".endpoint.incremental.range_end", "said by end"),
    ("since", "since, last_value_func: min", 10, ".endpoint.incremental.last_value_func", "forward in time"),
    ("every: day", "every: hour", 10, "", ""),
    ("since", "since, format: '%Y-%m'", 10, ".endpoint.incremental.format", "both bounds of a window alike"),
    ("since", "since, end_param: u, step: 6h, min: 1h", 10, "", ""),
    ("since", "since, step: none", 10, "", ""),
    ("since", "since, step: 6h", 10, ".endpoint.incremental.step", "the API the end of a step"),
    ("since", "since, step: 24h, format: date", 10, "", ""),
    (
        "since",
        "since, step: 6h, format: '%Y-%m-%d %H:%M'",
        10,
        ".endpoint.incremental.step",
        "whole day or hour",
    ),
    ("since", "since, step: six", 10, ".endpoint.incremental.step", "expected a duration"),
    ("since", "since, step: 0s", 10, ".endpoint.incremental.step", "such as 1h or 24h, or none"),
    ("since", "since, end_param: u, min: none", 10, ".endpoint.incremental.min", "write step: none"),
    ("since", "since, end_param: u, step: 1h, min: 2h", 10, ".endpoint.incremental.min", "longer than step"),
    (
        "since",
        "since, end_param: u, step: 6h, format: date",
        10,
        ".endpoint.incremental.step",
        "both bounds of a step alike",
    ),
    (
        "since",
        "since, end_param: u, step: 6h, row_order: asc",
        10,
        ".endpoint.incremental.row_order",
        "an end of its own",
    ),
    (
        "since",
        "since, end_param: u, step: 6h, on_cursor_value_missing: include",
        10,
        ".endpoint.incremental.on_cursor_value_missing",
        "in no step",
    ),
    (
        "partitions: {every: day, start: 2024-01-01}\nendpoint:\n  incremental: {cursor_path: t, ",
        "\nendpoint:\n  incremental: {cursor_path: t, step: 6h, ",
        10,
        ".endpoint.incremental.step",
        "add partitions",
    ),
]


@pytest.mark.parametrize(("text", "line", "key", "words"), FILES)
def test_a_mistake_in_a_file(text: str, line: int, key: str, words: str) -> None:
    found = [problem for problem in problems(text) if (problem.line, problem.key) == (line, key)]
    assert any(words in problem.message for problem in found), "\n".join(map(str, problems(text)))


@pytest.mark.parametrize(("text", "line", "key", "words"), RESOURCES)
def test_a_mistake_in_a_resource(text: str, line: int, key: str, words: str) -> None:
    all_found = problems(with_resource(text))
    found = [problem for problem in all_found if (problem.line, problem.key) == (line, f"resources[0]{key}")]
    assert any(words in problem.message for problem in found), "\n".join(map(str, all_found))


@pytest.mark.parametrize(("old", "new", "line", "key", "words"), WINDOWS)
def test_a_mistake_about_windows(old: str, new: str, line: int, key: str, words: str) -> None:
    assert not problems(with_resource(WINDOWED))
    found = problems(with_resource(WINDOWED.replace(old, new)))
    if not key:
        assert found == []
        return
    assert [(problem.line, problem.key) for problem in found] == [(line, f"resources[0]{key}")]
    assert words in found[0].message


@pytest.mark.parametrize(
    "path", ["['@odata.value']", '"@odata.value"[*]', "data[?(@.a.b > 1)]", "@graph", "a.@b"]
)
def test_a_path_that_says_what_it_means_is_fine(path: str) -> None:
    selector = path.replace('"', '\\"')
    assert resource(f'name: a\nwrite_disposition: replace\nendpoint: {{data_selector: "{selector}"}}')


def test_hours_need_a_format_with_hours() -> None:
    hourly = WINDOWED.replace("every: day", "every: hour").replace("since", "since, format: date")
    assert [(p.line, p.key) for p in problems(with_resource(hourly))] == [
        (10, "resources[0].endpoint.incremental.format")
    ]


def test_a_bound_in_a_body_reaches_the_api() -> None:
    text = """\
    name: a
    primary_key: id
    write_disposition: merge
    partitions: {every: day, start: 2024-01-01}
    endpoint:
      method: POST
      json: {range: ["{incremental.start_value}", "{incremental.end_value}"]}
      incremental: {cursor_path: t}
    """
    assert problems(with_resource(text)) == []


def test_a_mistake_in_the_defaults_is_reported_once_where_it_stands() -> None:
    found = problems("""\
        client: {base_url: 'https://x.y'}
        name: x
        resource_defaults:
          write_disposition: merge
          primary_key: id
          selected: yes
          nam: x
          partitions: {every: day, start: 2024-01-01T05:00}
          endpoint:
            pagintor: cursor
            incremental: {cursor_path: t, start_param: s, lag: 5}
        resources: [a, b, c]
        """)
    assert [(problem.line, problem.key) for problem in found] == [
        (6, "resource_defaults.selected"),
        (7, "resource_defaults.nam"),
        (10, "resource_defaults.endpoint.pagintor"),
    ]
    found = problems("""\
        client: {base_url: 'https://x.y'}
        name: x
        resource_defaults:
          write_disposition: merge
          primary_key: id
          partitions: {every: day, start: 2024-01-01T05:00}
          endpoint:
            incremental: {cursor_path: t, start_param: s, lag: 5}
        resources: [a, b, c]
        """)
    assert [(problem.line, problem.key) for problem in found] == [
        (6, "resource_defaults.partitions.start"),
        (8, "resource_defaults.endpoint.incremental.lag"),
    ]


def test_names_of_which_dlt_makes_no_schema_are_refused() -> None:
    text = "client: {base_url: 'https://x.y'}\nname: example\nresources:\n- %s\n- {name: %s, %s}"
    (found,) = problems(text % ("b", "a" * 56, "write_disposition: replace"))[1:]
    assert (found.line, found.key) == (5, "resources[1].name")
    assert "together, and have 7 and 56; give it a shorter one" in found.message
    assert len(problems(text % ("b", "a" * 55, "write_disposition: replace"))) == 1


def test_a_forbidden_combination_is_reported_at_its_resource() -> None:
    found = problems("""\
        client: {base_url: 'https://x.y'}
        resource_defaults: {write_disposition: merge}
        resources:
          - a
          - {name: b, primary_key: id}
        """)
    assert [(problem.line, problem.key) for problem in found] == [(4, "resources[0].write_disposition")]


def test_names_that_become_the_same_table_are_refused() -> None:
    found = problems("""\
        client: {base_url: 'https://x.y'}
        resource_defaults: {write_disposition: replace}
        resources:
          - userEvents
          - user-events
          - user_events
          - {name: other, table_name: user_events}
          - another
          - another
        """)
    assert [(problem.line, problem.key) for problem in found] == [
        (5, "resources[1]"),
        (6, "resources[2]"),
        (7, "resources[3].name"),
        (9, "resources[5]"),
    ]
    assert "same table as `userEvents` in line 4" in found[0].message
    assert "same name as `another` in line 8" in found[3].message


def test_children() -> None:
    found = problems("""\
        client: {base_url: 'https://x.y'}
        resource_defaults: {write_disposition: merge, primary_key: id}
        resources:
          - a
          - b
          - {name: two, endpoint: "{resources.a.id}/{resources.b.id}"}
          - name: lossy
            endpoint:
              path: "{resources.a.id}"
              incremental: {cursor_path: t, start_param: s}
          - {name: loose, endpoint: {path: x, params: {p: {type: resolve, resource: a, field: id}}}}
          - {name: windowed, partitions: {every: day, start: 2024-01-01}, endpoint: {
              path: "{resources.a.id}", incremental: {cursor_path: t, start_param: s}}}
        """)
    assert [(problem.line, problem.key) for problem in found] == [
        (6, "resources[2].endpoint"),
        (10, "resources[3].endpoint.incremental"),
        (10, "resources[3].endpoint.incremental"),
        (11, "resources[4].endpoint.params.p"),
    ]
    assert "a and b are no such chain" in found[0].message
    assert "needs initial_value" in found[1].message
    assert "write `include_from_parent: [a.id]`" in found[2].message


def test_families() -> None:
    """What is right here is wrong a line later."""
    found = problems("""\
        client: {base_url: 'https://x.y'}
        resource_defaults: {write_disposition: merge, primary_key: id}
        resources:
        - a
        - {name: b, endpoint: "{resources.a.id}/b"}
        - {name: c, include_from_parent: [id, a.id], endpoint: "{resources.a.id}/{resources.b.id}"}
        - {name: d, include_from_parent: [id, c.id], endpoint: "{resources.a.id}/{resources.b.id}"}
        - {name: e, for_each: {s: [x, 1]}, include_from_parent: [for_each.s], endpoint: "{for_each.s}"}
        - {name: f, for_each: {site: [x, x]}, include_from_parent: [sit], endpoint: "{for_each.site}"}
        - {name: g, for_each: {site: [x]}, endpoint: {path: p, params: {s: "{for_each.sit}"}}}
        - {name: h, endpoint: "{for_each.site}"}
        - {name: i, include_from_parent: [id], endpoint: {path: "{resources.a.id}",
            incremental: {cursor_path: t, initial_value: 2024-01-01}}}
        - {name: j, include_from_parent: [id], write_disposition: append, endpoint: {path: "{resources.a.id}",
            incremental: {cursor_path: t, initial_value: 2024-01-01, end_value: 2025-01-01}}}
        - {name: k, for_each: {}, include_from_parent: [id], endpoint: k}
        """)
    assert [(problem.line, problem.key) for problem in found] == [
        (7, "resources[3].include_from_parent[1]"),
        (9, "resources[5].for_each.site"),
        (9, "resources[5].include_from_parent"),
        (10, "resources[6].endpoint"),
        (10, "resources[6].for_each.site"),
        (11, "resources[7].endpoint"),
        (14, "resources[9].write_disposition"),
        (15, "resources[9].endpoint.incremental.end_value"),
        (16, "resources[10].include_from_parent"),
    ]
    words = [
        "`c` is nothing that this resource is asked for by; that is a and b",
        "a value is there twice",
        "for_each has no `sit`, only site; did you mean `site`?",
        "{for_each.sit} has no values; expected {for_each.site}; did you mean `site`?",
        "no request asks for it",
        "write for_each: {site: [VALUE, …]}",
        "append would add them",
        "leave it out",
        "this resource has no parent",
    ]
    assert [word for word, problem in zip(words, found, strict=True) if word not in problem.message] == []


def test_a_secret_in_a_file_is_never_repeated() -> None:
    secret = "hunter2hunter2"
    texts = [
        f"client: {{base_url: 'https://x.y', auth: {secret}}}",
        f"client: {{base_url: 'https://x.y', auth: [{secret}]}}",
        f"client: {{base_url: 'https://u:{secret}@x.y'}}",
        f"client: {{base_url: 'https://x.y', headers: {{Authorization: [{secret}]}}}}",
        f"client: {{base_url: 'https://x.y', headers: [{secret}]}}",
        f"client: {{base_url: 'https://x.y', auth: {{type: api_key, api_kye: {secret}}}}}",
        f"client: {{base_url: 'https://x.y', auth: {{type: bearer, token: !x {secret}}}}}",
        f"client: {{base_url: 'https://x.y', auth: {{token: *{secret}}}}}",
        f"client: {{base_url: 'https://x.y', auth: {{token: '${{{secret}'}}}}",
        "client: {base_url: 'https://x.y', auth: {type: oauth2, default_token_expiration: " + secret + "}}",
        f"client: {{base_url: 'https://x.y', auth: {{token: {secret}}}}}\nclient: {{}}",
        f"{AUTH}{{type: jwt_bearer, issuer: i, private_key: {secret}}}",
        f"{AUTH}{{type: session, login_url: 'https://x.y', login: {secret}}}",
        f"{AUTH}{{all: [{secret}]}}",
        f"{AUTH}{{all: [{{tokn: {secret}}}]}}",
        f"{AUTH}{{all: [{{token: a}}, {{token: [{secret}]}}]}}",
        f"client: {{auth: {{password: {secret}: x}}}}",
        f"client:\n  auth: {{token: x}}\n  password: {secret}: x",
    ]
    for text in texts:
        found = problems(text + FULL)
        assert found, text
        assert secret not in "\n".join(map(str, found)), text
    numeric = "client: {base_url: 'https://x.y', auth: {type: http_basic, username: a, password: 48151623}}"
    assert "48151623" not in str(problems(numeric + FULL)[0])


def test_yaml_too_deep_for_the_parser_is_a_problem_too() -> None:
    assert "nested too deeply" in problems("a: " + "[" * 5000)[0].message


def test_a_mistyped_key_is_not_also_missing() -> None:
    found = problems(AUTH + "{type: bearer, tokn: x}" + FULL)
    assert [problem.key for problem in found] == ["client.auth.tokn"]


def test_problems_read_like_a_compiler_s() -> None:
    with pytest.raises(ApiFileError) as caught:
        parse_text(
            "client: {base_url: 'https://x.y'}\nresources:\n  - name: a\n    endpont: x\n", "apis/x.yaml"
        )
    assert str(caught.value) == ("apis/x.yaml:4: resources[0].endpont: unknown key; did you mean `endpoint`?")


def test_a_table_that_a_list_of_another_resource_may_have_is_refused() -> None:
    found = problems("""\
        client: {base_url: 'https://x.y'}
        resource_defaults: {write_disposition: replace}
        resources:
          - orders__items
          - orders
          - {name: taxes, table_name: Orders__items__taxes}
          - {name: flat, max_table_nesting: 0}
          - flat__items
          - ordersitems
        """)
    assert [(problem.line, problem.key) for problem in found] == [
        (4, "resources[0]"),
        (6, "resources[2].name"),
        (6, "resources[2].name"),
    ]
    assert "those of a list in `orders` in line 5" in found[0].message
    assert "those of a list in `orders__items` in line 4" in found[1].message


@pytest.mark.parametrize(
    ("cursor", "others", "words"),
    [
        ("", "", "no request tells the API its end; give start_param and end_param"),
        (", end_param: b, row_order: asc", "", "leave row_order out"),
        (
            ", end_param: b, on_cursor_value_missing: include",
            "",
            "a row without a cursor would come with both",
        ),
    ],
)
def test_a_window_that_cannot_be_halved(cursor: str, others: str, words: str) -> None:
    found = problems(f"""\
        client: {{base_url: 'https://x.y'}}
        resource_defaults: {{primary_key: id, write_disposition: merge}}
        resources:
          - b
          - name: a
            partitions: {{every: day, start: 2024-01-01}}
            endpoint:
              response_actions:
                - {{status_code: 400, action: halve}}
              path: a
              incremental: {{cursor_path: t, start_param: a{cursor}}}
              data_selector: d{others.replace(", ", chr(10) + " " * 14, 1)}
        """)
    assert [(problem.line, problem.key) for problem in found] == [
        (9, "resources[1].endpoint.response_actions[0].action")
    ]
    assert words in found[0].message
