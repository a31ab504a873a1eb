"""tools/record: start a server, ask it each case's request, write the cassettes."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from normalizer.cassette.format import Cassette, CassetteError, Metadata, dump

from .capture import capture
from .upstreams import UPSTREAMS, Upstream

ROOT = Path(__file__).resolve().parents[2]


def main(description: str | None, arguments: list[str] | None = None) -> int:
    """Run the command; 0 if every case was written."""
    options = _options(description, arguments)
    if options.list or not options.upstream:
        print(_listing())
        return 0
    upstream = UPSTREAMS[options.upstream]
    with tempfile.TemporaryDirectory(prefix="record-") as work:
        places = {
            "bin": str(options.bin.absolute()),
            "recipes": str(options.recipes.resolve()),
            "source": str(options.source.resolve()),
            "work": work,
        }
        try:
            version = options.version or _version(upstream, places)
            with contextlib.ExitStack() as stack:
                if not options.url:
                    for command in upstream.prepare:
                        _run(command, places)
                    stack.enter_context(_served(upstream, places))
                return _record(upstream, options, version)
        except (OSError, subprocess.CalledProcessError, CassetteError, httpx.HTTPError) as error:
            print(f"tools/record: {error}", file=sys.stderr)
            print("Is the server installed as in ../shared/recipes/README.md?", file=sys.stderr)
            return 1


def _record(upstream: Upstream, options: argparse.Namespace, version: str) -> int:
    base = (options.url or upstream.url).rstrip("/")
    cases = [case for case in upstream.cases if options.only in (None, case.name)]
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    for case in cases:
        interaction = capture(base + case.path, case.body)
        response = interaction.response
        metadata = Metadata(
            origin="recorded",
            server=upstream.server,
            version=version,
            date=today,
            note=" ".join(filter(None, [case.shows, upstream.note, options.note])),
        )
        path = options.out / upstream.folder / f"{case.name}.yaml"
        dump(Cassette(metadata, (interaction,)), path)
        print(f"{path}: {response.status}, {len(response.lengths)} chunks, {response.end}")
    if not cases:
        print(f"tools/record: no case {options.only} of {options.upstream}", file=sys.stderr)
    return 0 if cases else 1


def _options(description: str | None, arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tools/record",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("upstream", nargs="?", choices=sorted(UPSTREAMS))
    parser.add_argument("--list", action="store_true", help="show servers, commands and cases")
    parser.add_argument(
        "--bin", type=Path, default=Path("bin"), help="where the server's programs are"
    )
    parser.add_argument(
        "--source", type=Path, default=Path(), help="the checkout that some commands want"
    )
    parser.add_argument(
        "--recipes", type=Path, default=ROOT.parent / "shared" / "recipes", help="its folder"
    )
    parser.add_argument("--url", help="base URL of a server that runs already, up to /v1")
    parser.add_argument("--version", help="the server's version, where it is not to be asked for")
    parser.add_argument(
        "--note", help="a sentence on how the server was set up, if unlike the recipe"
    )
    parser.add_argument("--only", metavar="CASE", help="record this case alone")
    parser.add_argument("--out", type=Path, default=ROOT / "cassettes", help="the collection")
    return parser.parse_args(arguments)


def _listing() -> str:
    lines = []
    for name, upstream in UPSTREAMS.items():
        lines.append(f"{name}: {upstream.server} at {upstream.url}")
        lines += [f"  {command}" for command in upstream.prepare]
        lines += [f"  {command}" for _, command in upstream.serve]
        lines += [f"    {upstream.folder}/{case.name}: {case.shows}" for case in upstream.cases]
    return "\n".join(lines)


def _version(upstream: Upstream, places: dict[str, str]) -> str:
    asked = upstream.version.startswith("{bin}")
    return _run(upstream.version, places) if asked else upstream.version


def _run(command: str, places: dict[str, str]) -> str:
    """What a command that runs to its end says, first line only."""
    done = subprocess.run(
        shlex.split(command.format(**places)), capture_output=True, text=True, check=True
    )
    # llama-server writes its version to stderr
    said = (done.stdout or done.stderr).strip()
    return said.splitlines()[0].removeprefix("version:").strip() if said else ""


@contextlib.contextmanager
def _served(upstream: Upstream, places: dict[str, str]) -> Iterator[None]:
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": places["work"],
        # OptiLLM wants one; the stub behind it takes any
        "OPENAI_API_KEY": "none",
    }
    servers: list[subprocess.Popen[bytes]] = []
    try:
        for url, command in upstream.serve:
            log = Path(places["work"]) / f"server-{len(servers)}.log"
            words = shlex.split(command.format(**places))
            with log.open("wb") as said:
                server = subprocess.Popen(
                    words, env=environment, cwd=places["work"], stdout=said, stderr=said
                )
            servers.append(server)
            _await(url, server, log)
        yield
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _await(url: str, server: subprocess.Popen[bytes], log: Path, limit: float = 180.0) -> None:
    """Return when the server answers: llama-server listens before its model is loaded."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise OSError(f"the server ended:\n{log.read_text(errors='replace')[-2000:]}")
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/models", trust_env=False).status_code < 500:
                return
        time.sleep(0.3)
    raise OSError(f"nothing answers at {url} after {limit:.0f} s")
