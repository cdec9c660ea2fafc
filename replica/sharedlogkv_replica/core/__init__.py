"""The functional core: values in, decisions out. No IO, no clock, no randomness; import-linter holds it to that."""
