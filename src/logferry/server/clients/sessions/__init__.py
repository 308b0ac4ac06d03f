"""The protocols that clients speak, each as a session between a connection and the store."""
