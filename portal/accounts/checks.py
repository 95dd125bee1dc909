"""System checks of the sign-in configuration."""
