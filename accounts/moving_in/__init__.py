"""Moving in: users of another site, and their sign-ins there. project/MOVING_IN.md describes the steps."""
