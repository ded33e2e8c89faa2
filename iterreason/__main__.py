"""`python -m iterreason` is the command `iterreason`."""

import sys

from iterreason.cli import main

sys.exit(main())
