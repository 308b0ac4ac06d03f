"""The questions of `/api/v1`: their parameters, what people type into the search box, and the forms of answers.

Asks a `Source`, and never a store.
"""
