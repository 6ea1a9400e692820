"""A resource of an API file as a Dagster asset."""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any, cast

import dagster as dg
import dlt
from dlt.common.schema import Schema
from dlt.extract import DltSource
from dlt.pipeline.pipeline import Pipeline

from analytics_dagster.loading.source import schema_name
from analytics_dagster.orchestration.checks import check_spec
from analytics_dagster.orchestration.integration import (
    DagsterDltResource,
    DagsterDltTranslator,
    DltResourceTranslatorData,
    build_dlt_asset_specs,
)
from analytics_dagster.orchestration.materialize import LoadConfig, materialize
from analytics_dagster.orchestration.partitions import partitions_def
from analytics_dagster.orchestration.resources import credentials_key
from analytics_dagster.spec import ApiFile, Resource

# The source that is read is built inside the run, where secrets may be; the file says all of an asset.
_UNREAD = DltSource(Schema("unread"), "unread", [dlt.resource([], name="unread")])


class FileTranslator(DagsterDltTranslator):
    """Gives an asset the key, texts and labels that the API file gives its resource."""

    def __init__(self, file: ApiFile, resource: Resource, destination: str) -> None:
        super().__init__()
        self._file = file
        self._resource = resource
        self._destination = destination

    def get_asset_spec(self, data: DltResourceTranslatorData) -> dg.AssetSpec:
        """The spec of the resource's asset; an API file says all of it, so `data` is not looked at."""
        api, resource = self._file.api, self._resource
        endpoint = resource.endpoint
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)
            reference = dg.LocalFileCodeReference(
                file_path=str(self._file.path.absolute()),
                line_number=self._file.resource_lines[resource.name],
                label=f"{self._file.path.name}: {resource.name}",
            )
            code = dg.CodeReferencesMetadataValue(code_references=[reference])
        return dg.AssetSpec(
            key=asset_key(self._file, resource),
            group_name=_identifier(api.name),
            description=resource.description
            or f"`{endpoint.method} {endpoint.path}` of {api.description or api.name}",
            owners=resource.owners or api.owners,
            tags={**api.tags, **resource.tags},
            kinds={"dlt", self._destination},
            metadata={"dagster/code_references": code},
        )


def asset_key(file: ApiFile, resource: Resource) -> dg.AssetKey:
    """The key of a resource's asset."""
    return dg.AssetKey([file.api.name, resource.name])


def build_asset(file: ApiFile, resource: Resource, destination: str) -> dg.AssetsDefinition:
    """The asset that loads a resource.

    Args:
        file: The API file.
        resource: One of its resources.
        destination: The destination's type, which the UI shows as a kind.
    """
    translator = FileTranslator(file, resource, destination)
    name = schema_name(file.api, resource)
    credentials = credentials_key(file)
    windows = partitions_def(resource.partitions) if resource.partitions else None

    @dg.multi_asset(
        name=name,
        specs=[
            spec.replace_attributes(metadata=_shown(spec.metadata))
            for spec in build_dlt_asset_specs(_UNREAD, cast("Pipeline", None), translator)
        ],
        check_specs=[check_spec(asset_key(file, resource))],
        partitions_def=windows,
        backfill_policy=dg.BackfillPolicy.single_run() if windows else None,
        required_resource_keys={credentials, "destination", "dlt"},
        can_subset=True,
        pool=_identifier(file.api.name),
    )
    def load_resource(context: dg.AssetExecutionContext, config: LoadConfig) -> Iterator[Any]:
        yield from materialize(
            context,
            config,
            file,
            resource.name,
            translator,
            getattr(context.resources, credentials),
            context.resources.destination,
            cast("DagsterDltResource", context.resources.dlt),
        )

    return load_resource


def _shown(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata without the objects that dagster-dlt hands on in them, which the UI cannot show."""
    return {key: value for key, value in metadata.items() if not key.startswith("dagster_dlt/")}


def _identifier(name: str) -> str:
    return name.replace("-", "_")
