"""The log formats, one file each, in folders by family."""
