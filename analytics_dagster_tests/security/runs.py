"""A process that loads all resources of API files by `load()` and some by Dagster, with all debug logs on.

Run as `python runs.py DIRECTORY RESOURCE...`; the resources are those that Dagster loads of each API. Prints
what a person would be shown, writes what the UI would get to `graphql.json`, and what became of each resource
to `outcomes.json`.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster_graphql.cli import execute_query

from analytics_dagster.loading.load import load
from analytics_dagster.orchestration.build import build_defs
from analytics_dagster.spec import ApiFile, read_files

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

Outcomes = dict[str, str]
"""What became of a resource, by `API/RESOURCE`: `loaded`, or the name of the error."""


def load_all(files: Sequence[ApiFile]) -> Outcomes:
    """Load everything without Dagster."""
    outcomes: Outcomes = {}
    for file in files:
        for resource in file.api.resources:
            outcome = "loaded"
            try:
                load(file, resource.name)
            except Exception as error:  # noqa: BLE001 - the test looks at which it was
                outcome = type(error).__name__
                traceback.print_exc()
            outcomes[f"{file.api.name}/{resource.name}"] = outcome
    return outcomes


def materialize(files: Sequence[ApiFile], resources: Sequence[str], instance: dg.DagsterInstance) -> Outcomes:
    """Load some resources of each API, in one run of its job."""
    outcomes: Outcomes = {}
    defs = build_defs(files)
    for file in files:
        wanted = [one.name for one in file.api.resources if one.name in resources]
        if not wanted:
            continue
        keys = [dg.AssetKey([file.api.name, name]) for name in wanted]
        result = defs.resolve_job_def(file.api.name).execute_in_process(
            instance=instance, asset_selection=keys, raise_on_error=False
        )
        loaded = {event.asset_key for event in result.get_asset_materialization_events()}
        outcomes |= {key.to_user_string(): "loaded" if key in loaded else "failed" for key in keys}
    return outcomes


def main(directory: Path, resources: Sequence[str]) -> None:
    """Load everything both ways."""
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    files = read_files(sorted(directory.glob("*.yaml")))
    outcomes = {"load": load_all(files)}
    with dg.DagsterInstance.get() as instance:
        outcomes["dagster"] = materialize(files, resources, instance)
        with WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as context:
            Path("graphql.json").write_text(json.dumps(execute_query(context, _QUERY)))
    Path("outcomes.json").write_text(json.dumps(outcomes))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
