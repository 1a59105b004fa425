"""tests/conftest.py, tried on small trees of tests."""

from pathlib import Path

import pytest

from azaion_devcluster.binaries import Binaries
from azaion_devcluster.paths import Cache

CONFTEST = Path(__file__).parents[1] / "conftest.py"
PASSES = "def test_it(): pass"


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZAION_TEST_CLUSTER", raising=False)


@pytest.fixture
def tree(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyprojecttoml("""
        [tool.pytest]
        addopts = ["--import-mode=importlib", "--strict-markers"]
        asyncio_mode = "auto"
        asyncio_default_fixture_loop_scope = "function"
    """)
    add(pytester, "conftest.py", CONFTEST.read_text())
    return pytester


def add(tree: pytest.Pytester, path: str, source: str) -> None:
    file = tree.path / "tests" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source)


def run(tree: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    # As a process of its own: settings of hypothesis and sockets belong to the whole process.
    return tree.runpytest_subprocess("tests", "-p", "no:kmock", *arguments)


def test_tiers_that_need_a_cluster_are_left_out_by_name_and_number(tree: pytest.Pytester) -> None:
    for tier in ("unit", "contract", "cluster", "chaos", "gpu"):
        add(tree, f"{tier}/test_{tier}.py", PASSES)
    add(tree, "cluster/test_more.py", PASSES)
    result = run(tree, "--ignore=tests/gpu")
    result.assert_outcomes(passed=2, deselected=3)
    result.stdout.fnmatch_lines(
        ["*Left out: 3 tests of cluster (2, for want of a cluster), chaos (1, for want*); *./dev test*"]
    )
    assert result.ret == pytest.ExitCode.OK


def test_charts_are_left_out_without_helm(tree: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    add(tree, "charts/test_charts.py", PASSES)
    monkeypatch.setenv("AZAION_CACHE", str(tree.path / "empty"))
    monkeypatch.setenv("PATH", str(tree.path / "bin"))
    result = run(tree)
    result.assert_outcomes(deselected=1)
    result.stdout.fnmatch_lines(["*Left out: 1 test of charts (1, for want of Helm); *./dev test*"])


def test_charts_run_with_the_helm_that_dev_built(
    tree: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tree, "charts/test_charts.py", PASSES)
    monkeypatch.setenv("AZAION_CACHE", str(tree.path / "cache"))
    monkeypatch.setenv("PATH", str(tree.path / "bin"))
    helm = Binaries(Cache.default()).program("helm")
    helm.parent.mkdir(parents=True)
    helm.touch(mode=0o755)
    run(tree).assert_outcomes(passed=1)


def test_with_a_cluster_they_run(tree: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    add(tree, "cluster/test_cluster.py", PASSES)
    kubeconfig = tree.path / "kubeconfig"
    kubeconfig.write_text("")
    monkeypatch.setenv("AZAION_TEST_CLUSTER", str(kubeconfig))
    result = run(tree)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*Left out*")


def test_a_kubeconfig_that_is_not_there_is_refused(
    tree: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZAION_TEST_CLUSTER", "/nowhere/kubeconfig")
    result = run(tree)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*AZAION_TEST_CLUSTER must be the path of a kubeconfig*/nowhere/kubeconfig*"]
    )


def test_the_tier_is_a_marker(tree: pytest.Pytester) -> None:
    add(tree, "unit/deep/below/test_a.py", PASSES)
    add(tree, "contract/test_b.py", PASSES)
    run(tree, "-m", "contract").assert_outcomes(passed=1, deselected=1)


def test_a_test_outside_the_tiers_is_refused(tree: pytest.Pytester) -> None:
    add(tree, "elsewhere/test_a.py", PASSES)
    result = run(tree)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*test_a.py belongs to no tier*"])


def test_unit_tests_have_no_network_and_others_have(tree: pytest.Pytester) -> None:
    source = "import socket\ndef test_it(): socket.socket(socket.AF_INET).close()"
    add(tree, "unit/test_a.py", source)
    add(tree, "component/test_b.py", source)
    result = run(tree)
    result.assert_outcomes(passed=1, failed=1, warnings=1)
    result.stdout.fnmatch_lines(["FAILED tests/unit/test_a.py*SocketBlockedError*"])


def test_unit_tests_have_an_event_loop(tree: pytest.Pytester) -> None:
    add(tree, "unit/test_a.py", "import asyncio\nasync def test_it(): await asyncio.sleep(0)")
    run(tree).assert_outcomes(passed=1)


def test_each_tier_has_its_timeout_unless_the_test_says_otherwise(tree: pytest.Pytester) -> None:
    add(
        tree,
        "unit/test_a.py",
        "import pytest\n"
        "def test_default(request): assert request.node.get_closest_marker('timeout').args == (30,)\n"
        "@pytest.mark.timeout(5)\n"
        "def test_own(request): assert request.node.get_closest_marker('timeout').args == (5,)\n",
    )
    run(tree).assert_outcomes(passed=2)
