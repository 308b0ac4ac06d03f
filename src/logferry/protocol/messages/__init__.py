"""The messages of the delivery extension as values, and how both ends write them."""
