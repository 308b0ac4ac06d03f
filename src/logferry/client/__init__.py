"""The client: reads whole lines from files, renders them, sends them, and waits for the server's acks."""
