"""How far each source is on a server, and in its store: resuming, reconciling, and taking over from another one."""
