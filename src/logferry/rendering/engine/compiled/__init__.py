"""Makes programs for the compiled part (src/native/line_program.c) of the kinds of lines of a format."""
