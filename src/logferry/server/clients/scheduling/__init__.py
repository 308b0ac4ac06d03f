"""Who is next: turns, pauses, places and questions, by what each party has cost and still waits for."""
