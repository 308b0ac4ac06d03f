"""Which file is which: recognising what was shipped before."""
