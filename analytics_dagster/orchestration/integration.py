"""The one place that imports Dagster's dlt integration: dagster-embedded-elt or its successor dagster-dlt."""

import warnings

try:
    with warnings.catch_warnings():
        # The package is a deprecated shim over dagster-dlt and says so twice at import.
        warnings.filterwarnings("ignore", message=r"The `dagster-embedded-elt` library", append=False)
        from dagster_embedded_elt.dlt import (
            DagsterDltResource,
            DagsterDltTranslator,
            build_dlt_asset_specs,
        )
except ModuleNotFoundError:
    from dagster_dlt import DagsterDltResource, DagsterDltTranslator, build_dlt_asset_specs

from dagster_dlt.translator import DltResourceTranslatorData

__all__ = [
    "DagsterDltResource",
    "DagsterDltTranslator",
    "DltResourceTranslatorData",
    "build_dlt_asset_specs",
]
