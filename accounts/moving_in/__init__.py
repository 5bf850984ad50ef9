"""Moving in: users of another site, and their sign-ins there. project/README.md describes the steps."""
