"""The deviations that the clients of the Responses API meet, and which of them each one breaks.

Every stream is a canonical one with one deviation in it, of those that upstreams in use have. What
is right holds for every client; which clients are wrong without us is written beside each stream,
in their letters.
"""

from __future__ import annotations

import dataclasses

from tests.vendors.held import Failed, Held, Outcome
from tests.vendors.responses_streams import (
    CITY,
    DELTAS,
    EVENTS,
    TEXT,
    changed,
    early,
    encoded,
    events_of_call,
    flatten,
    frame,
    last,
    lose_call_id,
    lose_indexes,
    lose_type,
    reasoned_events,
    rotate,
    text_events,
    wire,
    without,
    wrap_delta,
)
from tests.wires.responses.streams import (
    created,
    ended,
    event,
    message,
    message_events,
    reasoning,
)

# The clients: openai-python's create() and .stream(), openai-agents, langchain-openai, pydantic-ai,
# openai-node's .stream(), the AI SDK's providers for OpenAI and for Open Responses, Grok Build, and
# Codex CLI.
CLIENTS = {
    "oc": "openai-python create()",
    "os": "openai-python .stream()",
    "ag": "openai-agents",
    "lc": "langchain-openai",
    "pa": "pydantic-ai",
    "on": "openai-node .stream()",
    "ao": "AI SDK openai",
    "ar": "AI SDK open-responses",
    "gk": "Grok Build",
    "cx": "Codex CLI",
}
ALL = " ".join(CLIENTS)

ANSWER = Held(TEXT, TEXT)
CALL = Held(calls=(("get_weather", CITY),))


@dataclasses.dataclass(frozen=True)
class Deviation:
    """A body, what is wrong with it, what is right, and which clients are wrong without us."""

    name: str
    fault: str
    body: bytes
    right: Outcome
    broken: frozenset[str]
    content_type: str = EVENTS

    def right_for(self, client: str) -> Outcome:
        """What is right for a client: one of them says that an answer failed, but never why."""
        return Failed("failed") if client == "ar" and isinstance(self.right, Failed) else self.right


_USAGE = {"input_tokens": 3, "output_tokens": 4}
# not one of those after which programs ask again
_REFUSED = "This prompt is not allowed here."
_FLAT = {"type": "error", "code": "invalid_prompt", "message": _REFUSED, "param": None}
_BARE = {"error": {"message": _REFUSED, "type": "invalid_request_error", "code": "invalid_prompt"}}
_CUT = wire(text_events()[:6])
_TRUNCATED = Failed("before `response.completed`")


def _deviation(
    name: str, broken: str, fault: str, body: bytes, right: Outcome = ANSWER, **more: str
) -> Deviation:
    clients = frozenset(broken.split())
    assert clients <= set(CLIENTS), name
    return Deviation(name, fault, body, right, clients, **more)


# What every client reads as it is: what a deviation breaks, it breaks.
CLEAN = (
    _deviation("clean-text", "", "nothing", wire(text_events())),
    _deviation("clean-call", "", "nothing", wire(events_of_call()), CALL),
    _deviation("clean-reasoning", "", "nothing", wire(reasoned_events())),
)

