"""Where the addresses of static files come from."""

from whitenoise.storage import CompressedManifestStaticFilesStorage  # type: ignore[import-untyped]


class StaticFiles(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Collected files have names that change with their content, so browsers keep them for good.

    In a checkout, where nothing was collected, files keep their names and come from their sources.
    """

    def stored_name(self, name: str) -> str:
        """Return the collected name, or the name itself."""
        return str(super().stored_name(name)) if self.hashed_files else name
