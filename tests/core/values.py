"""JSON values whose members have the names that the core looks for."""

from __future__ import annotations

from hypothesis import strategies as st

KEYS = st.sampled_from(
    [
        *("error", "errors", "message", "code", "status", "type", "choices", "usage", "delta"),
        *("detail", "Error", "response", "fault", "fooException", "object", "success", "param"),
    ]
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
    | st.sampled_from(["error", "ok", "failed", "boom", 500, 0, "chat.completion.chunk"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
