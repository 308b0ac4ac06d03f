"""From file to ack: read whole lines, render them, send them, wait for the server's word."""
