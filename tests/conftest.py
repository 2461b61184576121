# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the wire and the attack tests."""
import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "wire"))
sys.path.insert(0, os.path.join(HERE, "attacks"))

import broker as program  # noqa: E402


@pytest.hookimpl(tryfirst=True, hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, "report_" + call.when, outcome.get_result())


def pytest_generate_tests(metafunc):
    if "shards" in metafunc.fixturenames:
        metafunc.parametrize("shards", program.SHARDS)


@pytest.fixture
def start(request, shards):
    """start(option=value, ...) starts a broker; all are stopped, and checked, at the end."""
    brokers = []

    def start_one(*, wait=True, **options):
        brokers.append(program.Broker(shards, **options))
        return brokers[-1].start(wait)

    yield start_one
    failed = getattr(request.node, "report_call", None) is None or request.node.report_call.failed
    problem = None
    for one in brokers:
        try:
            one.stop()
        except AssertionError as found:
            problem = problem or found
        finally:
            one.kill()
            if failed:
                print(f"--- broker {' '.join(one.arguments)}\n{one.log()[-4000:]}")
    if problem:
        raise problem


@pytest.fixture
def broker(start):
    """A broker with the default options."""
    return start()
