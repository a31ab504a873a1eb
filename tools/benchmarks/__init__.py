"""What `tools/bench` measures.

`timing` says how a cost is measured. `synthetic` and `recorded` are the streams. `growth`,
`programs` and `recording` measure what is no stream in a process that is warm: long answers, whole
programs, and a cassette. `table` puts the rows of docs/performance.md together.
"""
