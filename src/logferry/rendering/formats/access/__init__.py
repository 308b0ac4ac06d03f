"""The formats of web servers: access logs and error logs."""
