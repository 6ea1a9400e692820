"""How pages come over the wire; knows neither dlt pipelines nor Dagster."""
