"""The sample organization of a demonstration: Northgate Insurance, a month into its use of the gateway."""
