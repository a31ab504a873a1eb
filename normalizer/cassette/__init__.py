"""Recorded streams that stay streams: their pieces, their times and how they ended.

`normalizer.cassette.format` is the file. It needs the ``cassette`` extra, which brings vcrpy.
"""
