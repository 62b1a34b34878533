"""What happened on a line in a window of time, as one HTML file: numbers by SQL, charts and pictures inlined.

`window` cuts the time, `tallies` counts in SQL, `pictures` inlines, `content` gathers it all; `time_figures` and
`score_figures` say which numbers become which shapes of `charts`; `page` writes.
"""
