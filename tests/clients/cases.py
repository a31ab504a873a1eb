"""Streams that client libraries trip over: the bytes, what a reader gets raw, and what is right."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from normalizer.cassette import Cassette, Interaction, Metadata, RecordedRequest, RecordedResponse
from tests.clients.readers import Answer, Outcome, Raises

READERS = ("loop", "until_finish", "helper", "langchain")


@dataclasses.dataclass(frozen=True)
class Case:
    """One answer of an upstream.

    * ``raw``: what a reader makes of it as it is. Readers that are not named come to the right
      result on their own, and that is asserted too.
    * ``right``: what every reader makes of it through us.
    """

    name: str
    response: RecordedResponse
    right: Outcome
    raw: dict[str, Outcome]
    request: dict[str, Any] = dataclasses.field(default_factory=dict)
    readers: tuple[str, ...] = READERS

    def __post_init__(self) -> None:
        assert set(self.raw) <= set(self.readers), self.name

    @property
    def cassette(self) -> Cassette:
        """The answer as a cassette, for whatever is asked."""
        request = RecordedRequest(method="POST", uri="http://upstream/v1/chat/completions")
        return Cassette(Metadata(), (Interaction(request, self.response),))

    def expected(self, reader: str, door: str) -> Outcome:
        return self.raw.get(reader, self.right) if door == "raw" else self.right


def _event(value: Any) -> bytes:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


_HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "m"}


def _chunk(delta: Any, finish: str | None = None, **top: Any) -> bytes:
    return _event(
        {**_HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **top}
    )


_ROLE, _ONE, _TWO = (
    _chunk({"role": "assistant", "content": ""}),
    _chunk({"content": "Grü"}),
    _chunk({"content": "ß dich"}),
)
_TEXT = [_ROLE, _ONE, _TWO]
_STOP, _DONE = _chunk({}, "stop"), b"data: [DONE]\n\n"
_CALL = [
    _chunk(
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "index": 0,
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": ""},
                }
            ],
        }
    ),
    _chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"city": "Paris"}'}}]}),
]
_TOOLS = {
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "get_weather",
                # openai 2's asynchronous helper takes no tool that is not strict
                "strict": True,
                "parameters": {
                    "type": "object",
                    "properties": {"city": {"type": "string"}},
                    "required": ["city"],
                    "additionalProperties": False,
                },
            },
        }
    ]
}
_USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
_SAID = "the worker died"

GREETING = Answer("Grüß dich", "stop")
CALL = Answer("", "tool_calls", [("call_1", "get_weather", '{"city": "Paris"}')])
NOTHING = Answer()


def _answer(
    *chunks: bytes, content_type: str = "text/event-stream", **given: Any
) -> RecordedResponse:
    return RecordedResponse.from_chunks(chunks, headers=(("content-type", content_type),), **given)


def _everywhere(outcome: Outcome, *but: str) -> dict[str, Outcome]:
    return {reader: outcome for reader in READERS if reader not in but}


# langchain and openai's helper guard against some of what the plain loops fall over.
_NO_CHOICES = _everywhere(Raises("TypeError", "'NoneType' object is not"), "langchain")
_NO_DELTA = _everywhere(Raises("AttributeError", "'NoneType' object has no attribute"), "langchain")
_NO_ANSWER: dict[str, Outcome] = {
    "loop": NOTHING,
    "until_finish": NOTHING,
    "helper": Raises("AssertionError"),
    "langchain": Raises("ValueError", "No generations found in stream"),
}
_NO_JSON = _everywhere(Raises("JSONDecodeError", "Expecting value"))
_ERROR, _CUT = Raises("APIError", _SAID), Raises("APIError", "upstream_truncated")
# until_finish never sees what comes behind the finish, be it usage or an error
_TO_THE_END = ("loop", "helper", "langchain")

CHAT = [
    Case(
        "azure-opening-chunk",
        _answer(
            _event(
                {
                    "id": "",
                    "object": "",
                    "created": 0,
                    "model": "",
                    "choices": [],
                    "prompt_filter_results": [
                        {
                            "prompt_index": 0,
                            "content_filter_results": {
                                "hate": {"filtered": False, "severity": "safe"}
                            },
                        }
                    ],
                }
            ),
            *_TEXT,
            _STOP,
            _DONE,
        ),
        GREETING,
        _everywhere(Raises("IndexError"), "helper", "langchain"),
    ),
    Case(
        "azure-filter-chunk-without-delta",
        _answer(
            *_TEXT,
            _event(
                {
                    "id": "",
                    "object": "",
                    "created": 0,
                    "model": "",
                    "choices": [
                        {
                            "index": 0,
                            "finish_reason": None,
                            "content_filter_results": {
                                "hate": {"filtered": False, "severity": "safe"}
                            },
                            "content_filter_offsets": {"start_offset": 0, "end_offset": 9},
                        }
                    ],
                }
            ),
            _STOP,
            _DONE,
        ),
        GREETING,
        # the helper passes over chunks whose object is empty
        {key: made for key, made in _NO_DELTA.items() if key != "helper"},
    ),
    Case("delta-null", _answer(*_TEXT, _chunk(None), _STOP, _DONE), GREETING, _NO_DELTA),
    Case(
        "choices-null",
        _answer(_ROLE, _ONE, _event({**_HEAD, "choices": None}), _TWO, _STOP, _DONE),
        GREETING,
        _NO_CHOICES,
    ),
    Case(
        "choices-missing",
        _answer(_ROLE, _ONE, _event(_HEAD), _TWO, _STOP, _DONE),
        GREETING,
        _NO_CHOICES,
    ),
    Case(
        "finish-twice",
        _answer(*_TEXT, _STOP, _STOP, _DONE),
        GREETING,
        {"langchain": Answer("Grüß dich", "stopstop")},
    ),
    Case(
        "call-ended-twice",
        _answer(*_CALL, _chunk({}, "tool_calls"), _STOP, _DONE),
        CALL,
        {
            "loop": dataclasses.replace(CALL, finish="stop"),
            "helper": dataclasses.replace(CALL, finish="stop"),
            "langchain": dataclasses.replace(CALL, finish="tool_callsstop"),
        },
        request=_TOOLS,
    ),
    Case(
        "call-ended-with-stop",
        _answer(*_CALL, _STOP, _DONE),
        CALL,
        _everywhere(dataclasses.replace(CALL, finish="stop")),
        request=_TOOLS,
    ),
    Case(
        "finish-empty-text",
        _answer(
            _chunk({"role": "assistant", "content": "Grü"}, ""),
            _chunk({"content": "ß dich"}, ""),
            _STOP,
            _DONE,
        ),
        GREETING,
        {"until_finish": Answer("", "")},
    ),
    Case(
        "finish-foreign-word",
        _answer(*_TEXT, _chunk({}, "eos_token"), _DONE),
        GREETING,
        _everywhere(Answer("Grüß dich", "eos_token")),
    ),
    Case(
        "finish-beside-text",
        _answer(_ROLE, _ONE, _chunk({"content": "ß dich"}, "stop"), _DONE),
        GREETING,
        {"until_finish": Answer("Grü", "stop")},
    ),
    Case(
        "finish-missing",
        _answer(*_TEXT, _DONE),
        GREETING,
        _everywhere(Answer("Grüß dich")),
    ),
    Case(
        "text-after-finish",
        _answer(_ROLE, _ONE, _STOP, _TWO, _DONE),
        GREETING,
        {"until_finish": Answer("Grü", "stop")},
    ),
    Case(
        "usage-on-every-chunk",
        _answer(
            _chunk(
                {"role": "assistant", "content": "Grü"},
                usage={**_USAGE, "completion_tokens": 1, "total_tokens": 6},
            ),
            _chunk({"content": "ß dich"}, usage=_USAGE),
            _chunk({}, "stop", usage=_USAGE),
            _DONE,
        ),
        dataclasses.replace(GREETING, usage=(5, 2)),
        {"langchain": dataclasses.replace(GREETING, usage=(15, 5))},
        readers=_TO_THE_END,
    ),
    Case(
        "usage-nobody-asked-for",
        _answer(*_TEXT, _STOP, _event({**_HEAD, "choices": [], "usage": _USAGE}), _DONE),
        dataclasses.replace(GREETING, usage=(5, 2)),
        {"loop": Raises("IndexError")},
        readers=_TO_THE_END,
    ),
    Case(
        "id-before-keep-alive",
        _answer(b"id: 1\n" + _ROLE, b": waiting\n\n", _ONE, _TWO, _STOP, _DONE),
        GREETING,
        _NO_JSON,
    ),
    Case(
        "ping-event",
        _answer(b"event: ping\n\n", *_TEXT, _STOP, _DONE),
        GREETING,
        _NO_JSON,
    ),
    Case(
        "byte-order-mark",
        _answer(
            b"\xef\xbb\xbf" + _chunk({"role": "assistant", "content": "Grü"}), _TWO, _STOP, _DONE
        ),
        GREETING,
        _everywhere(Answer("ß dich", "stop")),
    ),
    Case(
        "last-event-unterminated",
        _answer(*_TEXT, _STOP.rstrip()),
        GREETING,
        _everywhere(Answer("Grüß dich")),
    ),
    Case(
        "cut",
        _answer(*_TEXT),
        _CUT,
        _everywhere(Answer("Grüß dich")),
    ),
    Case(
        "failure-as-finish",
        _answer(*_TEXT, _chunk({}, "error"), _DONE),
        Raises("APIError", "error"),
        _everywhere(Answer("Grüß dich", "error")),
    ),
    Case(
        "vllm-error-object",
        _answer(
            *_TEXT,
            _event(
                {
                    "object": "error",
                    "message": _SAID,
                    "type": "InternalServerError",
                    "param": None,
                    "code": 500,
                }
            ),
            _DONE,
        ),
        _ERROR,
        {
            **_everywhere(Answer("Grüß dich")),
            "loop": Raises("TypeError"),
            "until_finish": Raises("TypeError"),
        },
    ),
    Case(
        "error-as-text",
        _answer(*_TEXT, _event({"error": _SAID}), _DONE),
        _ERROR,
        # the exception is right, but it keeps the upstream's words from the user
        _everywhere(Raises("APIError", "An error occurred during streaming")),
    ),
    Case(
        "error-by-event-name",
        _answer(*_TEXT, b"event: error\n" + _event({"detail": _SAID})),
        _ERROR,
        {
            **_everywhere(Answer("Grüß dich")),
            "loop": Raises("TypeError"),
            "until_finish": Raises("TypeError"),
        },
    ),
    Case(
        "html",
        _answer(b"<html><body>502 Bad Gateway</body></html>\n", content_type="text/html"),
        Raises("APIError", "upstream_invalid"),
        _NO_ANSWER,
    ),
    Case("nothing", _answer(), Raises("APIError", "upstream_empty"), _NO_ANSWER),
    Case(
        "one-json-completion",
        _answer(
            json.dumps(
                {
                    **_HEAD,
                    "object": "chat.completion",
                    "choices": [
                        {
                            "index": 0,
                            "message": {"role": "assistant", "content": "Grüß dich"},
                            "finish_reason": "stop",
                        }
                    ],
                    "usage": _USAGE,
                }
            ).encode(),
            content_type="application/json",
        ),
        dataclasses.replace(GREETING, usage=(5, 2)),
        {reader: made for reader, made in _NO_ANSWER.items() if reader in _TO_THE_END},
        readers=_TO_THE_END,
    ),
    Case(
        "one-json-error",
        _answer(
            json.dumps({"error": {"message": _SAID, "type": "server_error"}}).encode(),
            content_type="application/json",
        ),
        _ERROR,
        _NO_ANSWER,
    ),
]

# The server breaks the connection in the middle of the body.
BROKEN = Case("broken", _answer(*_TEXT, end="cut"), _CUT, {})

_LEGACY_HEAD = {"id": "cmpl-1", "object": "text_completion", "created": 1700000000, "model": "m"}


def _text(text: str, finish: str | None = None, **top: Any) -> bytes:
    return _event(
        {
            **_LEGACY_HEAD,
            "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": finish}],
            **top,
        }
    )


COMPLETIONS = [
    Case(
        "completions-usage-nobody-asked-for",
        _answer(
            _text("Grü"),
            _text("ß dich", "stop"),
            _event({**_LEGACY_HEAD, "choices": [], "usage": _USAGE}),
            _DONE,
        ),
        GREETING,
        {"completions": Raises("IndexError")},
        readers=("completions",),
    ),
    Case(
        "completions-cut",
        _answer(_text("Grü"), _text("ß dich")),
        _CUT,
        {"completions": Answer("Grüß dich")},
        readers=("completions",),
    ),
    Case(
        "completions-foreign-finish",
        _answer(_text("Grü"), _text("ß dich", "eos"), _DONE),
        GREETING,
        {"completions": Answer("Grüß dich", "eos")},
        readers=("completions",),
    ),
    Case(
        "completions-error-object",
        _answer(_text("Grü"), _event({"object": "error", "message": _SAID, "code": 500}), _DONE),
        _ERROR,
        {"completions": Raises("TypeError")},
        readers=("completions",),
    ),
]


# What real servers sent to chats, by names that can stand in a path. The clients of other APIs are
# in tests/vendors.
CASSETTES = {
    f"recorded-{path.parent.name}-{path.stem}": path
    for path in sorted((Path(__file__).parents[2] / "cassettes").rglob("*.yaml"))
    if not path.stem.startswith(("responses-", "messages-"))
}
