"""The work of questions: threads, places and limits, and what carries results from a thread to the event loop."""
