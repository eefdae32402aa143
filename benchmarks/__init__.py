"""Programs that measure cmlp: see README.md beside this file."""
