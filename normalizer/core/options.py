"""The options, and where they come from: keywords or NORMALIZER_* variables.

The fields of `Options` are the only table of the options. The flags of the command line, the
variables and docs/options.md are generated from it. `OptionFields` repeats the types of the fields
for type checkers.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, TypedDict, get_args, get_origin, get_type_hints

from normalizer.core.exceptions import OptionError as OptionError

PREFIX = "NORMALIZER_"

# Variables of this project that are not options.
OTHER_VARIABLES = frozenset((f"{PREFIX}CONFIG",))

# Kubernetes sets these in every pod beside a service whose name begins with "normalizer".
_OF_A_SERVICE = re.compile(
    r"(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


class OptionFields(TypedDict, total=False):
    """The fields of `Options` as keyword arguments."""

    mode: Literal["repair", "report"]
    select: Sequence[str]
    ignore: Sequence[str]
    silence: Sequence[str]
    reasoning: Literal["reasoning_content", "reasoning", "both", "keep"]
    comments: Literal["keep", "drop"]
    finish: Literal["split", "keep"]
    unfinished: Literal["error", "keep"]
    usage: Literal["request", "chunk", "finish", "drop"]
    extras: Literal["keep", "drop"]
    think_tags: bool
    think_markup: Sequence[str]
    special_tokens: bool
    cumulative: bool
    text_tool_calls: Sequence[str]
    empty_blocks: Literal["keep", "drop"]
    paths: Sequence[str]
    stages: Sequence[str]
    max_event_bytes: int
    max_held_bytes: int
    max_response_bytes: int
    finish_timeout: float
    unknown_events: Literal["auto", "keep", "ride", "drop-private"]
    terminal: Literal["keep", "strict"]


def _option(default: Any, text: str, *, unit: str = "", kind: str = "") -> Any:
    """Declare a field. ``kind`` is the kind of names that a list has."""
    return dataclasses.field(default=default, metadata={"help": text, "unit": unit, "kind": kind})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of one stream. Every field has a default.

    Raises `OptionError` for a value that a field does not accept. The message names the nearest
    value that it accepts. A list of names is a sequence, or one string with commas. It is stored as
    a tuple.

    Example::

        Options(reasoning="reasoning", ignore=("U601", "finish-with-content"))

    * ``mode``: ``"repair"`` repairs the answer. ``"report"`` changes no byte and only makes the
      report.
    * ``select`` / ``ignore``: deviations by code, prefix of codes (``"T4"``) or name, in upper or
      lower case. An empty ``select`` selects all deviations. ``ignore`` removes some of them. A
      deviation that is off is not repaired and not reported. A structural deviation
      (`normalizer.core.findings.Deviation`) is always on: a prefix in ``ignore`` skips it, and its
      code or name in ``ignore`` is an `OptionError`.
    * ``silence``: deviations to repair, but to keep out of the report and the log. It accepts the
      same names as ``ignore``.
    * ``reasoning``: the name of the member that holds reasoning. ``"both"`` sends it under both
      names. ``"keep"`` keeps the name that the upstream uses.
    * ``comments``: keep or drop SSE comments. Comments keep idle connections open.
    * ``finish``: ``"split"`` puts a finish on a chunk of its own. ``"keep"`` leaves it on the chunk
      with the last content.
    * ``unfinished``: what becomes of an answer whose body ends cleanly before its finish.
      ``"error"`` ends it with an error of type ``upstream_truncated``. ``"keep"`` sends it without
      a finish and adds ``[DONE]``, for upstreams that never send a finish. A broken connection
      always ends in the error.
    * ``usage``: ``"request"`` follows the request (``stream_options.include_usage``). ``"chunk"``
      always sends a chunk of its own. ``"finish"`` puts the usage on the finish. ``"drop"`` sends
      none.
    * ``extras``: keep or drop members that the OpenAI API does not declare.
    * ``think_tags``: turn marked reasoning at the start of the text into reasoning: ``<think>``,
      ``<thinking>``, ``<thought>``, ``<reasoning>``, ``[THINK]`` and the like, and the channels of
      gpt-oss. This is a guess. It is off by default.
    * ``think_markup``: the same for the kinds of markup that it lists: ``"tags"`` and
      ``"harmony"``, which ``think_tags`` stands for, ``"granite"`` (``Here is my thought
      process:``), and ``"prompt"``, if the template opens the reasoning and the answer only closes
      it (DeepSeek-R1): all text is reasoning up to ``</think>``.
    * ``text_tool_calls``: turn tool calls in the text into tool calls, in the dialects that it
      lists. This is a guess. It is off by default. There are ``"hermes"`` (Qwen too),
      ``"react"``, ``"kimi"``, ``"deepseek"`` (V3, R1, V3.1), ``"dsml"`` (DeepSeek V3.2, V4),
      ``"qwen_coder"`` (Seed-OSS too), ``"glm"``, ``"minimax"``, ``"mistral"``, ``"llama"`` (JSON),
      ``"pythonic"`` (Llama 4, LFM2), ``"harmony"`` (gpt-oss), ``"hunyuan"``, ``"granite"``,
      ``"phi"``.
    * ``special_tokens``, ``cumulative``: repairs that need a guess. They are off by default.
    * ``empty_blocks``: keep or drop text blocks of the Messages API that have no character.
    * ``paths``: endings of more paths to normalize as chats (``"/api/chat"``), or, with
      ``=completions``, ``=responses`` or ``=messages`` at the end, as these APIs.
    * ``stages``: stages of installed packages that run before ours, in this order. The entry points
      in the group ``stream_normalizer.stages`` name them (docs/stages.md).
    * ``max_event_bytes``: the limit in bytes of one event, or of a body that is read whole.
    * ``max_held_bytes``: the limit in bytes of what one stream makes us keep, by estimate, without
      the current event. Above it, held bytes that can be sent unrepaired are sent. Choices, calls
      and fragments without a name cannot: the stream ends with an error of type
      ``upstream_too_large``.
    * ``max_response_bytes``: the limit in bytes of the text that one answer of the Responses API
      makes us keep, because its ends repeat it. Above it, the ends pass as they came.
    * ``unknown_events``: what happens to an event of an unknown type in the Responses API.
      ``"auto"`` puts private ones (``codex.*``) on the next event, under their type's name, if the
      client is known not to be Codex. ``"ride"`` does so with all unknown ones. ``"drop-private"``
      removes private ones. ``"keep"`` sends all.
    * ``terminal``: ``"strict"`` sends a ``response.completed`` with an ``incomplete`` response as
      ``response.incomplete``. ``"keep"`` sends it as it came.
    * ``finish_timeout``: the seconds of silence after which `flush` sends a held finish.
    """

    mode: Literal["repair", "report"] = _option(
        "repair", "Repair the answer, or change no byte and only report."
    )
    select: Sequence[str] = _option(
        (), "Codes, prefixes of codes (T4) or names to look for. Default: all.", kind="codes"
    )
    ignore: Sequence[str] = _option(
        (), "Codes, prefixes of codes or names to ignore.", kind="codes"
    )
    silence: Sequence[str] = _option(
        (),
        "Codes, prefixes of codes or names to repair without a report or log entry.",
        kind="codes",
    )
    reasoning: Literal["reasoning_content", "reasoning", "both", "keep"] = _option(
        "reasoning_content", "The name of the member that holds reasoning."
    )
    comments: Literal["keep", "drop"] = _option(
        "keep", "Keep comments (for idle connections), or drop them (for simple front ends)."
    )
    finish: Literal["split", "keep"] = _option(
        "split", "Put the finish on a chunk of its own, or keep it with the last content."
    )
    unfinished: Literal["error", "keep"] = _option(
        "error",
        "If the body ends before the finish: end with an error, or keep the answer.",
    )
    usage: Literal["request", "chunk", "finish", "drop"] = _option(
        "request",
        "Where to put the usage: where the request asks for it, on a chunk of its own, on the "
        "finish, or nowhere.",
    )
    extras: Literal["keep", "drop"] = _option(
        "keep", "Keep or drop members that OpenAI's API does not declare."
    )
    think_tags: bool = _option(False, "Turn <think>…</think> in the text into reasoning.")
    think_markup: Sequence[str] = _option(
        (), "Markup of reasoning to look for: tags, harmony, granite, prompt.", kind="markups"
    )
    special_tokens: bool = _option(False, "Remove special tokens such as <|im_end|> from the text.")
    cumulative: bool = _option(
        False, "Send only the new text of chunks that repeat all the text so far."
    )
    text_tool_calls: Sequence[str] = _option(
        (),
        "Dialects of tool calls to look for in the text: hermes, kimi, qwen_coder and others.",
        kind="names",
    )
    empty_blocks: Literal["keep", "drop"] = _option(
        "keep", "Empty text blocks of the Messages API, which the next request must not have."
    )
    paths: Sequence[str] = _option(
        (),
        "Endings of more paths to normalize, as chats (/api/chat), as legacy completions "
        "(/api/complete=completions) or as the Responses API (/api/agent=responses).",
        kind="paths",
    )
    stages: Sequence[str] = _option(
        (), "Stages of installed packages that repair before ours, in this order.", kind="stages"
    )
    max_event_bytes: int = _option(
        8 * 1024 * 1024, "Limit of one event, or of one JSON body, in bytes.", unit="bytes"
    )
    max_held_bytes: int = _option(
        8 * 1024 * 1024,
        "Limit of what one stream makes us keep, without the current event, in bytes.",
        unit="bytes",
    )
    max_response_bytes: int = _option(
        32 * 1024 * 1024,
        "Limit of the text that one answer of the Responses API makes us keep, in bytes.",
        unit="bytes",
    )
    finish_timeout: float = _option(
        2.0, "Silence after which a held finish is sent, in seconds.", unit="seconds"
    )
    unknown_events: Literal["auto", "keep", "ride", "drop-private"] = _option(
        "auto",
        "Responses API: send events of unknown types, put them on the next event, or remove "
        "private ones. auto: private ones are put on it if the client is not Codex.",
    )
    terminal: Literal["keep", "strict"] = _option(
        "keep",
        "Responses API: keep or correct a response.completed whose response is incomplete.",
    )

    def __post_init__(self) -> None:
        for name, field in FIELDS.items():
            value = getattr(self, name)
            accepted = field.accepted(value)
            if accepted is not value:
                object.__setattr__(self, name, accepted)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None, **given: Any) -> Options:
        """Read options from ``NORMALIZER_<FIELD>`` variables. Keywords ``given`` here win.

        Commas separate the names of a list. 1, true, yes and on are true. Raises `OptionError` for
        a bad value, and for a ``NORMALIZER_`` variable that is not an option.

        Example::

            Options.from_environ({"NORMALIZER_REASONING": "both", "NORMALIZER_IGNORE": "U6,F117"})
        """
        environ = os.environ if environ is None else environ
        for name in given:
            if name not in FIELDS:
                raise OptionError(
                    f"no such option: {name}{near(name, FIELDS)} (there are {', '.join(FIELDS)})"
                )
        check_variables(environ)
        values = {
            name: field.read(environ[field.variable])
            for name, field in FIELDS.items()
            if name not in given and field.variable in environ
        }
        return cls(**{**values, **given})


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """One option as its users see it.

    * ``hint``: its type.
    * ``help``: one sentence.
    * ``unit``: the unit of a number, or "".
    * ``kind``: what a list contains, ``"codes"``, ``"names"``, ``"markups"``, ``"paths"`` or
      ``"stages"``, or "".
    * ``values``: the words that it accepts, if it is one word.
    """

    name: str
    hint: Any
    default: Any
    help: str
    unit: str
    kind: str

    @property
    def variable(self) -> str:
        """The environment variable. Example: ``NORMALIZER_FINISH_TIMEOUT``."""
        return f"{PREFIX}{self.name.upper()}"

    @property
    def flag(self) -> str:
        """The command-line flag. Example: ``--finish-timeout``."""
        return "--" + self.name.replace("_", "-")

    @property
    def values(self) -> tuple[str, ...]:
        return get_args(self.hint) if get_origin(self.hint) is Literal else ()

    def read(self, text: str) -> Any:
        """Parse the text of the variable. Raises `OptionError` that names the variable."""
        value: Any = text
        if self.hint is bool:
            word = text.strip().lower()
            value = word in _YES
            if not value and word not in _NO:
                raise OptionError(f"{self.variable} is {text!r}; it is 1 or 0")
        elif self.hint in (int, float):
            try:
                value = self.hint(text)
            except ValueError:
                wanted = "a whole number" if self.hint is int else "a number"
                raise OptionError(f"{self.variable} is {text!r}; it is {wanted}") from None
        return self.accepted(value, self.variable)

    def accepted(self, value: Any, where: str = "") -> Any:
        """Return the value as it is stored. Raises `OptionError` for a bad value."""
        where = where or self.name
        if self.kind:
            return self._names(value, where)
        if self.values:
            if value not in self.values:
                raise OptionError(
                    f"{where} is {value!r}; it is one of {', '.join(self.values)}"
                    f"{near(value, self.values)}"
                )
        elif self.hint is bool:
            if not isinstance(value, bool):
                raise OptionError(f"{where} is {value!r}; it is True or False")
        elif self.hint is int:
            if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
                raise OptionError(f"{where} is {value!r}; it is a whole number above 0")
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            raise OptionError(f"{where} is {value!r}; it is a number above 0")
        return value

    def _names(self, value: Any, where: str) -> tuple[str, ...]:
        given = value
        if isinstance(value, str):
            value = [part for part in value.split(",") if part.strip()]
        elif not isinstance(value, (Sequence, set, frozenset)) or isinstance(value, bytes):
            raise OptionError(f"{where} is {given!r}; it is a list of names")
        for one in value:
            if not isinstance(one, str):
                raise OptionError(f"{where} is {given!r}; it is a list of names, not of {one!r}")
        if isinstance(value, (set, frozenset)):
            value = sorted(value)
        parse = {
            "codes": self._code,
            "names": self._dialect,
            "paths": self._path,
            "markups": self._markup,
            "stages": self._stage,
        }[self.kind]
        names = tuple(parse(one.strip(), where) for one in value)
        return given if isinstance(given, tuple) and names == given else names

    def _code(self, given: str, where: str) -> str:
        # The stages that declare the deviations import this module.
        from normalizer import catalogue as deviations

        code = deviations.code_of(given)
        if code is None:
            known = deviations.known()
            words = [*(one.code for one in known), *(one.name for one in known)]
            guess = deviations.misread(given)
            hint = f"; did you mean {guess!r}?" if guess else near(given.upper(), words)
            raise OptionError(
                f"{where} has {given!r}, which is no code, prefix of codes or name of a "
                f"deviation{hint or near(given.lower(), words)} "
                "(`stream-normalizer rules` lists them)"
            )
        if self.name == "ignore" and code in deviations.STRUCTURAL:
            name = deviations.deviation(code).name
            raise OptionError(
                f"{where} has {given!r}, but {code} ({name}) is structural and always "
                f"repaired; silence={code!r} keeps it out of the report"
            )
        return code

    def _dialect(self, given: str, where: str) -> str:
        from normalizer.wires.chat.markup.text_calls import DIALECTS

        return _one_of(DIALECTS, given, where)

    def _markup(self, given: str, where: str) -> str:
        from normalizer.wires.chat.markup.thinking import MARKUPS

        return _one_of(MARKUPS, given, where)

    def _stage(self, given: str, where: str) -> str:  # noqa: ARG002
        from normalizer import stages

        stages.load(given)  # which names the option itself
        return given

    def _path(self, given: str, where: str) -> str:
        path, equals, endpoint = given.partition("=")
        # Vertex AI puts a verb behind a colon: /v1/…/models/m:streamRawPredict
        if (
            not path.startswith(("/", ":"))
            or path in ("/", ":")
            or any(mark in path for mark in "?#")
        ):
            raise OptionError(f"{where} has {given!r}; a path begins with / and has no query")
        if equals and endpoint not in ENDPOINTS:
            raise OptionError(
                f"{where} has {given!r}; behind = stands one of {', '.join(ENDPOINTS)}"
                f"{near(endpoint, ENDPOINTS)}"
            )
        return f"{path.rstrip('/')}{equals}{endpoint}"


