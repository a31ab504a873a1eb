"""What a user may choose, and where the choice comes from: keywords or NORMALIZER_* variables.

The fields of `Options` are the one table of the options. The flags of the command line, the
variables and docs/options.md are made of it; `OptionFields` repeats its types for type checkers.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, TypedDict, get_args, get_origin, get_type_hints

from normalizer.core.exceptions import OptionError as OptionError

PREFIX = "NORMALIZER_"

# Variables of this project that are no options.
OTHER_VARIABLES = frozenset((f"{PREFIX}CONFIG",))

# Kubernetes sets these in every pod beside a service whose name begins with "normalizer".
_OF_A_SERVICE = re.compile(
    r"(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


class OptionFields(TypedDict, total=False):
    """The fields of `Options` as keywords, for those who take them so."""

    mode: Literal["repair", "report"]
    select: Sequence[str]
    ignore: Sequence[str]
    silence: Sequence[str]
    reasoning: Literal["reasoning_content", "reasoning", "both", "keep"]
    comments: Literal["keep", "drop"]
    finish: Literal["split", "keep"]
    usage: Literal["request", "chunk", "finish", "drop"]
    extras: Literal["keep", "drop"]
    think_tags: bool
    think_markup: Sequence[str]
    special_tokens: bool
    cumulative: bool
    text_tool_calls: Sequence[str]
    paths: Sequence[str]
    max_event_bytes: int
    max_held_bytes: int
    finish_timeout: float


def _option(default: Any, text: str, *, unit: str = "", kind: str = "") -> Any:
    """A field; ``kind`` says of a list of names what they name."""
    return dataclasses.field(default=default, metadata={"help": text, "unit": unit, "kind": kind})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything that can be chosen about one stream; every field has a default.

    Raises `OptionError` for a value that a field cannot take, with the nearest one that it can.
    Lists of names are taken as any sequence or as one string with commas, and kept as tuples.

    Example::

        Options(reasoning="reasoning", ignore=("U601", "finish-with-content"))

    * ``mode``: ``"repair"``, or ``"report"``: the bytes pass untouched, only the report is made.
    * ``select`` / ``ignore``: deviations by code, prefix of codes (``"T4"``) or name, in any case.
      An empty ``select`` is all of them; ``ignore`` is taken away from it. What is off is not
      repaired or reported. Structural deviations (`normalizer.core.findings.Deviation`) cannot be
      switched off: a prefix leaves them on, and one by its code or name is an `OptionError`.
    * ``silence``: the same kinds of names; what is repaired, but kept out of report and log.
    * ``reasoning``: the one name that reasoning goes by, ``"both"``, or ``"keep"`` as it came.
    * ``comments``: keep or drop SSE comments, which carry idle connections.
    * ``finish``: ``"split"`` puts a finish on a chunk of its own, ``"keep"`` leaves it with the
      last content that it came with.
    * ``usage``: ``"request"`` does what the request asked for (``stream_options.include_usage``),
      ``"chunk"`` always sends a chunk of its own, ``"finish"`` puts it on the finish, ``"drop"``
      sends none.
    * ``extras``: keep or drop fields that the OpenAI API does not know.
    * ``think_tags``: take reasoning that is marked up in the text out of it, by ``<think>``,
      ``<thinking>``, ``<thought>``, ``<reasoning>``, ``[THINK]`` and the like, or by the channels
      of gpt-oss. It needs a guess and is off unless asked for.
    * ``think_markup``: the same for the kinds of markup that it names: ``"tags"`` and
      ``"harmony"``, which ``think_tags`` stands for, ``"granite"`` (``Here is my thought
      process:``), and ``"prompt"``, where the template opens the reasoning and the answer only
      closes it (DeepSeek-R1): all text is reasoning up to ``</think>``.
    * ``text_tool_calls``: take tool calls that are written into the text out of it, in the dialects
      that it names. It needs a guess and is off unless asked for. There are ``"hermes"`` (Qwen
      too), ``"react"``, ``"kimi"``, ``"deepseek"`` (V3, R1, V3.1), ``"dsml"`` (DeepSeek V3.2, V4),
      ``"qwen_coder"`` (Seed-OSS too), ``"glm"``, ``"minimax"``, ``"mistral"``, ``"llama"`` (JSON),
      ``"pythonic"`` (Llama 4, LFM2), ``"harmony"`` (gpt-oss), ``"hunyuan"``, ``"granite"``,
      ``"phi"``.
    * ``special_tokens``, ``cumulative``: repairs that need a guess and are off unless asked for.
    * ``paths``: ends of further paths whose answers are chats' (``"/api/chat"``), or, with
      ``=completions`` behind, legacy completions'.
    * ``max_event_bytes``: bytes that one event, or a body that has to be read whole, may have.
    * ``max_held_bytes``: bytes that one stream may make us keep beside the event at hand, by
      estimate. Beyond it what may leave unrepaired leaves; for calls, choices and fragments
      without a name the stream ends with an error of type ``upstream_too_large``.
    * ``finish_timeout``: seconds of silence after which a held finish is let go by `flush`.
    """

    mode: Literal["repair", "report"] = _option(
        "repair", "Repair, or pass the bytes untouched and only report."
    )
    select: Sequence[str] = _option(
        (), "Codes, prefixes of codes (T4) or names to look for; none: all.", kind="codes"
    )
    ignore: Sequence[str] = _option(
        (), "Codes, prefixes of codes or names to leave alone.", kind="codes"
    )
    silence: Sequence[str] = _option(
        (),
        "Codes, prefixes of codes or names to repair, but to keep out of report and log.",
        kind="codes",
    )
    reasoning: Literal["reasoning_content", "reasoning", "both", "keep"] = _option(
        "reasoning_content", "The name that reasoning goes by."
    )
    comments: Literal["keep", "drop"] = _option(
        "keep", "Comments, which keep idle connections alive, but choke some front ends."
    )
    finish: Literal["split", "keep"] = _option(
        "split", "Put the finish on a chunk of its own, or leave it with the last content."
    )
    usage: Literal["request", "chunk", "finish", "drop"] = _option(
        "request",
        "Where the usage goes: where the request asked for it, on a chunk of its own, on the "
        "finish, nowhere.",
    )
    extras: Literal["keep", "drop"] = _option("keep", "Fields that OpenAI's API does not know.")
    think_tags: bool = _option(False, "Take <think>…</think> in the text for reasoning.")
    think_markup: Sequence[str] = _option(
        (), "Markup of reasoning to look for: tags, harmony, granite, prompt.", kind="markups"
    )
    special_tokens: bool = _option(False, "Take leaked tokens such as <|im_end|> out of the text.")
    cumulative: bool = _option(
        False, "Take chunks that repeat all the text so far for what they add."
    )
    text_tool_calls: Sequence[str] = _option(
        (),
        "Dialects of tool calls to look for in the text: hermes, kimi, qwen_coder and others.",
        kind="names",
    )
    paths: Sequence[str] = _option(
        (),
        "Ends of further paths that answer chats (/api/chat), or legacy completions "
        "(/api/complete=completions).",
        kind="paths",
    )
    max_event_bytes: int = _option(
        8 * 1024 * 1024, "Bytes that one event, or one body of JSON, may have.", unit="bytes"
    )
    max_held_bytes: int = _option(
        8 * 1024 * 1024,
        "Bytes that one stream may make us keep beside the event at hand.",
        unit="bytes",
    )
    finish_timeout: float = _option(
        2.0, "Seconds of silence after which a held finish is let go.", unit="seconds"
    )

    def __post_init__(self) -> None:
        for name, field in FIELDS.items():
            value = getattr(self, name)
            accepted = field.accepted(value)
            if accepted is not value:
                object.__setattr__(self, name, accepted)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None, **given: Any) -> Options:
        """Options from ``NORMALIZER_<FIELD>`` variables; what is ``given`` wins over them.

        Lists are separated by commas, truth is one of 1/true/yes/on. Raises `OptionError`, also
        for a variable of that prefix that is no option.

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

    * ``hint``: its type; ``default``; ``help``: one sentence; ``unit``: of a number, or "".
    * ``kind``: of a list what its names name, ``"codes"``, ``"names"``, ``"markups"`` or
      ``"paths"``; or "".
    * ``values``: of a word the ones that there are.
    """

    name: str
    hint: Any
    default: Any
    help: str
    unit: str
    kind: str

    @property
    def variable(self) -> str:
        """The variable that it may come from. Example: ``NORMALIZER_FINISH_TIMEOUT``."""
        return f"{PREFIX}{self.name.upper()}"

    @property
    def flag(self) -> str:
        """The flag of the command line. Example: ``--finish-timeout``."""
        return "--" + self.name.replace("_", "-")

    @property
    def values(self) -> tuple[str, ...]:
        return get_args(self.hint) if get_origin(self.hint) is Literal else ()

    def read(self, text: str) -> Any:
        """The value that a variable says. Raises `OptionError` with the variable's name."""
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
        """The value in the form that is kept; `OptionError` if the option cannot take it."""
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
        }[self.kind]
        names = tuple(parse(one.strip(), where) for one in value)
        return given if isinstance(given, tuple) and names == given else names

    def _code(self, given: str, where: str) -> str:
        # The stages that declare the deviations import this module.
        from normalizer import catalogue as deviations

        code = deviations.code_of(given)
        if code is None:
            words = [*deviations.CODES, *(one.name for one in deviations.DEVIATIONS)]
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
                f"{where} has {given!r}, but {code} ({name}) is structural: what leaves cannot "
                f"be written without repairing it; silence={code!r} keeps it out of the report"
            )
        return code

    def _dialect(self, given: str, where: str) -> str:
        from normalizer.wires.chat.markup.text_calls import DIALECTS

        return _one_of(DIALECTS, given, where)

    def _markup(self, given: str, where: str) -> str:
        from normalizer.wires.chat.markup.thinking import MARKUPS

        return _one_of(MARKUPS, given, where)

    def _path(self, given: str, where: str) -> str:
        path, equals, endpoint = given.partition("=")
        if not path.startswith("/") or path == "/" or any(mark in path for mark in "?#"):
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
    """``"; did you mean 'x'?"`` with the most similar of the words, or nothing."""
    import difflib

    found = difflib.get_close_matches(word, words, 1) if isinstance(word, str) else []
    return f"; did you mean {found[0]!r}?" if found else ""


def check_variables(environ: Mapping[str, str], *, besides: Collection[str] = ()) -> None:
    """Raise `OptionError` for a ``NORMALIZER_*`` variable that is no option.

    ``besides`` names others that are known. What Kubernetes sets for a service is left alone.
    """
    known = {field.variable for field in FIELDS.values()} | OTHER_VARIABLES
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in known or name in besides:
            continue
        if _OF_A_SERVICE.fullmatch(name.removeprefix(PREFIX)) is None:
            raise OptionError(
                f"{name} is no option{near(name, known)} (there are {', '.join(sorted(known))})"
            )


ENDPOINTS = ("chat", "completions")
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
