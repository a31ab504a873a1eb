"""The templates of one stream: which are kept, and which may be used.

A stream has a few forms of events, which take turns: the pieces of several choices or calls, of
reasoning and of text. So a template is kept when an event of another form comes in between. That
event went through the stages; whether the template still says what they would do is asked of the
wire (`Form.holds`) before the template is used again.

What was in the events that templates took is told to the wire before it gets another event, in
the order of the templates' last events.
"""

from __future__ import annotations

from normalizer.core.findings import Findings
from normalizer.core.form import Form
from normalizer.core.holes import Example
from normalizer.core.report import Report
from normalizer.core.template import FULL, Template, learn

_FORMS = 8  # templates at a time
_MISSES = 12  # templates learnt in vain before a stream is taken to be one that has none
_PAUSE = 32  # events then, before another template is learnt


class Templates:
    """The templates of one stream.

    * ``kept``: all of them, the one that was used last first.
    * ``last``: the template that took the last event while the next byte begins an event, else
      None.
    """

    __slots__ = (
        "_found",
        "_limit",
        "_misses",
        "_off",
        "_paused",
        "_report",
        "kept",
        "last",
    )

    def __init__(self, found: Findings, report: Report, limit: int) -> None:
        self.last: Template | None = None
        self.kept: list[Template] = []
        self._found = found
        self._report = report
        self._limit = limit
        self._misses = 0  # templates learnt since one was of use
        self._paused = 0  # events since one was learnt in spite of those
        self._off = False

    def wants(self) -> bool:
        """Whether a template of an event that none took may be of use."""
        if self._off or self._misses < _MISSES:
            return not self._off
        self._paused = (self._paused + 1) % _PAUSE
        return self._paused == 0

    def give_up(self) -> None:
        """Learn no more templates."""
        self.settle()
        self.clear()
        self._off = True

    def clear(self) -> None:
        """Forget the templates, and what they took."""
        self.kept.clear()
        self.last = None

    def doubt(self) -> None:
        """An event goes through the stages: no template is sure any more."""
        if self.kept and self.kept[0].form.alone:
            self.clear()
        for template in self.kept:
            template.sure = template.form.holds is None

    def align(self, aligned: bool) -> None:
        """Say whether the next byte begins an event."""
        first = self.kept[0] if aligned and self.kept else None
        self.last = first if first is not None and first.sure else None

    # ------------------------------------------------------------------ events

    def take(self, data: bytes, position: int, out: list[bytes]) -> int:
        """Take events that are in a template, from ``position`` on; where those end."""
        size, kept = len(data), self.kept
        while position < size:
            for template in kept:
                # the cheap questions first
                if data.startswith(template.before, position) and (
                    template.sure or self._is_sure(template)
                ):
                    if template is not kept[0] and self._mixes(template):
                        self.settle()
                    earlier = len(template.rows)
                    end = template.read(data, position, out)
                    if end > position:
                        break
            else:
                break
            if template is not kept[0]:
                if template.ordered or kept[0].ordered:
                    self.settle(but=template)
                template.run = earlier
                # the one that was used last first
                kept.remove(template)
                kept.insert(0, template)
            if template.same:
                out.append(data[position:end])
            if len(template.rows) >= FULL:
                self.empty(template)
            position = end
        return position

    def _is_sure(self, template: Template) -> bool:
        holds = template.form.holds
        template.sure = holds is None or holds()
        return template.sure

    def _mixes(self, template: Template) -> bool:
        """Whether others took texts that somebody needs in one order with those of a template."""
        for one in self.kept:  # noqa: SIM110 - a generator costs more than what it asks
            if one.rows and one is not template and one.shares(template):
                return True
        return False

    # ------------------------------------------------------------------ what was in them

    def settle(self, but: Template | None = None) -> None:
        """Count what was taken, as if it had gone through the stages."""
        for template in reversed(self.kept):
            if template.rows and template is not but:
                self._settle(template)

    def empty(self, template: Template) -> None:
        """Count what a full template took; what somebody keeps has grown by that."""
        self.settle()
        template.sure = template.form.holds is None

    def _settle(self, template: Template) -> None:
        events, report = len(template.rows), self._report
        self._misses = 0
        before = report.events_in
        texts = template.settle()
        report.events_in = before + events
        if template.sends:
            report.events_out += events
        self._found.again(template.codes, events)
        for text, said in texts:
            if text.kind:
                report.count(text.kind, 0, len(said))

    def learn(self, example: Example, form: Form) -> None:
        """Take the template of an event."""
        self._misses += 1
        codes = tuple(self._found.log)
        if form.own_codes:
            codes = tuple(code for code in codes if code not in form.own_codes)
        template = learn(example, form, codes, self._limit)
        if template is None:
            return
        if form.alone:
            self.kept.clear()
        if self.kept:
            self.kept[:] = [one for one in self.kept if one.key != template.key][: _FORMS - 1]
        self.kept.insert(0, template)
