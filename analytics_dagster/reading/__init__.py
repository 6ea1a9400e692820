"""How pages come over the wire: session, retries, budget, origin, bounds. Knows neither dlt pipelines nor Dagster."""
