import pytest


def test_every_repetition_is_a_test_of_its_own(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
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
    )
    result = pytester.runpytest_subprocess("-p", "worker_testkit.repeat", "--repeat=5", "-W", "error")
    result.assert_outcomes(passed=4 * 5)


def test_without_the_option_nothing_is_repeated(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")
    pytester.runpytest_subprocess("-p", "worker_testkit.repeat", "-W", "error").assert_outcomes(passed=1)
