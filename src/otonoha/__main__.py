"""`python -m otonoha` is `otonoha`; so `torchrun … -m otonoha fit …` works."""

import sys

from otonoha.cli import main

if __name__ == "__main__":
    sys.exit(main())
