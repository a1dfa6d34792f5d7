"""Sentences of commands fit a terminal, whatever words they have."""

from hypothesis import given
from hypothesis import strategies as st

from jaxreid.cli.lines import WIDTH, say, wrapped

WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=120)


@given(st.lists(WORDS, max_size=40))
def test_no_word_is_lost_or_cut_and_lines_are_short(words):
    lines = wrapped(" ".join(words))
    assert " ".join(lines).split() == words
    assert all(len(line) <= WIDTH or len(line.split()) == 1 for line in lines)


def test_a_sentence_goes_on_indented(capsys):
    say("image-steps/s " * 7)
    first, second = capsys.readouterr().out.splitlines()
    assert first == " ".join(["image-steps/s"] * 5)
    assert second == "  image-steps/s image-steps/s"
