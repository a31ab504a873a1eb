"""What a test shows that asks for something that was not recorded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CASSETTE = Path(__file__).parents[2] / "cassettes" / "vllm" / "chat-seven-tokens.yaml"


def test_a_miss_shows_no_line_of_ours_and_none_of_vcrpys_log(tmp_path: Path) -> None:
    (tmp_path / "test_miss.py").write_text(
        "import httpx\n"
        "from normalizer.cassette import ReplayTransport\n"
        "def test_miss():\n"
        f"    client = httpx.Client(transport=ReplayTransport({str(CASSETTE)!r}))\n"
        "    client.post('http://h/v1/chat/completions', json={'a': 1})\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "log_level=DEBUG"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert "no recorded request is the same" in done.stdout
    assert "client.post(" in done.stdout
    assert "handle_request(self, request: Any)" not in done.stdout
    assert "normalizer/cassette/" not in done.stdout
    assert "vcr.request" not in done.stdout
