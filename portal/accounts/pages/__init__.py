"""What the pages of people show, read from every area."""
