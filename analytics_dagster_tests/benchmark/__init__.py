"""The benchmark: how long loads take, next to what the wire and the database allow and to other tools."""
