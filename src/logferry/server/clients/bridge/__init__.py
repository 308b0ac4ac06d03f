"""Between the event loop and the store: deliveries and questions cross, and an identity sees what it may."""
