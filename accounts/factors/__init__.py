"""Second factors: passkeys, authenticator apps and recovery codes, and the step that asks for one."""
