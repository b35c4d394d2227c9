"""Synthetic traces have the statistics that they claim, for fixed seeds, and are repeatable."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import traces
from phasewatt.errors import BadTrace
from traces.synthesis import (
    constant_tokens,
    diurnal_arrivals,
    gamma_arrivals,
    lognormal_tokens,
    poisson_arrivals,
    resampled,
)

# With fixed seeds a test never flickers; 4 standard errors leave it sharp all the same.
ERRORS = 4
N = 40_000


def rng(seed=1):
    return np.random.default_rng(seed)


def gaps_of(arrival_s):
    return np.diff(arrival_s, prepend=0.0)


@pytest.mark.parametrize("rate_per_s", [0.01, 3.0, 500.0])
def test_poisson_gaps_are_exponential(rate_per_s):
    gaps_s = gaps_of(poisson_arrivals(rng(), rate_per_s=rate_per_s, n=N))
    assert len(gaps_s) == N
    assert gaps_s.mean() * rate_per_s == pytest.approx(1, abs=ERRORS / N**0.5)
    assert stats.kstest(gaps_s, stats.expon(scale=1 / rate_per_s).cdf).pvalue > 0.001


@pytest.mark.parametrize("cv", [0.3, 1.0, 3.0])
def test_gamma_gaps_have_the_burstiness_asked_for(cv):
    gaps_s = gaps_of(gamma_arrivals(rng(), rate_per_s=2.0, cv=cv, n=N))
    assert gaps_s.mean() * 2 == pytest.approx(1, abs=ERRORS * cv / N**0.5)
    # Arrivals are rounded to float64, which swallows the tiniest gaps of a bursty process.
    seen_s, law = 1e-6, stats.gamma(1 / cv**2, scale=cv**2 / 2)
    tiny = law.cdf(seen_s)
    share = (gaps_s < seen_s).mean()
    assert share == pytest.approx(tiny, abs=ERRORS * (tiny / N) ** 0.5)
    larger_s = gaps_s[gaps_s >= seen_s]
    assert stats.kstest(larger_s, lambda x: (law.cdf(x) - tiny) / (1 - tiny)).pvalue > 0.001
    assert gaps_s.std() / gaps_s.mean() == pytest.approx(cv, rel=0.1)


def test_counts_in_equal_spans_are_poisson():
    arrival_s = poisson_arrivals(rng(), rate_per_s=4.0, duration_s=10_000)
    counts = np.bincount(arrival_s.astype(int), minlength=10_000)
    assert counts.var() / counts.mean() == pytest.approx(1, abs=ERRORS * (2 / 10_000) ** 0.5)


@pytest.mark.parametrize("peak_to_mean", [1.0, 1.5, 2.0])
def test_diurnal_arrivals_follow_the_sinusoid(peak_to_mean):
    periods, period_s, rate_per_s, bins = 20, 600.0, 3.0, 24
    arrival_s = diurnal_arrivals(
        rng(),
        rate_per_s=rate_per_s,
        peak_to_mean=peak_to_mean,
        period_s=period_s,
        duration_s=periods * period_s,
    )
    whole = rate_per_s * period_s * periods
    assert len(arrival_s) == pytest.approx(whole, abs=ERRORS * whole**0.5)
    counts, edges = np.histogram(arrival_s % period_s, bins=bins, range=(0, period_s))
    angle = 2 * np.pi * edges / period_s
    cumulative = edges / period_s - (peak_to_mean - 1) * np.sin(angle) / (2 * np.pi)
    expected = np.diff(cumulative) * len(arrival_s)
    assert stats.chisquare(counts, expected).pvalue > 0.001


@pytest.mark.parametrize(
    "draw",
    [
        lambda **size: poisson_arrivals(rng(), rate_per_s=5, **size),
        lambda **size: gamma_arrivals(rng(), rate_per_s=5, cv=2, **size),
        lambda **size: diurnal_arrivals(
            rng(), rate_per_s=5, peak_to_mean=1.8, period_s=100, **size
        ),
    ],
    ids=["poisson", "gamma", "diurnal"],
)
def test_a_count_or_a_duration_ends_the_arrivals(draw):
    for n in (1, 255, 256, 1000):
        arrival_s = draw(n=n)
        assert len(arrival_s) == n
        assert (np.diff(arrival_s) >= 0).all()
        assert arrival_s[0] > 0
    arrival_s = draw(duration_s=400.0)
    assert arrival_s[-1] < 400 <= arrival_s[-1] + 10
    with pytest.raises(BadTrace, match="expected exactly one of them"):
        draw()
    with pytest.raises(BadTrace, match="expected exactly one of them"):
        draw(n=1, duration_s=1.0)


@pytest.mark.parametrize(("mean", "cv"), [(128, 0.9), (1000, 0.2), (500, 2.0)])
def test_lognormal_lengths_have_the_mean_and_cv_asked_for(mean, cv):
    tokens = lognormal_tokens(rng(), mean=mean, cv=cv, n=N)
    assert tokens.dtype == np.int64
    assert tokens.min() >= 1
    assert tokens.mean() == pytest.approx(mean, rel=ERRORS * cv / N**0.5)
    assert tokens.std() / tokens.mean() == pytest.approx(cv, rel=0.1)
    logs = np.log(tokens)
    assert logs.std() == pytest.approx(np.log1p(cv**2) ** 0.5, rel=0.03)


def test_constant_lengths():
    assert constant_tokens(0, 3).tolist() == [0, 0, 0]


def test_resampling_keeps_rows_together():
    rows = traces.Trace(
        "rows",
        arrival_s=np.arange(50.0),
        prompt_tokens=np.arange(1, 51),
        output_tokens=np.arange(1, 51) * 2,
        query_id=[str(i) for i in range(50)],
        session=["s"] * 50,
        text=[f"text {i}" for i in range(1, 51)],
        quality={"m": np.arange(1, 51) / 50},
    )
    arrival_s = np.arange(5000.0)
    drawn = resampled(rng(), rows, arrival_s)
    assert np.array_equal(drawn.arrival_s, arrival_s)
    assert np.array_equal(drawn.output_tokens, drawn.prompt_tokens * 2)
    assert np.array_equal(drawn.quality["m"], drawn.prompt_tokens / 50)
    assert drawn.text.to_pylist() == [f"text {tokens}" for tokens in drawn.prompt_tokens]
    assert drawn.query_id is None
    assert drawn.session is None
    counts = np.bincount(drawn.prompt_tokens, minlength=51)[1:]
    assert stats.chisquare(counts).pvalue > 0.001


RECIPES = [
    "synthetic:poisson,rate=3,n=500,prompt=512,output=lognormal:128:0.9",
    "synthetic:gamma,rate=3,cv=2.5,duration=5m,prompt=lognormal:900:1,output=0",
    "synthetic:diurnal,rate=0.5,peak=1.8,period=1h,duration=2h,lengths=azure-code-2023",
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_makes_the_trace_it_says(recipe):
    trace = traces.load(recipe, seed=7)
    assert trace.name == recipe
    assert trace.source.kind == "synthetic"
    assert f"drawn from '{recipe}' with seed 7" in trace.source.description
    if "n=500" in recipe:
        assert len(trace) == 500
        assert set(trace.prompt_tokens.tolist()) == {512}
    if "5m" in recipe:
        assert trace.duration_s < 300
        assert not trace.output_tokens.any()
    if "azure" in recipe:
        assert trace.source.licence == "CC-BY-4.0"
        code = traces.load("azure-code-2023")
        pairs = set(zip(code.prompt_tokens.tolist(), code.output_tokens.tolist(), strict=True))
        drawn = zip(trace.prompt_tokens.tolist(), trace.output_tokens.tolist(), strict=True)
        assert set(drawn) <= pairs


def digest(trace):
    columns = (trace.arrival_s, trace.prompt_tokens, trace.output_tokens)
    return hashlib.sha256(b"".join(column.tobytes() for column in columns)).hexdigest()


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(recipe):
    assert digest(traces.load(recipe, seed=3)) == digest(traces.load(recipe, seed=3))
    assert digest(traces.load(recipe, seed=3)) != digest(traces.load(recipe, seed=4))


def test_another_process_gives_the_same_bytes():
    code = f"import traces; print(traces.load({RECIPES[1]!r}, seed=3).arrival_s.tobytes().hex())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert bytes.fromhex(run.stdout) == traces.load(RECIPES[1], seed=3).arrival_s.tobytes()


def test_arrivals_do_not_depend_on_lengths():
    constant, lognormal = (
        traces.load(f"synthetic:poisson,rate=3,n=50,prompt={prompt},output=1", seed=5)
        for prompt in ("7", "lognormal:100:2")
    )
    assert np.array_equal(constant.arrival_s, lognormal.arrival_s)


@settings(max_examples=30)
@given(st.floats(0.01, 1000), st.integers(1, 300), st.integers(0, 5))
def test_twice_the_rate_is_the_same_trace_in_half_the_time(rate, n, seed):
    once, twice = (
        traces.load(f"synthetic:poisson,rate={r!r},n={n},prompt=1,output=1", seed=seed)
        for r in (rate, 2 * rate)
    )
    assert np.allclose(traces.scale_rate(once, 2).arrival_s, twice.arrival_s)


LENGTHS = "prompt=1,output=1"


@pytest.mark.parametrize(
    ("recipe", "line"),
    [
        ("", "found process '', expected one of poisson, gamma, diurnal"),
        (
            "poison,rate=1",
            "found process 'poison' (did you mean 'poisson'?), expected one of poisson, gamma, "
            "diurnal",
        ),
        (
            "poisson,rat=1",
            "found key 'rat' (did you mean 'rate'?), expected one of rate, n, duration, prompt, "
            "output, lengths for poisson",
        ),
        (
            "poisson,rate=1,cv=2",
            "found key 'cv', expected one of rate, n, duration, prompt, output, lengths for "
            "poisson",
        ),
        ("poisson,rate=1,rate=2", "found 'rate' twice, expected it once"),
        ("poisson,rate=", "found 'rate' without a value, expected rate=VALUE"),
        ("poisson,rate", "found 'rate' without a value, expected rate=VALUE"),
        (f"poisson,n=3,{LENGTHS}", "found no 'rate', expected rate=3 or such"),
        (f"gamma,rate=1,n=3,{LENGTHS}", "found no 'cv', expected cv=2 or such"),
        (
            f"poisson,rate=1,{LENGTHS}",
            "found neither of 'n' and 'duration', expected exactly one of them",
        ),
        (
            f"poisson,rate=1,n=1,duration=1m,{LENGTHS}",
            "found both of 'n' and 'duration', expected exactly one of them",
        ),
        (
            "poisson,rate=1,n=1,output=3",
            "found no 'prompt', expected prompt=512 or such, or lengths=TRACE",
        ),
        (
            "poisson,rate=1,n=1,output=3,lengths=azure-code-2023",
            "found both 'lengths' and 'output', expected lengths from a trace or prompt and "
            "output, not both",
        ),
        (
            f"poisson,rate=fast,n=1,{LENGTHS}",
            "rate: found 'fast', expected a finite number > 0",
        ),
        (f"poisson,rate=0,n=1,{LENGTHS}", "rate: found '0', expected a finite number > 0"),
        (
            f"poisson,rate=1,n=1.5,{LENGTHS}",
            "n: found '1.5', expected an integer from 1 to 100,000,000",
        ),
        (
            f"poisson,rate=1,n=0,{LENGTHS}",
            "n: found '0', expected an integer from 1 to 100,000,000",
        ),
        (
            f"poisson,rate=1,duration=1w,{LENGTHS}",
            "duration: found '1w', expected a number > 0 of seconds, or one with the suffix s, m, "
            "h or d",
        ),
        (
            f"poisson,rate=1e-9,duration=1,{LENGTHS}",
            "found no arrival within 1 s at 1e-09 a second",
        ),
        (
            f"poisson,rate=1e9,duration=1d,{LENGTHS}",
            "found 8.64e+13 queries to draw, expected 1 to 100,000,000",
        ),
        (
            f"diurnal,rate=1,n=1,peak=2.5,{LENGTHS}",
            "peak: found '2.5', expected peak over mean rate in [1, 2]",
        ),
        (
            "poisson,rate=1,n=1,prompt=0,output=1",
            "prompt: found '0', expected an integer >= 1 or lognormal:MEAN:CV with MEAN >= 1 and "
            "CV > 0",
        ),
        (
            "poisson,rate=1,n=1,prompt=1,output=lognormal:128",
            "output: found 'lognormal:128', expected an integer >= 0 or lognormal:MEAN:CV with "
            "MEAN >= 1 and CV > 0",
        ),
        (
            "poisson,rate=1,n=9,prompt=1,output=lognormal:1e300:9",
            "lognormal mean 1e+300, cv 9: found lengths above 2**53 tokens",
        ),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_line(recipe, line):
    with pytest.raises(BadTrace) as error:
        traces.load(f"synthetic:{recipe}")
    assert str(error.value) == f"synthetic:{recipe}: {line}"


def test_a_negative_seed_and_unknown_lengths_are_refused():
    with pytest.raises(BadTrace, match=r"^seed: found -1, expected an integer >= 0$"):
        traces.load(RECIPES[0], seed=-1)
    with pytest.raises(BadTrace, match=r"^nowhere: found no such file or shipped trace"):
        traces.load("synthetic:poisson,rate=1,n=1,lengths=nowhere")
