"""Connected clients: who they are, what they say, what they are owed, and what they may cost."""
