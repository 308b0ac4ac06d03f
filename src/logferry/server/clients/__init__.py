"""Connected clients: identifying them, parsing their data, answering them, and bounding what they cost."""
