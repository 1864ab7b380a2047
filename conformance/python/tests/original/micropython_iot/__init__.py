"""The names of micropython-iot of 2020, as far as the programs of docs/micropython.md use them, for tests: made of this directory's
classic profile, so that these programs run without the original."""
