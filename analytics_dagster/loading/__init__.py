"""How rows reach the destination: spec, window and credentials become a dlt source and pipeline. No Dagster."""