# Grok Build asks again after a canonical `response.failed` and after a flat error, the documented
# form, raw as through us. It shows neither in time, so it does not read `error-flat-alone`.
DEVIATIONS = (
    _deviation(
        "type-only-in-event-line",
        ALL,
        "the data of an event has no type",
        lose_type(),
    ),
    _deviation(
        "response-not-nested",
        ALL,
        "the members of the response stand in the event itself",
        wire(changed(text_events(), flatten)),
    ),
    _deviation(
        "empty-data",
        "oc os ag lc pa on ao ar gk",
        "an event without data comes first",
        b"data: \n\n" + wire(text_events()),
    ),
    _deviation(
        "deltas-only",
        "os on ao ar cx",
        "nothing but deltas and the end",
        wire(
            [one for one in text_events() if "delta" in one or one["type"] == "response.completed"]
        ),
    ),
    _deviation(
        "created-missing",
        "os on",
        "the answer begins with its first item",
        wire(without(text_events(), "created", "in_progress")),
    ),
    _deviation(
        "no-part-events",
        "os on",
        "a message has no content part events",
        wire(without(text_events(), "content_part.added", "content_part.done")),
    ),
    _deviation(
        "no-done-events",
        "oc os ag on gk cx",
        "nothing is ended but the response, which has no output",
        wire(
            [
                *without(
                    text_events(),
                    "output_text.done",
                    "content_part.done",
                    "output_item.done",
                    "completed",
                ),
                ended(),
            ]
        ),
    ),
    _deviation(
        "text-only-in-terminal",
        "oc os ag lc pa on ao ar cx",
        "the text comes with the end only",
        wire([created(), ended(message(TEXT))]),
    ),
    _deviation(
        "terminal-output-null",
        "oc lc pa on gk",
        "the end has null for its output",
        wire(last(output=None)),
    ),
    _deviation(
        "done-for-completed",
        "oc os ag on gk cx",
        "the end is called response.done",
        wire([*text_events()[:-1], ended(message(TEXT)) | {"type": "response.done"}]),
    ),
    _deviation(
        "usage-chat-names",
        "ao gk cx",
        "usage has the names of a chat's",
        wire(last(usage={"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7})),
    ),
    _deviation(
        "usage-total-missing",
        "gk cx",
        "usage has no total",
        wire(last(usage=_USAGE)),
    ),
    _deviation(
        "usage-details-empty",
        "gk cx",
        "the details of usage are empty",
        wire(
            last(
                usage={
                    **_USAGE,
                    "total_tokens": 7,
                    "input_tokens_details": {},
                    "output_tokens_details": {},
                }
            )
        ),
    ),
    _deviation(
        "rate-limits-first",
        "os on gk",
        "a private event comes before the answer",
        early({"type": "codex.rate_limits", "rate_limits": {"primary": {"used_percent": 3}}}),
    ),
    _deviation(
        "in-progress-without-response",
        "os pa on gk",
        "a keep-alive has the type of an event of the answer",
        early({"type": "response.in_progress"}),
    ),
    _deviation(
        "ping-event",
        "on gk",
        "a ping stands between the events",
        wire(text_events()[:4])
        + frame({"type": "ping"})
        + wire(text_events()).split(b"\n\n", 4)[4],
    ),
    _deviation(
        "another-response-id",
        "os",
        "the end has the id of another response",
        wire(last(id="chatcmpl-9")),
    ),
    _deviation(
        "created-at-missing",
        "ao gk",
        "no response says when it was created",
        wire(changed(text_events(), lambda one: one.get("response", {}).pop("created_at", None))),
    ),
    _deviation(
        "no-sequence-numbers",
        "gk",
        "the events have no numbers",
        b"".join(frame(one) for one in text_events()),
    ),
    _deviation(
        "ids-rotate",
        "os ao ar",
        "each event has an item id of its own",
        wire(changed(text_events(), lambda one, count=[]: rotate(one, count))),  # type: ignore[misc]
    ),
    _deviation(
        "no-indexes-and-ids",
        "on ao gk",
        "the events do not say to which item they belong",
        wire(changed(text_events(), lose_indexes)),
    ),
    _deviation(
        "delta-object",
        "oc os ag lc pa on ao ar gk",
        "a delta is an object",
        wire(changed(text_events(), wrap_delta)),
    ),
    _deviation(
        "summary-without-parts",
        "on",
        "a summary of reasoning has no part events",
        wire(
            without(
                reasoned_events(), "reasoning_summary_part.added", "reasoning_summary_part.done"
            )
        ),
    ),
    _deviation(
        "reasoning-part-names",
        "on gk",
        "reasoning parts have names of vLLM's own",
        wire(
            [
                created(),
                event("output_item.added", output_index=0, item=reasoning()),
                *(
                    event(
                        f"reasoning_part.{how}",
                        item_id="rs_1",
                        output_index=0,
                        content_index=0,
                        part={"type": "reasoning_text", "text": said},
                    )
                    for how, said in (("added", ""), ("done", ""))
                ),
                event("output_item.done", output_index=0, item=reasoning()),
                *message_events(*DELTAS, index=1),
                ended(reasoning(), message(TEXT)),
            ]
        ),
    ),
    _deviation(
        "json-for-a-stream",
        ALL,
        "one JSON answer where a stream was asked for",
        encoded(ended(message(TEXT))["response"]).encode(),
        content_type="application/json",
    ),
    _deviation(
        "call-without-ids",
        "pa on ao gk",
        "a call has no item id and no output index",
        wire(changed(events_of_call(), lose_indexes)),
        CALL,
    ),
    _deviation(
        "call-id-missing",
        "ag ao gk cx",
        "a call has no call_id",
        wire(changed(events_of_call(), lose_call_id)),
        CALL,
    ),
    _deviation(
        "call-without-deltas",
        "lc",
        "the arguments of a call come at its end only",
        wire(without(events_of_call(), "function_call_arguments.delta")),
        CALL,
    ),
    _deviation(
        "call-never-added",
        "lc on",
        "a call is ended that was never added",
        wire(
            without(
                events_of_call(),
                "output_item.added",
                "function_call_arguments.delta",
                "function_call_arguments.done",
            )
        ),
        CALL,
    ),
    _deviation(
        "call-never-added-with-name",
        "lc on",
        "a call that was never added is named before it is ended",
        wire(without(events_of_call(), "output_item.added", "function_call_arguments.delta")),
        CALL,
    ),
    _deviation(
        "cut-in-text",
        ALL,
        "the stream is cut, without an end",
        _CUT,
        _TRUNCATED,
    ),
    _deviation(
        "error-flat-alone",
        "oc os ar cx",
        "an error, and no failed response after it",
        _CUT + frame({**_FLAT, "sequence_number": 6}),
        Failed(_REFUSED),
    ),
    _deviation(
        "error-without-type",
        "ar cx",
        "an error in the form of a chat's, and [DONE]",
        _CUT + f"data: {encoded(_BARE)}\n\ndata: [DONE]\n\n".encode(),
        Failed(_REFUSED),
    ),
    _deviation(
        "error-json-for-a-stream",
        ALL,
        "one JSON error with status 200",
        encoded(_BARE).encode(),
        Failed(_REFUSED),
        content_type="application/json",
    ),
    _deviation(
        "failed-without-words",
        "ao cx",
        "a failed response has its error beside it",
        wire(
            [
                created(),
                event("failed", response=created()["response"] | {"status": "failed"}, **_BARE),
            ]
        ),
        Failed(_REFUSED),
    ),
)
