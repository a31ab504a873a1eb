"""The way of one chunk through the stages of the chat wire.

    choices    a list of objects
    finish     the finish word of each, read once
    choices    the index that each means
    envelope   id, object, created, model
    usage      taken off
    and for each choice:
    content    its delta: text as text, the role once
    markup     calls and reasoning that the model wrote into its text, where the options ask for it
    reasoning  one name
    calls      which call a fragment belongs to
    pieces     text, then heads, then arguments, then the finish: one chunk each
    holdback   sends each piece, or holds it

A chunk that no stage changed is one piece, and is sent as the bytes that it came as.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings
from normalizer.core.kept import CHOICE, Kept
from normalizer.core.lenient import dumps
from normalizer.core.options import Options
from normalizer.core.report import Report
from normalizer.core.request import RequestInfo
from normalizer.wires.chat import content as content_stage
from normalizer.wires.chat.blank import Blank
from normalizer.wires.chat.call import Call, Fragment
from normalizer.wires.chat.chunk import (
    DECLARED,
    REASONING_KEYS,
    Choice,
    Delta,
    Part,
    count,
    count_text,
    endpoint_of,
)
from normalizer.wires.chat.content import is_torn
from normalizer.wires.chat.held import Piece
from normalizer.wires.chat.holdback import CHOICES_EMPTY, Holdback
from normalizer.wires.chat.markup import Markup
from normalizer.wires.chat.markup import wanted as markup_wanted
from normalizer.wires.chat.split import split
from normalizer.wires.chat.stages import Stages

OTHER_ENDPOINT = Deviation(
    code="E215",
    name="other-endpoints-chunk",
    fault="A chunk has the form of the other endpoint, such as `text` for `delta`.",
    repair="The chunk gets the form of the requested endpoint.",
)
FINISH_WITH_CONTENT = Deviation(
    code="S504",
    name="finish-with-content",
    fault="A finish arrives together with content.",
    repair="The finish follows in a chunk of its own.",
)

_PLAIN = ("content", "reasoning_content")
# members that a stage looks at, if they are null
_READ = DECLARED | (frozenset(REASONING_KEYS) - {"reasoning_content"})
# members that the API's own finish does not have, null or not
_NEVER_ON_FINISH = DECLARED - {"role"}
_TEXTS = ("content", "refusal", *REASONING_KEYS)


class Chunks:
    """Takes the chunks of one stream through the stages to the holdback."""

    __slots__ = (
        "_blank",
        "_endpoint",
        "_found",
        "_has_plain",
        "_holdback",
        "_kept",
        "_markup",
        "_options",
        "_report",
        "_sender",
        "_stages",
    )

    def __init__(
        self,
        request: RequestInfo,
        options: Options,
        found: Findings,
        report: Report,
        kept: Kept,
        stages: Stages,
        blank: Blank,
        holdback: Holdback,
    ) -> None:
        self._endpoint = endpoint_of(request)
        self._options = options
        self._found = found
        self._report = report
        self._kept = kept
        self._stages = stages
        self._blank = blank
        self._holdback = holdback
        self._sender = holdback.sender
        self._markup: Markup | None = None
        self._has_plain = self._endpoint == "chat" and options.reasoning == "reasoning_content"
        if markup_wanted(options) and self._endpoint == "chat":
            self._markup = Markup(found, options, request)
            self._has_plain = False

    def take(self, draft: Draft) -> None:
        """Take one chunk."""
        stages = self._stages
        parts = stages.choices.parts(draft)
        for part in parts:
            stages.finish.read(part)
        placed = stages.choices.place(parts)
        if not placed:
            self._take_without_choices(draft)
            return
        if len(placed) != len(parts):
            draft.edit()["choices"] = [part.choice for part in placed]
        stages.envelope.read(draft)
        stages.usage.read(draft, placed)
        if len(placed) == 1 and self._is_plain(placed[0]):
            self._send_plain(placed[0])
        elif len(placed) == 1:
            news = stages.riders.news(draft.value, self._sender.last)
            self._send(draft, placed[0], self._pieces(placed[0], news=news), first=True)
        else:
            self._take_several(draft, placed)

    def close(self) -> None:
        """No more chunks come: what the markup held back as a possible marker is text."""
        if self._markup is not None:
            for index in list(self._holdback.order):
                for delta in self._markup.rest(index):
                    self._take_delta(index, delta)

    # ------------------------------------------------------------------ the chunk that most are

    def _is_plain(self, part: Part) -> bool:
        """Whether a chunk is a piece of text, or of reasoning, in a choice that goes on.

        The stages would find nothing in it but the text: this asks for what they would change, and
        `tests/test_properties.py` holds the two together.
        """
        choice, index, content = part.choice, part.index, self._stages.content
        delta = choice.get("delta")
        if type(delta) is not dict or part.word is not None or not self._has_plain:
            return False
        if not content.is_open(index) or content.busy or not self._holdback.is_free(index):
            return False
        if self._stages.tools.called(index) or "message" in choice or "messages" in choice:
            return False
        text = _only_text(delta)
        if text is None or (part.changed and is_torn(text)):
            return False
        part.delta = delta
        return True

    def _send_plain(self, part: Part) -> None:
        delta, report = part.delta, self._report
        self._blank.learn(part)
        count(report.characters_in, delta)
        self._stages.content.sent_texts.add(part.index, delta)
        self._sender.send(part.draft)

    # ------------------------------------------------------------------ chunks of several choices

    def _take_several(self, draft: Draft, parts: list[Part]) -> None:
        """Take a chunk of several choices: whole if none of them changed, else one by one."""
        pieces = [self._pieces(part, news=False) for part in parts]
        if all(self._is_text(part, mine) for part, mine in zip(parts, pieces, strict=True)):
            for part in parts:
                self._holdback.release_calls(part.index)
            self._sender.send(draft)
            return
        first = True
        for part, mine in zip(parts, pieces, strict=True):
            self._send(draft, part, mine, first=first)
            first = first and not mine
        if first:
            self._holdback.ride(draft)

    def _is_text(self, part: Part, pieces: list[_Piece]) -> bool:
        """Return whether a choice can be sent at once, as it is."""
        if len(pieces) != 1:
            return False
        piece = pieces[0]
        return piece.choice is part.choice and not piece.fragments and piece.word is None

    def _send(self, draft: Draft, part: Part, pieces: list[_Piece], *, first: bool) -> None:
        """Send the pieces of a choice; ``first``: the chunk's own members are for them."""
        alone = len(draft.value["choices"]) == 1
        if not pieces:
            self._holdback.leave_decided(part.index)
            if first and alone and self._holdback.ride(draft):
                self._found(CHOICES_EMPTY)
        elif alone and len(pieces) == 1 and pieces[0].choice is part.choice:
            piece = pieces[0]
            self._holdback.take(Piece(draft, part.index, piece.fragments, piece.word, part.says))
        else:
            self._send_apart(draft, part, pieces, first=first)

    def _send_apart(self, draft: Draft, part: Part, pieces: list[_Piece], *, first: bool) -> None:
        """Send each piece in a chunk of its own: the first has the members, the last the usage."""
        chunk = draft.value if first else {}
        members = {key: value for key, value in chunk.items() if key != "choices"}
        last = pieces[-1]
        usage = members.pop("usage", None) if last.word is not None else None
        for piece in pieces:
            if first and piece is pieces[0]:
                one = Draft({**members, "choices": [piece.choice]})
            else:
                one = self._stages.envelope.chunk([piece.choice])
            if piece is last and usage is not None:
                one.value["usage"] = usage
            self._holdback.take(Piece(one, part.index, piece.fragments, piece.word))

    # ------------------------------------------------------------------ chunks without choices

    def _take_without_choices(self, draft: Draft) -> None:
        """Take a chunk that is not sent itself."""
        stages, holdback = self._stages, self._holdback
        silent = stages.choices.silent
        if silent is not None:
            one = draft if len(draft.value["choices"]) == 1 else None
            chunk = {**draft.value, "choices": [silent.choice]}
            holdback.put_off(silent.index, one or Draft(chunk))
            return
        # Azure's first chunk has no choices, but may have the id and the model
        stages.envelope.learn(draft.value)
        if draft.value.get("usage") is None and "x_groq" not in draft.value:
            # `chunk.choices[0]` is an IndexError; Azure's verdict on the prompt must not go with
            # the chunk
            if self._found(CHOICES_EMPTY):
                holdback.ride(draft)
            else:
                self._sender.send(draft)
            return
        displaced = stages.usage.chunk
        if not stages.usage.read_apart(draft):
            holdback.ride(draft)
            return
        # the usage of the later chunk counts, but the other members of the earlier one are news
        if displaced is not None:
            holdback.ride(displaced)
        holdback.usage_came()

    # ------------------------------------------------------------------ one choice

    def _pieces(self, part: Part, *, news: bool) -> list[_Piece]:
        """What becomes of one choice: its pieces, in their order; ``news``: its chunk has some."""
        index = part.index
        if index not in self._holdback.order:
            self._begin(index)
        if self._endpoint == "completions":
            return self._pieces_of_text(part)
        stages = self._stages
        content, calls = stages.content, stages.tools.has_come(index)
        self._read_content(part, called=calls and bool(stages.tools.called(index)))
        delta, first = part.delta, not content.is_open(index)
        stages.reasoning.read(part)
        if calls and self._answers_calls(index, delta):
            stages.tools.answer(index)
        self._blank.learn(part)
        part.says = _says(delta)
        if part.says:
            self._note_content(part)
        elif part.word is not None and not first:
            return [self._bare_finish(part)]
        pieces = self._pieces_of_delta(part, first=first, news=news)
        if first and (pieces or part.word is not None):
            content.open(index)
        return pieces if part.word is None else self._with_finish(part, pieces)

    def _note_content(self, part: Part) -> None:
        """Note what a delta says, and that its choice goes on."""
        count(self._report.characters_in, part.delta)
        if self._holdback.ends:
            self._holdback.goes_on(part.index, text=bool(part.delta.get("content")))
        self._stages.content.sent_texts.add(part.index, part.delta)

    def _read_content(self, part: Part, *, called: bool) -> None:
        """Find the delta of a choice, and the text in it; ``called``: the choice has calls."""
        if "delta" not in part.choice and isinstance(part.choice.get("text"), str):
            if self._found(OTHER_ENDPOINT):
                part.edit()["delta"] = {"content": part.choice.pop("text")}
        self._stages.content.read(part, called=called)
        if self._markup is not None:
            self._read_markup(self._markup, part)

    def _answers_calls(self, index: int, delta: Delta) -> bool:
        """Whether a delta shows that the server has run the calls of its choice itself.

        Such a delta has the result of a tool, or text after calls that are complete. Calls that
        were read in the text are the model's own: text after them shows nothing.
        """
        if delta.get("tool_calls"):
            return False
        content = delta.get("content")
        goes_on = isinstance(content, str) and bool(content.strip()) and not self._holdback.ends
        goes_on = goes_on and self._markup is None
        return "tool_results" in delta or (goes_on and self._stages.tools.whole(index))

    def _begin(self, index: int) -> None:
        """A choice appears that has not been seen."""
        holdback = self._holdback
        if self._stages.choices.single and holdback.holding:
            # nobody asked for a second answer: the first one is over, and can be sent
            holdback.release_finishes(final=False)
        holdback.order[index] = None
        self._kept.size += CHOICE
        draft = holdback.taken_up(index)
        if draft is not None:
            self.take(draft)

    def _pieces_of_delta(self, part: Part, *, first: bool, news: bool) -> list[_Piece]:
        delta = part.delta
        if delta.get("tool_calls") or delta.get("function_call"):
            return self._pieces_of_calls(part, first=first)
        nothing = part.word is None and not part.says and not first and not news
        if nothing and self._stages.content.says_nothing(part):
            if self._found(content_stage.SAYS_NOTHING):
                return []
        return [_Piece(part.choice)]

    def _bare_finish(self, part: Part) -> _Piece:
        """The one piece of a choice that finishes and says nothing else."""
        self._empty_delta(part)
        return _Piece(part.choice, word=part.word.reason if part.word is not None else "stop")

    def _with_finish(self, part: Part, pieces: list[_Piece]) -> list[_Piece]:
        """The pieces of a choice that finishes: the finish is the last, on its own."""
        if not pieces:
            return [self._bare_finish(part)]
        word = part.word.reason if part.word is not None else "stop"
        choice = part.choice
        if len(pieces) == 1 and self._stay_together(part.index, pieces[0].fragments):
            return [_Piece(choice, word=word)]
        part.edit()
        # readers that stop at the finish would lose the text on the same chunk
        text, finish = split(choice, self._blank)
        for piece in pieces:
            if piece.choice is choice:
                piece.choice = text
        return [*pieces, _Piece(finish, word=word)]

    def _stay_together(self, index: int, fragments: list[Fragment]) -> bool:
        """Whether a finish stays on the chunk of the content that it came with."""
        if fragments:
            self._stages.tools.decide(index)
        decided = not any(fragment.gone or fragment.changed for fragment in fragments)
        if self._options.finish == "keep" and decided:
            return True
        return not self._found(FINISH_WITH_CONTENT) and decided

    def _empty_delta(self, part: Part) -> None:
        """Remove what is not null from the delta of a finish that has no news beside it."""
        delta = part.delta
        if not delta:
            return  # as in most
        if _NEVER_ON_FINISH.isdisjoint(delta) and all(item is None for item in delta.values()):
            return
        self._found(content_stage.MEMBER_EMPTY)
        part.edit()["delta"] = dict.fromkeys(key for key in delta if key not in DECLARED)

    # ------------------------------------------------------------------ calls

    def _pieces_of_calls(self, part: Part, *, first: bool) -> list[_Piece]:
        """The fragments of a delta in pieces, none of which has a call's head and its arguments."""
        choice, delta = part.choice, part.delta
        fragments = self._stages.tools.read(part)
        self._holdback.leave_decided(part.index)
        if not fragments:
            return self._pieces_without_fragments(part, first=first)
        if not part.changed:
            return [_Piece(choice, fragments)]
        pieces: list[_Piece] = []
        if fragments[0].head and any(delta.get(key) for key in _TEXTS):
            del delta["tool_calls"]
            pieces.append(_Piece(choice))
        # a reader that keeps the first fragment of a call loses arguments on the same chunk
        for group in _groups(fragments):
            values = [fragment.value for fragment in group]
            if pieces:
                made = self._blank.choice(part.index, {"tool_calls": values})
                pieces.append(_Piece(made, group))
            else:
                delta["tool_calls"] = values
                pieces.append(_Piece(choice, group))
        return pieces

    def _pieces_without_fragments(self, part: Part, *, first: bool) -> list[_Piece]:
        """A delta with a piece of a name that waits, fragments without one, or a legacy call."""
        delta = part.delta
        if delta.get("tool_calls") or "function_call" not in delta:
            part.edit()
            delta.pop("tool_calls", None)
        news = any(value for key, value in delta.items() if key not in ("role", "tool_calls"))
        return [_Piece(part.choice)] if news or (delta and first) else []

    # ------------------------------------------------------------------ markup

    def _read_markup(self, markup: Markup, part: Part) -> None:
        """Take what the model wrote into its text out of it."""
        delta, ends = part.delta, part.word is not None
        deltas = markup.read(part.index, dict(delta), ends=ends)
        if deltas == [delta]:
            return
        *earlier, last = deltas
        for one in earlier:
            self._take_delta(part.index, one)
        part.edit()["delta"] = part.delta = {} if ends and last == {"content": ""} else last

    def _take_delta(self, index: int, delta: Delta) -> None:
        """Take a delta of our own making."""
        choice: Choice = {"index": index, "delta": delta, "finish_reason": None}
        draft = self._stages.envelope.chunk([choice])
        part = Part(draft, choice)
        part.index = index
        # what was read once must not be read as markup again
        markup, self._markup = self._markup, None
        self._send(draft, part, self._pieces(part, news=False), first=True)
        self._markup = markup

    # ------------------------------------------------------------------ legacy completions

    def _pieces_of_text(self, part: Part) -> list[_Piece]:
        """A choice of a legacy completion: its finish stays on the text that it came with."""
        choice, index = part.choice, part.index
        if "text" not in choice or "delta" in choice:
            if self._found(OTHER_ENDPOINT):
                _as_text(part.edit())
        self._stages.content.read_text(part)
        self._blank.learn(part)
        count_text(self._report.characters_in, choice.get("text"))
        if choice.get("text") and self._holdback.ends:
            self._holdback.goes_on(index, text=True)
        return [_Piece(choice, word=part.word.reason if part.word is not None else None)]


