"""`python -m opsgate`: the command line."""

import sys

from opsgate.cli import main

sys.exit(main())
