"""A sample analytics API with a ground truth, as an ASGI app. Stands alone."""

from analytics_dagster.sandbox.data import InvalidParameterError
from analytics_dagster.sandbox.faults import Fault
from analytics_dagster.sandbox.server import RunningSandbox, running_sandbox, serve
from analytics_dagster.sandbox.settings import SandboxSettings

__all__ = ["Fault", "InvalidParameterError", "RunningSandbox", "SandboxSettings", "running_sandbox", "serve"]
