"""The shared log behind one protocol (`base`): `kafka` for production, `memory` for a first try and for tests."""
