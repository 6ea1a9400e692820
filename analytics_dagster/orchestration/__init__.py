"""When resources are loaded: everything that is Dagster."""
