"""The command line: `azaion-devcluster VERB`. `./dev` calls it; people can too."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from azaion_devcluster import host, progress, prune
from azaion_devcluster.binaries import Binaries
from azaion_devcluster.cluster import Cluster
from azaion_devcluster.errors import CommandError, DevclusterError
from azaion_devcluster.existing import ExistingCluster, demand_consent, image_reference
from azaion_devcluster.images import RECIPES, Images
from azaion_devcluster.paths import Cache

if TYPE_CHECKING:
    from collections.abc import Callable


def _up(arguments: argparse.Namespace) -> None:
    cluster = Cluster(arguments.name)
    if arguments.fresh:
        cluster.down()
        cluster.forget()
    started = cluster.up(gpus=arguments.gpus, port=arguments.port, tied_to=arguments.tied_to)
    _give_to_caller(cluster.kubeconfig)
    progress.say(f"The cluster {cluster.name} {'is ready' if started else 'was running already'}.")
    print(cluster.kubeconfig)


def _give_to_caller(kubeconfig: Path) -> None:
    """Whoever called sudo must be able to read what they asked for."""
    if owner := os.environ.get("SUDO_UID"):
        os.chown(kubeconfig, int(owner), int(os.environ.get("SUDO_GID", "-1")))


def _down(arguments: argparse.Namespace) -> None:
    cluster = Cluster(arguments.name)
    ended = cluster.down()
    if arguments.purge:
        cluster.forget(everything=True)
    was = "has ended" if ended else "was not running"
    kept = "its state is kept for the next start" if cluster.has_state else "nothing of it is left"
    progress.say(f"The cluster {cluster.name} {was}; {kept}.")


def _status(_: argparse.Namespace) -> None:
    for name in Cache.default().cluster_names():
        cluster = Cluster(name)
        print(f"{name}\t{'running' if cluster.running else 'stopped'}\t{cluster.kubeconfig}")


def _shell(arguments: argparse.Namespace) -> None:
    cluster = _running(arguments.name)
    progress.say(f"kubectl and helm talk to the cluster {cluster.name}; 'exit' comes back.")
    shell = os.environ.get("SHELL", "/bin/bash")
    os.execvpe(shell, [shell], cluster.environment())


def _enter(arguments: argparse.Namespace) -> None:
    command = _running(arguments.name).inside(arguments.command or ["/bin/bash"])
    os.execvp(command[0], command)


def _environment(arguments: argparse.Namespace) -> None:
    cluster = _running(arguments.name)
    environment = cluster.environment()
    for variable in ("KUBECONFIG", "PATH"):
        print(f"export {variable}={shlex.quote(environment[variable])}")


def _images(arguments: argparse.Namespace) -> None:
    references = Images(Path.cwd(), Cache.default()).ensure(*arguments.images)
    print(json.dumps(references, indent=2))


def _build(arguments: argparse.Namespace) -> None:
    cache = Cache.default()
    binaries = Binaries(cache)
    binaries.ensure(*arguments.tools)
    for folder in binaries.folders():
        if folder.is_dir():
            print(folder)


def _existing(arguments: argparse.Namespace) -> None:
    """Prints the exports the tests need; checks before that they may run there."""
    cache = Cache.default()
    binaries = Binaries(cache)
    binaries.ensure("kubernetes")
    there = ExistingCluster(arguments.context, binaries.program("kubectl"))
    kubeconfig = cache.root / "existing.kubeconfig"
    there.write_kubeconfig(kubeconfig)
    probe = image_reference(arguments.images, "operator")
    entries = there.files_in_tree(kubeconfig, tree=arguments.tree, image=probe)
    demand_consent(arguments.tree, entries, arguments.context, given=arguments.use_tree, ask=input)
    print(f"export AZAION_TEST_CLUSTER={shlex.quote(str(kubeconfig))}")
    print(f"export AZAION_TEST_IMAGES={shlex.quote(arguments.images)}")


def _packages(arguments: argparse.Namespace) -> None:
    host.ensure_packages(Cache.default(), *arguments.needs)


def _prune(_: argparse.Namespace) -> None:
    freed = prune.prune(Cache.default())
    progress.say(f"{freed / 1e9:.1f} GB freed; the next start builds what it needs again.")


def _running(name: str) -> Cluster:
    cluster = Cluster(name)
    if not cluster.running:
        raise DevclusterError(f"The cluster {name} is not running: start it with './dev up'.")
    return cluster


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="azaion-devcluster", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(
        name: str, call: Callable[[argparse.Namespace], None], help_text: str
    ) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=help_text)
        added.set_defaults(call=call)
        added.add_argument("--name", default="dev", help="the cluster's name (default: dev)")
        return added

    up = verb("up", _up, "start a cluster, or go on with the running one; prints its kubeconfig's path")
    up.add_argument("--gpus", type=int, help="GPUs the node declares (default: as last time, at first none)")
    up.add_argument("--port", type=int, help="loopback port of the API server (default: any free one)")
    up.add_argument("--tied-to", type=int, metavar="PID", help="end the cluster when that process ends")
    up.add_argument("--fresh", action="store_true", help="forget the Kubernetes state of an earlier start")
    down = verb("down", _down, "stop a cluster; its state is kept")
    down.add_argument("--purge", action="store_true", help="remove its state, its images and its tree too")
    verb("status", _status, "list the clusters of this machine")
    verb("shell", _shell, "a shell whose kubectl and helm talk to the cluster")
    enter = verb("enter", _enter, "run a command inside the node's namespaces")
    enter.add_argument("command", nargs=argparse.REMAINDER)
    verb("environment", _environment, "print the exports that 'shell' sets, for eval")
    images = verb("images", _images, "build and publish images; prints their references")
    images.add_argument("images", nargs="*", help=f"of: {', '.join(recipe.name for recipe in RECIPES)}")
    build = verb("build", _build, "build the cluster's programs; prints their folders")
    build.add_argument("tools", nargs="*")
    packages = verb("packages", _packages, "get the system packages for some kinds of work")
    packages.add_argument("needs", nargs="+", choices=host.NEEDS)
    existing = verb("existing", _existing, "check a cluster you already have and print what the tests need")
    existing.add_argument("--context", required=True, help="the kubeconfig context to use")
    existing.add_argument(
        "--images", required=True, metavar="PATTERN", help="where its images are: …/{name}:TAG"
    )
    existing.add_argument("--tree", default="/azaion", help="the tree's folder on the node")
    existing.add_argument(
        "--use-tree", action="store_true", help="use a tree that holds files without asking"
    )
    verb("prune", _prune, "remove images and programs of earlier versions from the cache")
    return parser


def main() -> None:
    """Runs one verb; errors are one sentence and exit code 1."""
    arguments = _parser().parse_args()
    try:
        with contextlib.suppress(BrokenPipeError):
            arguments.call(arguments)
    except DevclusterError as trouble:
        if isinstance(trouble, CommandError):
            print(trouble.output, file=sys.stderr)
        sys.exit(f"{trouble}")
    except KeyboardInterrupt:
        sys.exit(130)
