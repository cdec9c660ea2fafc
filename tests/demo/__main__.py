"""`make demo`: shows the product on a cluster, says afterwards how to use it, and removes it again.

    python3 -m tests.demo show        play the story on the cluster that the environment names
    python3 -m tests.demo afterwards  say how to go on
    python3 -m tests.demo down        remove what the demo left up

Nothing but the standard library here: the demo needs no virtual environment.
"""

import os
import shutil
import sys

from tests.demo.story import EXAMPLES_KAFKA, OPERATOR_NAMESPACE, STORE, Stage, Story
from tests.demo.terminal import DemoFailed, Terminal
from tests.support.cluster import Cluster, image_settings
from tests.support.diagnosis import sections
from tests.support.environment import EnvironmentIncomplete, has_own_cluster, parse_environment
from tests.support.pipeline import DEMO_TESTBED

OWN_NAMESPACE = "sharedlogkv-demo"  # on the user's cluster, where `default` may hold anything
OWN_KUBECTL = f"kubectl --namespace {OWN_NAMESPACE}"
PROGRAMS = ("kubectl", "helm", "curl")


def show() -> None:
    """Play the story."""
    environment = parse_environment(os.environ)
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        raise DemoFailed(f"please install {' and '.join(missing)}")
    with Terminal({"KUBECONFIG": environment.kubeconfig}) as terminal:
        if environment.testbed:
            stage = Stage("kubectl", EXAMPLES_KAFKA, image_settings(environment.image))
        else:
            stage = Stage(OWN_KUBECTL, environment.kafka, image_settings(environment.image))
            terminal.ask(f"kubectl create namespace {OWN_NAMESPACE} --dry-run=client -o yaml | kubectl apply -f -")
        try:
            Story(terminal, stage).tell()
        except DemoFailed:
            where = "default" if environment.testbed else OWN_NAMESPACE
            for title, text in sections(Cluster(environment), namespace=where, operator_namespace=OPERATOR_NAMESPACE):
                print(f"\n---- {title}\n{text}")
            raise


def say_how_to_go_on() -> None:
    """Print what the user can do now."""
    own = has_own_cluster(os.environ)
    kubectl = OWN_KUBECTL if own else "kubectl"
    enter = (
        ""
        if own
        else f"  {' '.join(DEMO_TESTBED)} sh                     # a shell where kubectl, helm and Kafka are\n"
    )
    print(
        f"\nThe cluster stays up. Use it:\n\n{enter}"
        f"  {kubectl} get slkv,pods\n"
        f"  {kubectl} port-forward service/{STORE} 8080:80 &\n"
        "  curl localhost:8080/v1/kv/greeting\n"
        f"  kubectl --namespace {OPERATOR_NAMESPACE} logs deployment/sharedlogkv --all-pods\n\n"
        "Remove it:  make demo-down"
    )


def remove() -> None:
    """Remove what the demo left up."""
    if not has_own_cluster(os.environ):
        os.execvp(DEMO_TESTBED[0], [*DEMO_TESTBED, "down"])
    environment = parse_environment(os.environ)
    with Terminal({"KUBECONFIG": environment.kubeconfig}) as terminal:
        terminal.type(f"kubectl delete namespace {OWN_NAMESPACE} --ignore-not-found")
        terminal.type(f"helm uninstall sharedlogkv --namespace {OPERATOR_NAMESPACE} --ignore-not-found --wait")
        terminal.say(f"Kept, for they hold data or others' too: the topic {OWN_NAMESPACE}.{STORE} and the CRD.")


def main() -> int:
    """Do what the command line asks; return the exit status."""
    actions = {"show": show, "afterwards": say_how_to_go_on, "down": remove}
    try:
        actions[sys.argv[1]]()
    except EnvironmentIncomplete as error:
        print(error, file=sys.stderr)
        return 2
    except DemoFailed as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
