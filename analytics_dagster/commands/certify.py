"""`certify`: holds an API against what its file says, by black-box checks, and reports."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from rich.markup import escape

from analytics_dagster.certifying.certify import certify
from analytics_dagster.certifying.verdicts import Outcome, Verdict
from analytics_dagster.commands.choice import find_api, find_resources, refuse_hidden
from analytics_dagster.commands.progress import waits_shown
from analytics_dagster.commands.terminal import CommandError, standard_error, standard_output
from analytics_dagster.sample import is_sample, sandbox_variables

_MARKS: dict[Outcome, str] = {
    "passed": "[green]✓[/]",
    "failed": "[red]✗[/]",
    "not applicable": "[dim]–[/]",
    "not reached": "[yellow]?[/]",
}


def certify_api(name: str, resources: Sequence[str], requests: int, report: Path | None) -> None:
    """Run all checks and show what each found.

    Args:
        name: The API.
        resources: Names of its resources; empty for all.
        requests: How many requests to send at most.
        report: Where to write the verdicts as JSON.

    Raises:
        CommandError: If a check failed.
        LoadError: If a secret is missing.
    """
    file = find_api(name)
    wanted = find_resources(file, resources)
    refuse_hidden(file, wanted)
    console = standard_output()
    verdicts: list[Verdict] = []
    of: str | None = None
    with ExitStack() as stack:
        values = stack.enter_context(sandbox_variables()) if is_sample(file) else None
        console.print(escape(f"{file.path}: at most {requests:,} requests"), soft_wrap=True)
        on_change = stack.enter_context(waits_shown(standard_error(), f"{name}: reading"))
        names = [resource.name for resource in wanted]
        for verdict in certify(file, names, requests, values=values, tell=on_change):
            verdicts.append(verdict)
            if verdict.resource and verdict.resource != of:
                of = verdict.resource
                console.print(f"[bold]{escape(of)}[/]")
            text = escape(f"{verdict.check}: {verdict.text}")
            console.print(f"  {_MARKS[verdict.outcome]} {text}", soft_wrap=True)
    if report:
        report.write_text(json.dumps([asdict(verdict) for verdict in verdicts], indent=2))
    counts = Counter(verdict.outcome for verdict in verdicts)
    sent = sum(verdict.requests for verdict in verdicts)
    summary = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    console.print(f"{summary}; {sent:,} requests")
    if counts["failed"]:
        raise CommandError(f"{counts['failed']} of {len(verdicts)} checks failed")
