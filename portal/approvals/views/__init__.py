"""The pages of requests, of roles and what needs a second person, and of the access review."""
