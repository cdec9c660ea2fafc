"""How kstatus, which helm and GitOps tools wait by, reads an object of a kind that it does not know.

Source: github.com/kubernetes-sigs/cli-utils, pkg/kstatus/README.md, "The Current, InProgress, Failed and Terminating
status" and "Conditions"; told here anew.
"""

from collections.abc import Mapping
from typing import Any


def read_kstatus(body: Mapping[str, Any]) -> str:
    """`Current`, `InProgress`, `Failed` or `Terminating`."""
    status = body.get("status") or {}
    if "deletionTimestamp" in body["metadata"]:
        return "Terminating"
    if "observedGeneration" in status and status["observedGeneration"] != body["metadata"]["generation"]:
        return "InProgress"
    conditions = {item["type"]: item["status"] for item in status.get("conditions", [])}
    if conditions.get("Reconciling") == "True":
        return "InProgress"
    if conditions.get("Stalled") == "True":
        return "Failed"
    return "Current" if conditions.get("Ready", "True") == "True" else "InProgress"
