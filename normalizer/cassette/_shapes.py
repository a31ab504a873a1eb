"""What a secret looks like, and masking it in bytes that come piece by piece.

A shape is a row of parts, each of them an expression for what it is and one for how it may begin.
Of these two are made: one that finds the shape, and one that finds where the end of what has come
could be the beginning of it, which is held back until more has come. All parts but the last are of
limited length, so what is undecided is short; and no shape goes over the end of a line, so that of
a stream whose pieces are whole events nothing is held back at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

MASK = b"*"

# A secret that is known, a credential of the request, is masked wherever it stands, unless it is so
# short or so much like a word ("lm-studio", "not-needed") that it may stand there on its own.
_LONG_ENOUGH = 16
_LONG_ENOUGH_WITH_DIGITS = 8

# A match that has gone on for so long is masked as it comes.
_HELD_AT_MOST = 4096


class _Part(NamedTuple):
    whole: bytes
    begun: bytes
    texts: tuple[bytes, ...] = ()  # all that it may be, if they are few


class Shape(NamedTuple):
    """A kind of secret. The first ``open`` parts of it may be shown, and the others are masked."""

    name: str
    parts: tuple[_Part, ...]
    open: int = 1
    any_case: bool = False

    @property
    def whole(self) -> bytes:
        """A pattern with two groups: the part to show, and the secret."""
        wholes = [part.whole for part in self.parts]
        found = b"(%s)(%s)" % (b"".join(wholes[: self.open]), b"".join(wholes[self.open :]))
        return b"(?i:%s)" % found if self.any_case else found

    @property
    def begun(self) -> bytes:
        """A pattern for a possible beginning of it."""
        begun = b""
        for part in reversed(self.parts):
            begun = b"(?:%s|%s%s)" % (part.begun, part.whole, begun and begun + b"?")
        return b"(?i:%s)" % begun if self.any_case else begun


def _text(text: bytes) -> _Part:
    begun = b""
    for each in reversed(range(len(text))):
        begun = re.escape(text[each : each + 1]) + (b"(?:%s)?" % begun if begun else b"")
    return _Part(re.escape(text), begun, (text,))


def _any(*texts: bytes) -> _Part:
    parts = [_text(text) for text in sorted(texts, key=len, reverse=True)]
    return _Part(
        b"(?:%s)" % b"|".join(part.whole for part in parts),
        b"(?:%s)" % b"|".join(part.begun for part in parts),
        texts,
    )


def _signs(of: bytes, least: int, most: int | None = None) -> _Part:
    limit = b"" if most is None else b"%d" % most
    return _Part(b"%s{%d,%s}" % (of, least, limit), b"%s{1,%s}" % (of, limit))


def _maybe(of: bytes, most: int) -> _Part:
    return _Part(b"%s{0,%d}" % (of, most), b"%s{0,%d}" % (of, most))


_WORD = rb"[A-Za-z0-9_-]"
_LETTERS = rb"[A-Za-z0-9]"
_NAMES = (
    b"api-key api_key apikey authorization access-token access_token accesstoken auth-token"
    b" auth_token refresh-token refresh_token client-secret client_secret secret-key secret_key"
    b" secret-access-key secret_access_key private-key private_key password passwd"
).split()

SHAPES = (
    Shape("an API key (sk-…)", (_text(b"sk-"), _signs(_WORD, 12))),
    Shape(
        "a bearer token",
        (_text(b"bearer"), _signs(b"[ \t]", 1, 8), _signs(rb"[\w.~+/=-]", 8)),
        open=2,
        any_case=True,
    ),
    Shape("an AWS key id", (_any(b"AKIA", b"ASIA"), _signs(b"[0-9A-Z]", 16))),
    Shape("an xAI key", (_text(b"xai-"), _signs(_WORD, 16))),
    Shape("a Groq key", (_text(b"gsk_"), _signs(_LETTERS, 16))),
    Shape("a Google API key", (_text(b"AIza"), _signs(_WORD, 24))),
    Shape("a Google OAuth token", (_text(b"ya29."), _signs(_WORD, 16))),
    Shape("a Hugging Face token", (_text(b"hf_"), _signs(_LETTERS, 16))),
    Shape("a Replicate token", (_text(b"r8_"), _signs(_LETTERS, 16))),
    Shape("a Perplexity key", (_text(b"pplx-"), _signs(_LETTERS, 16))),
    Shape("an NVIDIA key", (_text(b"nvapi-"), _signs(_WORD, 16))),
    Shape(
        "a GitHub token",
        (_any(b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_"), _signs(rb"\w", 16)),
    ),
    Shape("a GitLab token", (_text(b"glpat-"), _signs(_WORD, 16))),
    Shape(
        "a Slack token",
        (_any(b"xoxa-", b"xoxb-", b"xoxp-", b"xoxr-", b"xoxs-"), _signs(_WORD, 10)),
    ),
    Shape(
        "a JSON web token",
        (_text(b"eyJ"), _signs(_WORD, 8, 2000), _text(b".eyJ"), _signs(rb"[\w.-]", 8)),
    ),
    Shape(
        "a private key",
        (
            _text(b"-----BEGIN "),
            _maybe(b"[A-Z ]", 30),
            _text(b"PRIVATE KEY-----"),
            _signs(rb"[^\"\n]", 8),
        ),
        open=3,
    ),
    Shape(
        "a value named as a secret",
        (
            _any(*_NAMES),
            _maybe(rb"\\", 4),
            _maybe(rb"[\"']", 1),
            _maybe(b"[ \t]", 4),
            _signs(b"[:=]", 1, 1),
            _maybe(b"[ \t]", 4),
            _maybe(rb"\\", 4),
            _maybe(rb"[\"']", 1),
            _signs(rb"[^\s\"'\\&,;}]", 8),
        ),
        open=8,
        any_case=True,
    ),
)

# Every shape begins with one of these. To look for each costs a tenth of looking for the shapes.
_SIGNS = tuple(
    text.decode() for shape in SHAPES if not shape.any_case for text in shape.parts[0].texts
)
_SIGNS_IN_ANY_CASE = frozenset(
    text.decode().replace("_", "-")
    for shape in SHAPES
    if shape.any_case
    for text in shape.parts[0].texts
)

# A letter that no shape begins with, in the place of one that is no longer held.
_LETTER = b"Z"

# So that no key is seen in "risk-averse-behaviour".
_ALONE = rb"(?<![A-Za-z0-9])"
_WHOLE = re.compile(_ALONE + b"(?:%s)" % b"|".join(shape.whole for shape in SHAPES))
_BEGUN = re.compile(_ALONE + rb"(?:%s)\Z" % b"|".join(shape.begun for shape in SHAPES))


# Headers that hold credentials or cookies, or what a provider names a customer or a request by.
IDENTIFYING = re.compile(
    r"(?:set-)?cookie2?|.*authoriz.*|.*api-?key.*|.*(?:auth|access|security|csrf|id)-token"
    r"|.*organi[sz]ation.*|.*-(?:project|user|account|tenant|workspace|session)(?:-.*)?"
    r"|.*-ids?|cf-ray|traceparent|tracestate|.*-trace(?:-.*)?|x-azure-ref|x-amzn?-.*|.*requestid"
    r"|report-to|reporting-endpoints|nel",
    re.IGNORECASE,
)
IN_QUERY = re.compile(
    r"([?&](?:[^=&#]*[-_.])?(?:key|apikey|token|secret|sig|signature|password|auth)=)([^&#]+)",
    re.IGNORECASE,
)
_PASSWORD_OF_URL = re.compile(r"(://[^/?#@:]*:)([^/?#@]+)(?=@)")


class Found(NamedTuple):
    """A secret in some bytes: its kind, its start and its end."""

    name: str
    start: int
    end: int


def find(data: bytes) -> Iterator[Found]:
    """Return the secrets of known patterns, in order. Masked ones do not count."""
    for match in _WHOLE.finditer(data):
        last = match.lastindex or 0
        if match[last].strip(MASK):
            # two groups for each shape
            yield Found(SHAPES[last // 2 - 1].name, *match.span(last))


def masked(data: bytes, known: Iterable[bytes] = ()) -> bytes:
    """Return the bytes with every secret masked. The length stays the same."""
    mask = Mask(known)
    return mask.feed(data) + mask.close()


def masked_url(url: str) -> str:
    """Return a URL with its password and its secret parameters masked."""

    def hide(match: re.Match[str]) -> str:
        return match[1] + MASK.decode() * len(match[2])

    return IN_QUERY.sub(hide, _PASSWORD_OF_URL.sub(hide, url))


def worth_masking(value: bytes) -> bool:
    """Return whether a credential is too long to be an ordinary word."""
    digits = any(chr(each).isdigit() for each in value)
    return len(value) >= (_LONG_ENOUGH_WITH_DIGITS if digits else _LONG_ENOUGH)


def _open(known: bytes) -> int:
    """Return how much of a known secret may be shown: as much as of an unknown one."""
    match = _WHOLE.fullmatch(known)
    return match.start(match.lastindex or 0) if match else 0


def _has_sign(data: bytes) -> bool:
    """Return whether something may be a secret of a known pattern."""
    text = data.decode("latin-1")  # a text is searched in a third of the time
    for sign in _SIGNS:
        if sign in text:
            return True
    text = text.lower().replace("_", "-")
    for sign in _SIGNS_IN_ANY_CASE:  # noqa: SIM110 - any() takes twice the time
        if sign in text:
            return True
    return False


class Mask:
    """Mask the secrets in bytes that come piece by piece: ``known`` ones and known patterns."""

    def __init__(self, known: Iterable[bytes] = ()) -> None:
        self._known = {each: _open(each) for each in known if each}
        self._held = b""
        self._before = b""  # what stands for the byte in front of those that are held
        self._within: re.Pattern[bytes] | None = None  # the signs of a secret that goes on

    def feed(self, data: bytes) -> bytes:
        """Return, masked, the bytes that may be shown now. The rest comes later."""
        ahead = b""
        if self._within is not None:
            more = self._within.match(data)
            end = more.end() if more else 0
            ahead, data = MASK * end, data[end:]
            if not data:
                return ahead
            self._within, self._before = None, _LETTER
        self._held += data
        cut = self._undecided()
        if len(self._held) - cut > _HELD_AT_MOST:
            return ahead + self._endless(cut)
        return ahead + self._give(cut)

    def close(self) -> bytes:
        """Return the remaining bytes. Nothing comes after it."""
        return self._give(len(self._held))

    def _give(self, cut: int) -> bytes:
        final = cut == len(self._held)
        # Secrets are sought in what came: behind the asterisks of one another could seem to begin.
        out = bytearray(self._held)
        for start, secret, end in self._secrets():
            if start < cut < end:
                cut = start  # it is masked whole, later
            if end < len(out) or final:
                out[secret:end] = MASK * (end - secret)
        if cut:
            self._before = _LETTER if self._held[cut - 1 : cut].isalnum() else b""
        self._held = self._held[cut:]
        return bytes(out[:cut])

    def _secrets(self) -> list[tuple[int, int, int]]:
        """Of each secret that is held: where its name, it itself and its end are; last first."""
        before = len(self._before)
        spans = []
        if _has_sign(self._held):
            for match in _WHOLE.finditer(self._before + self._held, before):
                start, end = match.span(match.lastindex or 0)
                spans.append((match.start() - before, start - before, end - before))
        for known, may_be_seen in self._known.items():
            start = self._held.find(known)
            while start >= 0:
                spans.append((start, start + may_be_seen, start + len(known)))
                start = self._held.find(known, start + 1)
        return sorted(spans, reverse=True)

    def _undecided(self) -> int:
        """Where what could be the beginning of a secret begins."""
        held, before = self._held, len(self._before)
        # no shape goes over the end of a line
        line = held.rfind(b"\n") + 1
        begun = _BEGUN.search(self._before + held, before + line) if line < len(held) else None
        cut = begun.start() - before if begun else len(held)
        for known in self._known:
            if held[-1:] not in known:
                continue
            for length in range(min(len(known) - 1, len(held)), len(held) - cut, -1):
                if held.endswith(known[:length]):
                    cut = len(held) - length
                    break
        return cut

    def _endless(self, cut: int) -> bytes:
        """Mask a secret that goes on and on without holding all of it, or hold no longer."""
        whole = self._before + self._held
        match = _WHOLE.match(whole, len(self._before) + cut)
        if match is None or match.end() < len(whole):
            return self._give(len(self._held))
        last = match.lastindex or 0
        self._within = re.compile(SHAPES[last // 2 - 1].parts[-1].begun)
        return self._give(len(self._held))
