"""How rows reach the destination: spec, window and credentials become a dlt load. No Dagster."""
