"""One contender's process: imports it, lets it load, and says how long the load itself took.

All that a contender will have imported at the end of a load is imported before the clock starts, also what
its libraries import only when they get there. A load of little data finds out what that is.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from contextlib import suppress
from pathlib import Path

from analytics_dagster_tests.benchmark.contenders import Job


def main(name: str, job: str, modules: str) -> None:
    """Let a contender load.

    Args:
        name: Its module.
        job: The `Job` as JSON.
        modules: A file with the names of the modules that it needs; it is written if it is not there.
    """
    if name != "hand_written":
        # Both are there for that script only. dlt and pyarrow would import them wherever they are found.
        sys.modules |= {"pandas": None, "numpy": None}  # pyright: ignore[reportArgumentType, reportCallIssue]
    contender = importlib.import_module(f"{__package__}.{name}")
    needed = Path(modules)
    if needed.exists():
        for module in needed.read_text().split():
            with suppress(Exception):
                importlib.import_module(module)
    wall, cpu = time.perf_counter(), time.process_time()
    contender.load(Job(**json.loads(job)))
    print(json.dumps({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}))  # noqa: T201
    if not needed.exists():
        needed.write_text("\n".join(name for name, module in sys.modules.items() if module))


main(*sys.argv[1:])
