from typing import Any


def test_every_repetition_is_a_test_of_its_own(run_pytest: Any) -> None:
    tests = """
        import pytest
        @pytest.fixture
        def fresh(): return []
        @pytest.mark.parametrize("letter", "ab")
        def test_it(letter, fresh):
            fresh.append(letter)
            assert fresh == [letter]
        @pytest.mark.anyio
        async def test_async(fresh):
            assert not fresh
    """
    run = run_pytest({"test_it": tests}, "-p", "worker_testkit.repeat", "--repeat=5")
    assert run.about["test_it"].outcomes == {"passed": 4 * 5}


def test_without_the_option_nothing_is_repeated(run_pytest: Any) -> None:
    run = run_pytest({"test_it": "def test_it(): pass"}, "-p", "worker_testkit.repeat")
    assert run.about["test_it"].outcomes == {"passed": 1}


def test_what_is_not_selected_is_not_repeated(run_pytest: Any) -> None:
    tests = """
        import pytest
        @pytest.mark.chosen
        def test_chosen(): pass
        def test_other(): pass
    """
    arguments = ["-p", "worker_testkit.repeat", "--repeat=3", "-m", "chosen", "-o", "markers=chosen"]
    run = run_pytest({"test_it": tests}, *arguments)
    assert "3 passed, 1 deselected" in run.summary
