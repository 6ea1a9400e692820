"""Short forms written out and `resource_defaults` merged into each resource, the way dlt does both."""

from __future__ import annotations

from dataclasses import replace

from analytics_dagster.spec.placeholders import PARTS, in_dlts_form
from analytics_dagster.spec.yaml_source import Node


def effective(root: Node) -> Node:
    """A file with its defaults merged into its resources; each value still knows where it was written."""
    items = dict(root.items)
    defaults: dict[str, Node] = {}
    if "resource_defaults" in items:
        defaults = dict(items["resource_defaults"].items)
        if "columns" in defaults:
            defaults["columns"] = _by_name(defaults["columns"])
        if "records" in defaults:
            defaults["records"] = _records_in_full(defaults["records"])
        if defaults:
            items["resource_defaults"] = replace(items["resource_defaults"], value=defaults)
    if "resources" in items and isinstance(items["resources"].value, list):
        merged = [_effective(resource, defaults) for resource in items["resources"].entries]
        items["resources"] = replace(items["resources"], value=merged)
    return replace(root, value=items)


def _effective(resource: Node, defaults: dict[str, Node]) -> Node:
    own = _full_form(resource)
    if not isinstance(own.value, dict):
        return own  # neither text nor mapping: the models say so
    merged = {**defaults, **own.items}
    endpoint = _merge_endpoints(defaults.get("endpoint"), own.items["endpoint"])
    merged["endpoint"] = _double_braces(_lift_incremental(endpoint))
    if "columns" in own.items:
        merged["columns"] = _merge_columns(defaults.get("columns"), _by_name(own.items["columns"]))
    if "records" in own.items:
        merged["records"] = _records_in_full(own.items["records"])
    return replace(resource, value=merged)


def _full_form(resource: Node) -> Node:
    """`users` is `{name: users, endpoint: {path: users}}`; a path that is missing is the name."""
    if isinstance(resource.value, str):
        items: dict[str, Node] = {"name": resource}
    elif isinstance(resource.value, dict):
        items = dict(resource.items)
    else:
        return resource
    endpoint = items.get("endpoint", replace(resource, value={}, path=(*resource.path, "endpoint")))
    if isinstance(endpoint.value, str):
        endpoint = replace(endpoint, value={"path": endpoint})
    elif endpoint.value is None:
        endpoint = replace(endpoint, value={})
    path = endpoint.items.get("path")
    if isinstance(endpoint.value, dict) and (path is None or path.value is None):
        # Without a name there is a problem already; an empty path keeps it from being reported twice.
        path = items.get("name", replace(resource, value=""))
        endpoint = replace(endpoint, value={**endpoint.items, "path": path})
    return replace(resource, value={**items, "endpoint": endpoint})


def _merge_endpoints(defaults: Node | None, own: Node) -> Node:
    """Key by key, the resource's own ones first; `params`, `json` and `form` are merged one level deeper."""
    if defaults is None or not isinstance(own.value, dict):
        return own
    merged = {**defaults.items, **own.items}
    for key in ("params", "json", "form"):
        deep = own.items.get(key)
        default = defaults.items.get(key)
        if deep is not None and isinstance(deep.value, dict) and default and isinstance(default.value, dict):
            merged[key] = replace(deep, value={**default.items, **deep.items})
    return replace(own, value=merged)


def _by_name(columns: Node) -> Node:
    """dlt's list form `[{name: id, …}]` as a mapping."""
    names = [column.items.get("name") for column in columns.entries]
    if not names or not all(name and isinstance(name.value, str) for name in names):
        return columns
    named = zip(names, columns.entries, strict=True)
    return replace(columns, value={name.value: column for name, column in named if name})


def _records_in_full(records: Node) -> Node:
    """A field `a: b` is `a: {from: b}`, and `hash: [a]` is `hash: {fields: [a]}`."""
    items = dict(records.items)
    fields, hashed = items.get("fields"), items.get("hash")
    if fields and isinstance(fields.value, dict):
        full = {
            name: replace(field, value={"from": field}) if isinstance(field.value, str) else field
            for name, field in fields.items.items()
        }
        items["fields"] = replace(fields, value=full)
    if hashed and isinstance(hashed.value, list):
        items["hash"] = replace(hashed, value={"fields": hashed})
    return replace(records, value=items) if isinstance(records.value, dict) else records


def _merge_columns(defaults: Node | None, own: Node) -> Node:
    """Column by column, hint by hint."""
    if defaults is None or not isinstance(own.value, dict):
        return own
    merged = {**defaults.items, **own.items}
    for name in defaults.items.keys() & own.items.keys():
        column = own.items[name]
        if isinstance(column.value, dict):
            merged[name] = replace(column, value={**defaults.items[name].items, **column.items})
    return replace(own, value=merged)


def _lift_incremental(endpoint: Node) -> Node:
    """dlt's `params: {since: {type: incremental, …}}` is `incremental: {start_param: since, …}`."""
    params = endpoint.items.get("params")
    other = endpoint.items.get("incremental")
    if params is None or (other is not None and other.value is not None):
        return endpoint
    bound = [
        name
        for name, value in params.items.items()
        if "type" in value.items and value.items["type"].value == "incremental"
    ]
    if len(bound) != 1:
        return endpoint
    given = params.items[bound[0]]
    cursor = {key: value for key, value in given.items.items() if key != "type"}
    incremental = replace(given, value={**cursor, "start_param": replace(given, value=bound[0])})
    remaining = {name: value for name, value in params.items.items() if name != bound[0]}
    return replace(
        endpoint,
        value={**endpoint.items, "params": replace(params, value=remaining), "incremental": incremental},
    )


def _double_braces(endpoint: Node) -> Node:
    """Texts with braces of their own, such as JSON, as dlt wants them. A path is no such text."""
    parts = {part: _doubled(endpoint.items[part]) for part in PARTS[1:] if part in endpoint.items}
    return replace(endpoint, value={**endpoint.items, **parts}) if parts else endpoint


def _doubled(node: Node) -> Node:
    if isinstance(node.value, str):
        return replace(node, value=in_dlts_form(node.value))
    if isinstance(node.value, list):
        return replace(node, value=[_doubled(entry) for entry in node.entries])
    return replace(node, value={name: _doubled(item) for name, item in node.items.items()} or node.value)
