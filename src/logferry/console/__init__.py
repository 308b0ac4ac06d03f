"""The console: a page and a JSON API over what a store has, in a process of its own (`logferry console`).

Owns HTTP: who may ask, which questions are valid, how much a question may cost, and how an answer ends when nobody
waits for it. What is stored is read through `source.Source`. Must never write to a data folder, make the server wait,
or send anything of a line to the browser as anything but JSON. Needs the extra `logferry[console]` (Starlette and
uvicorn).
"""