def _one_of(names: Collection[str], given: str, where: str) -> str:
    name = given.lower()
    if name not in names:
        raise OptionError(f"{where} has {given!r}; there are {', '.join(names)}{near(name, names)}")
    return name


def near(word: object, words: Collection[str]) -> str:
    """Return ``"; did you mean 'x'?"`` with the most similar word, or ``""``."""
    import difflib

    found = difflib.get_close_matches(word, words, 1) if isinstance(word, str) else []
    return f"; did you mean {found[0]!r}?" if found else ""


def check_variables(environ: Mapping[str, str], *, besides: Collection[str] = ()) -> None:
    """Raise `OptionError` for a ``NORMALIZER_*`` variable that is not an option.

    ``besides`` lists more variables to accept. Variables that Kubernetes sets for a service are
    accepted too.
    """
    known = {field.variable for field in FIELDS.values()} | OTHER_VARIABLES
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in known or name in besides:
            continue
        if _OF_A_SERVICE.fullmatch(name.removeprefix(PREFIX)) is None:
            raise OptionError(
                f"{name} is no option{near(name, known)} (there are {', '.join(sorted(known))})"
            )


ENDPOINTS = ("chat", "completions", "responses", "messages")
_YES = ("1", "true", "yes", "on")
_NO = ("0", "false", "no", "off", "")


def _fields() -> dict[str, Field]:
    hints = get_type_hints(Options)
    return {
        one.name: Field(
            name=one.name,
            hint=hints[one.name],
            default=one.default,
            help=one.metadata.get("help", ""),
            unit=one.metadata.get("unit", ""),
            kind=one.metadata.get("kind", ""),
        )
        for one in dataclasses.fields(Options)
    }


FIELDS: Mapping[str, Field] = _fields()
