"""Story 3: a GLM behind vLLM, cut at seven tokens. The page: docs/stories/3-length.md."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import openai
import pytest

from normalizer.cassette import replay_app
from tests.clients.readers import Answer, LegacyLoop, Loop, UntilFinish, loop
from tests.proxy.conftest import Proxied
from tests.stories.conftest import CASSETTES, Serve, asked

CHAT, COMPLETIONS = "vllm/chat-seven-tokens", "vllm/completions-seven-tokens"
# The poem is asked for, and the model begins a line before it does.
POEM = "\n床前明月光，疑"  # noqa: RUF001
# The legacy endpoint goes on with the text that it was given, which was the line above.
REST = "是地上霜。\n举头望"

Proxy = Callable[..., Proxied]
Replayed = Callable[[str], str]


class LegacyUntilFinish(LegacyLoop):
    """The loop that leaves at the finish, over the legacy endpoint."""

    def take(self, chunk: Any) -> bool:
        if chunk.choices[0].finish_reason is not None:
            self.answer.finish = chunk.choices[0].finish_reason
            return False
        return super().take(chunk)


def read(url: str, name: str, reader: type[Loop]) -> Answer:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-none", max_retries=0) as client:
        return loop(client, asked(name), reader)


def check(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "normalizer", "check", *args],
        capture_output=True,
        text=True,
        check=False,
    )


def test_length_and_the_seventh_token_arrive(replayed: Replayed, proxy: Proxy) -> None:
    upstream = replayed(CHAT)
    # The finish came with the last token: a loop that leaves there shows six of seven.
    assert read(upstream, CHAT, UntilFinish) == Answer(POEM[:-1], "length")
    url = proxy(upstream).url
    for reader in (Loop, UntilFinish):
        assert read(url, CHAT, reader) == Answer(POEM, "length")


def test_completions_continue_the_text(replayed: Replayed, proxy: Proxy) -> None:
    url = proxy(replayed(COMPLETIONS)).url
    assert read(url, COMPLETIONS, LegacyLoop) == Answer(REST, "length")


@pytest.mark.parametrize(
    ("name", "said", "code"),
    [
        (CHAT, ["finish_reason length: max_tokens=7 cut the answer", "S504"], 1),
        (
            COMPLETIONS,
            [
                "finish_reason length: max_tokens=7 cut the answer",
                "/v1/completions continues text: use /v1/chat/completions for a chat",
            ],
            0,
        ),
    ],
)
def test_check_explains_a_recording(name: str, said: list[str], code: int) -> None:
    done = check(str(CASSETTES / f"{name}.yaml"))
    for words in said:
        assert words in done.stdout
    assert (done.returncode, done.stderr) == (code, "")


def test_check_explains_a_server(serve: Serve) -> None:
    app = replay_app(
        [CASSETTES / f"{name}.yaml" for name in (CHAT, COMPLETIONS)],
        # its answers are recorded, whatever `check` asks
        match_on=("method", "path"),
    )
    probes = ("--probe", "max_tokens=7", "--probe", "completions")
    done = check(f"{serve(app)}/v1", "--model", "zai-org/glm-4-9b-chat-hf", *probes)
    assert "max_tokens=7: note: finish_reason length: max_tokens=7 cut the answer" in done.stdout
    assert "completions: note: /v1/completions continues text" in done.stdout
    assert (done.returncode, done.stderr) == (1, "")
