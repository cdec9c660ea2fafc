"""The testbed: a real Kubernetes cluster and a real Kafka on one machine, as tests and the demo need them.

It stands beside the product and shares no code with it. It needs nothing but Python's standard library, so that it
runs before any virtual environment exists. README.md says how it works; `layout` says where everything is.
"""
