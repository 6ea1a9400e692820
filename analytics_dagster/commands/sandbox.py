"""`sandbox`: serves the sample API, and says how to ask it."""

from __future__ import annotations

from analytics_dagster.commands.terminal import standard_output
from analytics_dagster.sandbox import SandboxSettings, serve


def serve_sandbox(host: str, port: int, settings: SandboxSettings) -> None:
    """Serve a sandbox until interrupted.

    Args:
        host: The address to listen on.
        port: The port, or 0 for a free one.
        settings: What it is like.

    Raises:
        OSError: If nothing can listen there.
    """
    console = standard_output()

    def announce(url: str) -> None:
        lines = [
            f"The sample API answers at {url} until Ctrl-C.",
            f"  API key        {settings.api_key} (header X-API-Key, or parameter api_key)",
            f"  bearer token   {settings.token}",
            f"  HTTP basic     {settings.username} / {settings.password}",
            f"  OAuth2 client  {settings.client_id} / {settings.client_secret}, token from {url}/oauth/token",
            "",
            f"curl -H 'X-API-Key: {settings.api_key}' '{url}/v1/events?limit=3'",
            "",
            "To load from here rather than from a sandbox that each run starts:",
            f"export SANDBOX_URL={url} SANDBOX_API_KEY={settings.api_key} \\",
            f"  SANDBOX_CLIENT_ID={settings.client_id} SANDBOX_CLIENT_SECRET={settings.client_secret}",
        ]
        console.print("\n".join(lines), markup=False, soft_wrap=True)

    serve(host, port, settings, ready=announce)
