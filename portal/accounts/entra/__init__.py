"""Sign-in with Microsoft Entra ID: an allauth provider that trusts nothing it has not verified."""
