"""The pages of accounts: sign-in, people, and the search in the directory."""
