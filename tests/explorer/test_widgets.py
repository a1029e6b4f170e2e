"""Widgets that several pages share."""

from streamlit.testing.v1 import AppTest


def page_with_a_choice():
    import streamlit as st

    from explorer.controls.widgets import choose_one

    st.text(choose_one("Samples", ("test", "train"), {"test": "Test"}, first="train", key="samples of a study"))


def test_a_choice_is_the_first_one_until_another_is_chosen():
    page = AppTest.from_function(page_with_a_choice).run()
    assert page.text[0].value == "train"
    assert page.segmented_control[0].options == ["Test", "train"]
    page.segmented_control[0].set_value("test").run()
    assert page.text[0].value == "test"


def test_without_a_value_from_the_browser_it_is_the_first_one():
    """A click elsewhere may come before the browser has drawn the control."""
    page = AppTest.from_function(page_with_a_choice).run()
    page.segmented_control[0].set_value(None).run()
    assert not page.exception
    assert page.text[0].value == "train"
