"""Run the command line: ``python -m span_arch`` is the same as ``span-upscale``."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
