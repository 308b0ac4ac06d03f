"""When lines happened: the timestamps of lines, what people type for a moment, and the time index of segments."""
