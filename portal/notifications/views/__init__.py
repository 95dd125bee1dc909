"""Pages of alerts and their delivery."""
