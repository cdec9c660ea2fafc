"""Decides how many replicas a store needs, and why: pure.

Every replica reads the whole log. So more replicas take reads off each other, and nothing else: they raise the brokers'
egress, never lower anybody's work of applying records, and a sum of their lags grows with every one that boots. The
decision therefore works from a model of one replica: what a record and what a request cost it in CPU, by its own
account, and from lag in seconds.

| module | holds |
|---|---|
| `observation` | what is seen |
| `policy` | what the user wants |
| `history` | the last looks, and the rates that they amount to |
| `model` | costs and loads learned from them, and the formulas |
| `state`, `record` | what is remembered, and how it outlives the operator |
| `scene`, `verdict` | one look with what follows from it, and what a rule says of it |
| `rules`, `stragglers`, `trials`, `victims` | the decision |
"""
