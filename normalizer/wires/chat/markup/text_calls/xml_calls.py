"""Calls as markup: a tag with the name of the tool, and a tag for each parameter.

A call is held until its own end. Values are text: the tool's schema says what they stand for
(``values.py``). A value may hold the tag that ends values, as a file does that is about such
markup. The tag ends the value only where a parameter or the end of the call follows.

- Qwen3-Coder, Qwen 3.5, Step 3.5, Nemotron 3: `<tool_call><function=f><parameter=k>…`
  https://huggingface.co/Qwen/Qwen3-Coder-480B-A35B-Instruct/blob/main/chat_template.jinja
  The model often leaves `<tool_call>` out: https://github.com/QwenLM/Qwen3-Coder/issues/475
- Seed-OSS: the same in `<seed:tool_call>`
- GLM 4.5 to 5: `<tool_call>f<arg_key>k</arg_key><arg_value>v</arg_value></tool_call>`
  https://huggingface.co/zai-org/GLM-4.6/blob/main/chat_template.jinja
- Hunyuan 3: the same with `<tool_sep>` behind the name, in `<tool_calls>`
  https://github.com/vllm-project/vllm/blob/main/vllm/tool_parsers/hy_v3_tool_parser.py
- MiniMax M2: https://huggingface.co/MiniMaxAI/MiniMax-M2/blob/main/docs/tool_calling_guide.md
- DeepSeek V3.2 and V4, DSML: each parameter says whether it is a string
  https://huggingface.co/deepseek-ai/DeepSeek-V3.2/blob/main/encoding/README.md
  Both names of the section come from both models, or none: sgl-project/sglang#40236. The bars
  come doubled and in other letters: https://github.com/lsdefine/GenericAgent/issues/804

No call: `<function=f>` in prose with no end, a tool that was not offered, other tags inside.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from normalizer.core.findings import Deviation
from normalizer.wires.chat.markup.source import NAME_CHARACTERS, Reading, TextSource
from normalizer.wires.chat.markup.text_calls.dialect import Dialect, Tools, call
from normalizer.wires.chat.markup.text_calls.values import json_of

QWEN_CODER_CALL = Deviation(
    code="T436",
    name="qwen-coder-call-in-text",
    fault="The text has `<function=f><parameter=k>…` (Qwen3-Coder, Seed-OSS).",
    repair="It becomes a tool call.",
    option={"text_tool_calls": ("qwen_coder",)},
)
GLM_CALL = Deviation(
    code="T437",
    name="glm-call-in-text",
    fault="The text has `<tool_call>f<arg_key>…` (GLM, Hunyuan 3).",
    repair="It becomes a tool call.",
    option={"text_tool_calls": ("glm",)},
)
MINIMAX_CALL = Deviation(
    code="T438",
    name="minimax-call-in-text",
    fault="The text has `<minimax:tool_call><invoke name=…>` (MiniMax M2).",
    repair="The section becomes tool calls.",
    option={"text_tool_calls": ("minimax",)},
)
DSML_CALL = Deviation(
    code="T439",
    name="dsml-call-in-text",
    fault="The text or the reasoning has `<｜DSML｜invoke name=…>` (DeepSeek V3.2).",
    repair="The section becomes tool calls.",
    option={"text_tool_calls": ("dsml",)},
)

_NAME = re.compile(r"[^<>\s\"=]*")
_STRING = frozenset({"string"})


class _Member(NamedTuple):
    key: str
    text: str
    types: frozenset[str] | None  # what its tag says of it


class XmlForm(NamedTuple):
    """The tags of a dialect, in the order in which they come.

    * ``call``: stands before the name of each tool; ``""``: the opener does.
    * ``named``: stands behind the name; ``key``: before the name of a parameter.
    * ``keyed``: stands behind that, with the types that it demands if it does.
    * ``value``: begins the value, ``valued`` ends it; ``end`` ends the call.
    * ``section_ends``: end the section.
    """

    call: str
    named: str
    key: str
    keyed: dict[str, frozenset[str] | None]
    value: str
    valued: str
    end: str
    section_ends: tuple[str, ...]

    @property
    def tags(self) -> tuple[str, ...]:
        """What decides about the parameters of a call, wherever it begins."""
        return self.key, self.valued, self.end

    def read(self, source: TextSource, tools: Tools, opener: str) -> Reading[bool]:
        """Read the calls behind an opener."""
        begun = not self.call or opener == self.call
        called = False
        while True:
            yield from source.blanks()
            if not begun and not (yield from source.take(self.call)):
                break
            begun = False
            if not (yield from self._call(source, tools)):
                return False
            called = True
            source.commit()
            if not self.call:
                return True
        return bool((yield from source.take(*self.section_ends)) and called)

    def _call(self, source: TextSource, tools: Tools) -> Reading[bool]:
        yield from source.blanks()
        name = yield from source.word(_NAME)
        if name not in tools.names:
            return False
        yield from source.blanks()
        if self.named and not (yield from source.take(self.named)):
            return False
        places: list[int] = []
        members = yield from self._members(source, places)
        if members is None:
            # that it cannot go on from these does not depend on where the call began
            source.give_up(self.tags, places)
            return False
        written = []
        for key, text, demanded in members:
            types = tools.types(name, key) if demanded is None else demanded
            written.append(f"{json.dumps(key, ensure_ascii=False)}: {json_of(text, types)}")
        yield call(name, "{" + ", ".join(written) + "}")
        return True

    def _members(self, source: TextSource, places: list[int]) -> Reading[list[_Member] | None]:
        """Read the parameters up to the end of the call; None if they are none."""
        members: list[_Member] = []
        while True:
            yield from source.blanks()
            if (self.tags, source.position) in source.dead:
                return None
            places.append(source.position)
            tag = yield from source.take(self.key, self.end)
            if tag == self.end:
                return members
            member = (yield from self._member(source, places)) if tag else None
            if member is None:
                return None
            members.append(member)

    def _member(self, source: TextSource, places: list[int]) -> Reading[_Member | None]:
        """Read a parameter from its name on."""
        key, tag = yield from source.until(*self.keyed, limit=NAME_CHARACTERS)
        if not tag:
            return None
        if self.value:
            yield from source.blanks()
            if not (yield from source.take(self.value)):
                return None
        text = yield from self._value(source, places)
        return None if text is None else _Member(key.strip(), text, self.keyed[tag])

    def _value(self, source: TextSource, places: list[int]) -> Reading[str | None]:
        """Read up to the tag that ends a value: one that a parameter or the end follows."""
        start = source.position
        while True:
            _, tag = yield from source.until(self.valued)
            end = source.position
            if not tag or (self.tags, end) in source.dead:
                return None
            yield from source.blanks()
            if (yield from source.look(self.key, self.end)):
                break
            places.append(end)
        text = source.since(start)[: end - start - len(self.valued)]
        # templates put a value on lines of its own
        return text if self.value else text.removeprefix("\n").removesuffix("\n")


_QWEN = XmlForm(
    call="<function=",
    named=">",
    key="<parameter=",
    keyed={">": None},
    value="",
    valued="</parameter>",
    end="</function>",
    section_ends=("</tool_call>", "</seed:tool_call>"),
)
_GLM = XmlForm(
    call="",
    named="",
    key="<arg_key>",
    keyed={"</arg_key>": None},
    value="<arg_value>",
    valued="</arg_value>",
    end="</tool_call>",
    section_ends=(),
)
_HUNYUAN = _GLM._replace(call="<tool_call>", named="<tool_sep>", section_ends=("</tool_calls>",))
_MINIMAX = XmlForm(
    call='<invoke name="',
    named='">',
    key='<parameter name="',
    keyed={'">': None},
    value="",
    valued="</parameter>",
    end="</invoke>",
    section_ends=("</minimax:tool_call>",),
)


def _dsml(bars: str) -> Dialect:
    mark = f"{bars}DSML{bars}"
    form = XmlForm(
        call=f'<{mark}invoke name="',
        named='">',
        key=f'<{mark}parameter name="',
        keyed={'" string="true">': _STRING, '" string="false">': frozenset(), '">': None},
        value="",
        valued=f"</{mark}parameter>",
        end=f"</{mark}invoke>",
        section_ends=(f"</{mark}function_calls>", f"</{mark}tool_calls>"),
    )
    openers = (f"<{mark}function_calls>", f"<{mark}tool_calls>", form.call)
    return Dialect(DSML_CALL, openers, form.read, in_reasoning=True)


DIALECTS = {
    "qwen_coder": (
        Dialect(QWEN_CODER_CALL, ("<tool_call>", "<seed:tool_call>", "<function="), _QWEN.read),
    ),
    "glm": (Dialect(GLM_CALL, ("<tool_call>",), _GLM.read),),
    "hunyuan": (Dialect(GLM_CALL, ("<tool_calls>",), _HUNYUAN.read),),
    "minimax": (Dialect(MINIMAX_CALL, ("<minimax:tool_call>",), _MINIMAX.read),),
    "dsml": tuple(_dsml(bars) for bars in ("｜", "｜｜", "‖", "|", "||")),
}
