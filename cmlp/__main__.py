"""Runs the command line: python -m cmlp."""

from cmlp.cli import main

raise SystemExit(main())
