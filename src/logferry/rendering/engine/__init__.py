"""What the formats share: records, layouts, escaping, levels, field roles."""
