"""Options: one table, what it takes, and what it says about what it does not take."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import httpx
import pytest

from normalizer import (
    NormalizerError,
    NormalizingMiddleware,
    NormalizingTransport,
    OptionError,
    Options,
)
from normalizer.cassette import CassetteError, UnmatchedRequestError
from normalizer.cassette.server import BrokenRecordingError
from normalizer.core.options import FIELDS, OTHER_VARIABLES, OptionFields
from normalizer.proxy import UpstreamError

ROOT = Path(__file__).parents[1]


# ---------------------------------------------------------------- codes


@pytest.mark.parametrize("option", ["select", "ignore", "silence"])
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("foo", "'foo', which is no code, prefix of codes or name"),
        ("Z9", "'Z9', which is no code"),
        ("S5O4", "did you mean 'S504'"),
        ("T4O", "did you mean 'T40'"),
        ("S5044", "did you mean 'S504'"),
        ("finish-with-contents", "did you mean 'finish-with-content'"),
        ("", "''"),
    ],
)
def test_a_code_that_is_none_is_told(option: str, given: str, told: str) -> None:
    fields: dict[str, Any] = {option: (given,)}
    with pytest.raises(OptionError, match=re.escape(told)) as raised:
        Options(**fields)
    assert str(raised.value).startswith(f"{option} has")
    with pytest.raises(OptionError):
        NormalizingTransport(**fields)
    with pytest.raises(OptionError):
        NormalizingMiddleware(httpx.ASGITransport, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (("s505",), ("S505",)),
        (["S505"], ("S505",)),
        ("S505,u6", ("S505", "U6")),
        ({"u6", "e2"}, ("E2", "U6")),
        (("finish-with-content", "Finish_With_Content", " t4 "), ("S504", "S504", "T4")),
        ((), ()),
        ("", ()),
    ],
)
def test_names_and_lower_case_are_taken(given: Any, kept: tuple[str, ...]) -> None:
    assert Options(ignore=given).ignore == kept
    assert hash(Options(ignore=given)) == hash(Options(ignore=kept))


def test_the_structural_are_refused_with_the_way_out() -> None:
    with pytest.raises(OptionError, match=r"'F103', but F103 .* is structural.*silence='F103'"):
        Options(ignore="F103")
    assert Options(ignore=("F1",), silence="F103").silence == ("F103",)


# ---------------------------------------------------------------- other values


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"finish_timeout": float("nan")}, "finish_timeout is nan; it is a number above 0"),
        ({"finish_timeout": 0}, "finish_timeout is 0"),
        ({"max_event_bytes": 0.5}, "max_event_bytes is 0.5; it is a whole number above 0"),
        ({"max_event_bytes": True}, "max_event_bytes is True"),
        ({"text_tool_calls": ("nope",)}, "text_tool_calls has 'nope'; there are hermes"),
        ({"text_tool_calls": "hermse"}, "did you mean 'hermes'"),
        ({"reasoning": "reasonning"}, "did you mean 'reasoning'"),
        ({"reasoning": ["both"]}, "reasoning is ['both']; it is one of"),
        ({"think_tags": 1}, "think_tags is 1; it is True or False"),
        ({"ignore": 1}, "ignore is 1; it is a list of names"),
        ({"ignore": (1,)}, "ignore is (1,); it is a list of names, not of 1"),
        ({"ignore": b"S505"}, "it is a list of names"),
        ({"paths": "api/chat"}, "paths has 'api/chat'; a path begins with /"),
        ({"paths": "/"}, "paths has '/'"),
        ({"paths": "/api/chat=chatt"}, "did you mean 'chat'?"),
    ],
)
def test_a_wrong_value_is_told(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionError, match=re.escape(told)):
        Options(**fields)
    with pytest.raises(OptionError, match=re.escape(told)):
        NormalizingTransport(**fields)


def test_lists_are_kept_as_tuples() -> None:
    options = Options(text_tool_calls=["Hermes", "react"], paths="/api/chat/, /x=completions")
    assert options.text_tool_calls == ("hermes", "react")
    assert options.paths == ("/api/chat", "/x=completions")


def test_a_transport_is_one() -> None:
    with pytest.raises(TypeError, match="transport is 123, which has neither handle_request"):
        NormalizingTransport(123)
    for wrong in ({}, {"ignore": 1}):
        with pytest.raises(OptionError, match="it is an Options"):
            NormalizingTransport(options=wrong)  # type: ignore[arg-type]


# ---------------------------------------------------------------- the environment


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"NORMALIZER_REASONNING": "both"}, "did you mean 'NORMALIZER_REASONING'"),
        ({"NORMALIZER_IGNORE": "S5O4"}, "NORMALIZER_IGNORE has 'S5O4'"),
        ({"NORMALIZER_MAX_EVENT_BYTES": "0.5"}, "NORMALIZER_MAX_EVENT_BYTES is '0.5'; it is a who"),
        ({"NORMALIZER_FINISH_TIMEOUT": "nan"}, "NORMALIZER_FINISH_TIMEOUT is nan"),
        ({"NORMALIZER_THINK_TAGS": "maybe"}, "it is 1 or 0"),
        (
            {"NORMALIZER_FINISH": "spilt"},
            "NORMALIZER_FINISH is 'spilt'; it is one of split, keep; did you",
        ),
    ],
)
def test_a_wrong_variable_is_told(environ: Mapping[str, str], told: str) -> None:
    with pytest.raises(OptionError, match=re.escape(told)):
        Options.from_environ(environ)


def test_variables_of_others_are_left_alone() -> None:
    service = {
        "NORMALIZER_SERVICE_HOST": "10.0.0.1",
        "NORMALIZER_SERVICE_PORT": "8900",
        "NORMALIZER_SERVICE_PORT_HTTP": "8900",
        "NORMALIZER_PORT": "tcp://10.0.0.1:8900",
        "NORMALIZER_PORT_8900_TCP": "tcp://10.0.0.1:8900",
        "NORMALIZER_PORT_8900_TCP_ADDR": "10.0.0.1",
        "NORMALIZER_PROXY_SERVICE_HOST": "10.0.0.2",
        "NORMALIZER_PROXY_PORT_8900_TCP_PROTO": "tcp",
    }
    others = dict.fromkeys(OTHER_VARIABLES, "x")
    assert Options.from_environ({**service, **others, "PATH": "/bin"}) == Options()


def test_each_kind_of_variable_is_read() -> None:
    said = {"MODE": "report", "IGNORE": "s505, U6", "THINK_TAGS": "Yes", "CUMULATIVE": "0"}
    said |= {"MAX_EVENT_BYTES": "1024", "FINISH_TIMEOUT": "1.5", "PATHS": "/api/chat"}
    options = Options.from_environ({f"NORMALIZER_{name}": value for name, value in said.items()})
    assert options == Options(
        mode="report",
        ignore=("S505", "U6"),
        think_tags=True,
        max_event_bytes=1024,
        finish_timeout=1.5,
        paths=("/api/chat",),
    )
    given = Options.from_environ({"NORMALIZER_USAGE": "drop"}, usage="finish")
    assert given.usage == "finish"


# ---------------------------------------------------------------- the table


def test_the_keywords_are_the_fields() -> None:
    assert get_type_hints(OptionFields) == get_type_hints(Options)
    assert list(OptionFields.__annotations__) == list(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_is_told_everywhere(name: str) -> None:
    field = FIELDS[name]
    assert field.help.endswith(".")
    assert f"``{name}``" in (Options.__doc__ or "")
    assert bool(field.unit) == (field.hint in (int, float))
    page = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    assert f"## {name}" in page
    assert field.variable in page
    assert field.flag in page


def test_the_page_is_fresh() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "options", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_no_file_of_rules_is_read_to_check_a_code() -> None:
    script = (
        "import sys; from normalizer import Options; Options(ignore='finish-with-content,S505');"
        "from normalizer import catalogue as deviations;"
        "print(deviations._rules.cache_info().currsize)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n"


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("error", "also"),
    [
        (OptionError, ValueError),
        (CassetteError, ValueError),
        (UpstreamError, ValueError),
        (UnmatchedRequestError, LookupError),
        (BrokenRecordingError, ConnectionAbortedError),
    ],
)
def test_there_is_one_root(error: type[Exception], also: type[Exception]) -> None:
    assert issubclass(error, NormalizerError)
    assert issubclass(error, also)