class _Piece:
    """A choice that gets a chunk of its own, the fragments of calls in it, and its finish word."""

    __slots__ = ("choice", "fragments", "word")

    def __init__(
        self, choice: Choice, fragments: list[Fragment] | None = None, word: str | None = None
    ) -> None:
        self.choice = choice
        self.fragments = fragments or []
        self.word = word


def _says(delta: Delta) -> bool:
    """Whether a delta has something in it beside its role."""
    for key, value in delta.items():  # noqa: SIM110 - `any` would cost more than all else here
        if value and key != "role":
            return True
    return False


def _only_text(delta: Delta) -> str | None:
    """The content or reasoning of a delta that has nothing else but empty members."""
    found = None
    for key, value in delta.items():
        if type(value) is str and value and key in _PLAIN and found is None:
            found = value
        elif value or (key in _READ and (key, value) != ("content", "")):
            return None
    return found


def _groups(fragments: list[Fragment]) -> list[list[Fragment]]:
    """Fragments that may share a chunk: heads, or arguments of calls whose heads are gone."""
    groups: list[list[Fragment]] = []
    heads: set[Call] = set()
    for fragment in fragments:
        follows = not fragment.head and fragment.call in heads
        begins = fragment.head and not heads
        if not groups or follows or begins:
            groups.append([])
            heads = set()
        groups[-1].append(fragment)
        if fragment.head:
            heads.add(fragment.call)
    return groups


def _as_text(choice: Choice) -> None:
    """Make a choice of a legacy completion of a chat's."""
    delta: Any = choice.pop("delta", None)
    delta = delta if isinstance(delta, dict) else {}
    text = choice.get("text")
    if not isinstance(text, str):
        text = delta.get("content") or delta.get("text") or text or ""
    choice["text"] = text if isinstance(text, str) else dumps(text).decode()
    for key, value in delta.items():
        # its index is known, and of a delta in the delta nothing can be made
        if key not in ("role", "content", "text", "index", "delta") and value:
            choice[key] = value
