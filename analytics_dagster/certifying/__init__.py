"""Black-box checks of an API against its file: what is read, and what each check makes of it."""
