"""The values that the rooms hand to each other. Imports nothing above itself."""
