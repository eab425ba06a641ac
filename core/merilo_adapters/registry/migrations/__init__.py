"""Steps from one schema of the registry to the next. A step that a release carried is never edited again."""

HEAD = "0001"
"""The schema of this release; known without loading the migration library, which most starts do not need."""
