"""A Gradio chat on LangChain's AzureChatOpenAI, made as ChuanhuChatGPT is, in a process of its own.

    python -m tests.stories.gradio_chat ENDPOINT LOG [--system TEXT] [--normalized] [--loop]

A handler logs each token and puts it into a queue, from which the chat shows it. Says its URL on
standard output; LOG gets a line of JSON for each token, and one for the end of each answer.
"""

from __future__ import annotations

import argparse
import json
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio
import httpx2
import openai
from langchain_core.callbacks import BaseCallbackHandler
from langchain_openai import AzureChatOpenAI

from normalizer import NormalizingTransport, Report

MODEL, TEMPERATURE = "gpt-4o-mini", 0.2

Token = Callable[[str], None]


class Handler(BaseCallbackHandler):
    """Hands on each token that LangChain calls it with."""

    def __init__(self, token: Token) -> None:
        self._token = token

    def on_llm_new_token(self, token: str, **_: Any) -> None:
        self._token(token)


class Chat:
    """Answers from an Azure endpoint, token by token, and logs what came."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._azure: dict[str, Any] = {
            "azure_endpoint": args.endpoint,
            "api_version": "2024-10-21",
            "api_key": "none",
            "max_retries": 0,
        }
        self._system: list[Any] = (
            [{"role": "system", "content": args.system}] if args.system else []
        )
        self._log: Path = args.log
        self._normalized: bool = args.normalized
        self._answer = self._loop if args.loop else self._langchain
        self._reports: list[Report] = []

    def respond(self, message: str, history: list[Any]) -> Iterator[str]:
        """The answer so far, at each token: what Gradio shows."""
        tokens: queue.Queue[str | BaseException | None] = queue.Queue()
        asked = {"role": "user", "content": message}

        def take(token: str) -> None:
            self._write(token=token)
            tokens.put(token)

        def run() -> None:
            try:
                with httpx2.Client(transport=self._transport()) as http:
                    finish = self._answer(http, [*self._system, asked], take)
                self._write(finish=finish, reports=[self._of(report) for report in self._reports])
            except Exception as error:
                self._write(error=type(error).__name__)
                tokens.put(error)
            tokens.put(None)

        threading.Thread(target=run).start()
        shown = ""
        while (token := tokens.get()) is not None:
            if isinstance(token, BaseException):
                raise gradio.Error(str(token))
            shown += token
            yield shown

    def _transport(self) -> Any:
        if not self._normalized:
            return httpx2.HTTPTransport()
        return NormalizingTransport(on_report=self._reports.append)

    def _langchain(self, http: httpx2.Client, messages: list[Any], token: Token) -> str:
        model = AzureChatOpenAI(
            **self._azure,
            azure_deployment=MODEL,
            model=MODEL,
            temperature=TEMPERATURE,
            streaming=True,
            # as the request was recorded
            stream_usage=False,
            http_client=http,
        )
        done = model.invoke(messages, config={"callbacks": [Handler(token)]})
        return str(done.response_metadata["finish_reason"])

    def _loop(self, http: httpx2.Client, messages: list[Any], token: Token) -> str:
        """Without LangChain: the loop that ChuanhuChatGPT has for OpenAI's own API."""
        client = openai.AzureOpenAI(**self._azure, http_client=http)
        stream = client.chat.completions.create(
            model=MODEL, messages=messages, temperature=TEMPERATURE, stream=True
        )
        finish = None
        for chunk in stream:
            choice = chunk.choices[0]
            if choice.delta.content:
                token(choice.delta.content)
            finish = choice.finish_reason or finish
        return str(finish)

    @staticmethod
    def _of(report: Report) -> dict[str, Any]:
        return {
            "codes": report.codes,
            "in": report.characters_in,
            "out": report.characters_out,
        }

    def _write(self, **line: Any) -> None:
        with self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("endpoint")
    parser.add_argument("log", type=Path)
    parser.add_argument("--system")
    parser.add_argument("--normalized", action="store_true")
    parser.add_argument("--loop", action="store_true")
    chat = Chat(parser.parse_args())
    interface = gradio.ChatInterface(chat.respond, api_name="chat")
    _, url, _ = interface.launch(
        server_name="127.0.0.1", quiet=True, prevent_thread_lock=True, share=False
    )
    print(f"Serving on {url}", flush=True)
    interface.block_thread()


if __name__ == "__main__":
    main()
