"""Fixed costs: whole commands that load no rows, ours and Dagster's own beside them."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from analytics_dagster_tests.benchmark.data import write_rows
from analytics_dagster_tests.benchmark.loads import Load, environment
from analytics_dagster_tests.benchmark.measure import run
from analytics_dagster_tests.benchmark.server import serving

_API = """\
client: {{base_url: {url}}}
resource_defaults:
  primary_key: id
  write_disposition: merge
  endpoint: {{data_selector: data, paginator: {{type: offset, limit: 1000}}}}
resources:
"""
_RESOURCE = """\
  - name: events_{number}
    endpoint:
      path: /events
      incremental: {{cursor_path: created_at, start_param: created_after, end_param: created_before}}
    partitions: {{every: day, start: 2023-01-01}}
"""
_OURS = """\
from pathlib import Path
from analytics_dagster import build_defs
defs = build_defs(sorted(Path("apis").glob("*.yaml")))
"""
_BARE = """\
import dagster as dg

def bare(api: str, number: int) -> dg.AssetsDefinition:
    @dg.asset(name=f"events_{number}", key_prefix=api, group_name=api)
    def load() -> None: ...
    return load

defs = dg.Definitions([bare(f"api_{api}", number) for api in range(100) for number in range(10)])
"""
_EMPTY = """\
import dagster as dg

@dg.asset
def empty() -> None: ...
"""
_DAGSTER = (sys.executable, "-m", "dagster")
_OURS_LOAD = (sys.executable, "-c", "from analytics_dagster.cli import main; main()", "load")


@dataclass(frozen=True)
class _Command:
    """A command, and what it says when it has done what it should."""

    arguments: tuple[str, ...]
    says: str


_COMMANDS = {
    "1,000 resources in 100 files": _Command(
        (*_DAGSTER, "definitions", "validate", "-f", "ours.py"), "All code locations passed validation"
    ),
    "1,000 bare assets": _Command(
        (*_DAGSTER, "definitions", "validate", "-f", "bare.py"), "All code locations passed validation"
    ),
    "load of an empty window": _Command(
        (*_OURS_LOAD, "empty", "--from", "2023-01-01", "--to", "2023-01-02"), "empty/events_0        1 "
    ),
    "materialize of an empty asset": _Command(
        (*_DAGSTER, "asset", "materialize", "--select", "empty", "-f", "empty.py"), "RUN_SUCCESS"
    ),
}
NAMES = tuple(_COMMANDS)


def play(times: int, ended: Callable[[str], None] = lambda _: None) -> dict[str, list[Load]]:
    """Run each command, in turns, after once for the system's cache.

    Args:
        times: How often.
        ended: Called with the command's name each time.
    """
    loads: dict[str, list[Load]] = {name: [] for name in _COMMANDS}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        place = Path(directory)
        write_rows("flat", 1_000, place / "rows.json")  # from 2024 on
        with serving(place / "rows.json") as server:
            _write_files(place, server.url)
            variables = environment() | {"ANALYTICS_APIS": str(place / "empty")}
            for turn in range(times + 1):
                for name, command in _COMMANDS.items():
                    cost = run(command.arguments, place, variables)
                    done = cost.exit_code == 0 and command.says in cost.output + cost.errors
                    problem = None if done else f"exit code {cost.exit_code}: {cost.errors[-300:]}"
                    if turn:
                        loads[name].append(Load(cost, None, 0, 0, problem))
                        ended(name)
    return loads


def _write_files(place: Path, url: str) -> None:
    for directory in ("apis", "empty"):
        (place / directory).mkdir()
    for api in range(100):
        resources = "".join(_RESOURCE.format(number=number) for number in range(10))
        (place / "apis" / f"api_{api}.yaml").write_text(_API.format(url=url) + resources)
    (place / "empty" / "empty.yaml").write_text(_API.format(url=url) + _RESOURCE.format(number=0))
    for name, text in {"ours": _OURS, "bare": _BARE, "empty": _EMPTY}.items():
        (place / f"{name}.py").write_text(text)
