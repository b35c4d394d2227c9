"""Every colour is told apart from what it is drawn on, as WCAG 2.2 AA asks, in both schemes."""

import pytest

from simulate.html.palette import DARK, LIGHT, STATES, contrast


def test_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#ffffff", "#ffffff") == 1.0
    # A known pair: the lightest grey that AA lets text have on white.
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
class TestScheme:
    def test_text_is_readable(self, scheme):
        for text in (scheme.ink, scheme.muted, scheme.accent):
            for behind in (scheme.surface, scheme.raised):
                assert contrast(text, behind) >= 4.5, (text, behind)

    def test_what_is_drawn_is_seen(self, scheme):
        drawn = (*scheme.series, *scheme.states, *scheme.loads, scheme.line, scheme.shade)
        for colour in drawn:
            assert contrast(colour, scheme.surface) >= 3.0, colour

    def test_no_two_jobs_of_a_kind_share_a_colour(self, scheme):
        for colours in (scheme.series, scheme.states, scheme.loads):
            assert len(set(colours)) == len(colours)
        assert len(scheme.states) == len(STATES)
