"""`python -m kenspeckle` is `ken`."""

from kenspeckle.cli.main import main

main()
