from datetime import date

START = date(2024, 1, 1)
"""Where the history of drafted files begins."""
