"""Analytics data from REST APIs into a warehouse: API files become Dagster assets that dlt loads."""
