"""The values that packages hand to each other. Imports nothing above itself."""
