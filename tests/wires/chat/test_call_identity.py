"""Which call a fragment belongs to, by the table of call_identity.py alone."""

from __future__ import annotations

from typing import Any

import pytest

from normalizer.wires.chat.call import Call
from normalizer.wires.chat.call_identity import Calls, Meaning, is_object
from normalizer.wires.chat.call_members import Members

WHOLE = '{"q":1}'


def members(ident: str = "", name: str = "", place: int | None = None, text: str = "") -> Members:
    return Members(ident=ident, name=name, place=place, text=text, kind="function", holder={})


def calls(*given: tuple[str, str, int | None, str]) -> Calls:
    """The calls that are open: id, name, index and arguments of each."""
    one = Calls()
    for number, (ident, name, place, arguments) in enumerate(given):
        call = Call(ident, name, place, "function")
        call.given, call.number = ident, number
        call.arguments.add(arguments)
        one.all.append(call)
        one.last = call
        if ident:
            one.by_id[ident] = call
        if place is not None:
            one.by_index[place] = call
    return one


ONE = ("a", "look", 0, "")
BEGUN = ("a", "look", 0, '{"q"')
DONE = ("a", "look", 0, WHOLE)
TWO = ("b", "find", 1, "{")


@pytest.mark.parametrize(
    ("given", "fragment", "call", "meaning"),
    [
        # an id that nobody had, and a name
        ([], members("a", "look", 0), None, "opens"),
        ([BEGUN], members("b", "look", 0), None, "opens"),
        ([ONE], members("b", "look", 0), 0, "head twice"),
        ([ONE], members("b", "find", 0), None, "opens"),
        # an id that nobody had, no name
        ([BEGUN], members("b", "", 0), 0, "continues"),
        # an id that a call has
        ([BEGUN, TWO], members("a", "", 1), 0, "continues"),
        ([BEGUN], members("a", "find", 1), None, "opens"),
        ([BEGUN], members("a", "look", 1, WHOLE), None, "opens"),
        ([BEGUN], members("a", "look", 0), 0, "continues"),
        ([DONE], members("a", "look", 0), 0, "comes again"),
        # no id, a name
        ([], members("", "look"), None, "opens"),
        ([BEGUN], members("", "find", 0), None, "opens"),
        ([ONE], members("", "up", 0), 0, "continues"),
        ([DONE], members("", "look", None, WHOLE), None, "opens"),
        ([DONE], members("", "look", 0, WHOLE), 0, "comes again"),
        # neither
        ([BEGUN], members("", "", None, "1}"), 0, "continues"),
        ([BEGUN, TWO], members("", "", 0, "1}"), 0, "continues"),
        ([BEGUN, TWO], members("", "", 7, "}"), 1, "continues"),
        ([], members("", "", 0, "{"), None, "opens"),
    ],
)
def test_the_table(given: Any, fragment: Members, call: int | None, meaning: Meaning) -> None:
    open_ones = calls(*given)
    found, means = open_ones.of(fragment)
    assert means == meaning
    assert found is (None if call is None else open_ones.all[call])


@pytest.mark.parametrize(
    ("text", "whole"),
    [("{}", True), (" {}\n", True), (WHOLE, True), ("{", False), ("[]", False), ("", False)],
)
def test_complete_objects(text: str, whole: bool) -> None:
    assert is_object(text) is whole
