"""The log formats, one module each, grouped by family."""
