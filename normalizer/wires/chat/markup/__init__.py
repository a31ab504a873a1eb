"""What models write into their text that is no text: repairs that need a guess, and are opt-in.

The text of each choice goes through the readers that were asked for, in this order: text that is
repeated (`leaks.Cumulative`), reasoning (`thinking`), tool calls (`text_calls`), special tokens at
the end (`leaks.SpecialTokens`). Each reads what the one before it took for text. A reader holds
back only what a marker may begin with, or a call that has not ended, and that is bounded.

Reasoning is read too, for the calls of those dialects whose models call from there.
"""

from normalizer.wires.chat.markup.stage import Markup as Markup
from normalizer.wires.chat.markup.stage import wanted as wanted
