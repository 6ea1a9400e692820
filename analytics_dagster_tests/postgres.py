"""The PostgreSQL server that tests, histories of faults and the benchmark may use."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from uuid import uuid4

import psycopg2
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT

SERVER = os.environ.get("ANALYTICS_TEST_POSTGRES", "postgresql://postgres:none@127.0.0.1:5432/test")


@contextmanager
def own_database() -> Generator[str]:
    """A new database of the server, dropped at the end.

    Raises:
        psycopg2.OperationalError: If no server answers.
    """
    name = f"test_{uuid4().hex[:12]}"
    connection = psycopg2.connect(SERVER, connect_timeout=3)
    connection.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        try:
            yield SERVER.rpartition("/")[0] + f"/{name}"
        finally:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
    connection.close()
