"""A process that loads resources of API files, by `load()` and by Dagster, with all debug logs on.

Run as `python runs.py DIRECTORY`; it prints what a person would be shown, and writes what the UI would get
to `graphql.json`.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from pathlib import Path

import dagster as dg
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster_graphql.cli import execute_query

from analytics_dagster.loading.load import load
from analytics_dagster.orchestration.build import build_defs
from analytics_dagster.reading.errors import LoadError
from analytics_dagster.spec import read_files

_ERROR = "error { message stack errorChain { error { message stack } } }"
_ENTRIES = """
metadataEntries {
  label description
  ... on TextMetadataEntry { text } ... on JsonMetadataEntry { jsonString }
  ... on MarkdownMetadataEntry { mdStr } ... on UrlMetadataEntry { url } ... on PathMetadataEntry { path }
}
"""
_QUERY = f"""
{{
  runsOrError {{ ... on Runs {{ results {{
    runId status runConfigYaml tags {{ key value }}
    eventConnection {{ events {{
      __typename
      ... on MessageEvent {{ message }}
      ... on ErrorEvent {{ {_ERROR} }}
      ... on ExecutionStepFailureEvent {{ failureMetadata {{ {_ENTRIES} }} }}
      ... on MaterializationEvent {{ {_ENTRIES} }}
    }} }}
  }} }} }}
}}
"""


def main(directory: Path) -> None:
    """Load everything both ways."""
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    files = read_files(sorted(directory.glob("*.yaml")))
    seen = {"ok": 0, "failed": 0, "unexplained": 0}
    for file in files:  # by `load()` those that put secrets into most messages; by Dagster all
        for resource in file.api.resources if file.api.name.startswith(("query", "oauth")) else ():
            try:
                load(file, resource.name)
                seen["ok"] += 1
            except LoadError:
                seen["failed"] += 1
                traceback.print_exc()
            except Exception:  # noqa: BLE001 - the test tells that there was one
                seen["unexplained"] += 1
                traceback.print_exc()
    instance = dg.DagsterInstance.get()
    defs = build_defs(files)
    for file in files:
        job = defs.resolve_job_def(file.api.name)
        result = job.execute_in_process(instance=instance, raise_on_error=False)
        materialized = len(result.get_asset_materialization_events())
        seen["materialized"] = seen.get("materialized", 0) + materialized
    with WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as context:
        Path("graphql.json").write_text(json.dumps(execute_query(context, _QUERY)))
    Path("seen.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
