"""A sample analytics API with a ground truth, as an ASGI app. Stands alone."""
