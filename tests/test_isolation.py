"""Tests do not see what others have left behind."""

import sys
from pathlib import Path

from streamlit.testing.v1 import AppTest

from tests.conftest import MAIN_MODULE

METHOD = Path(__file__).resolve().parents[1] / "explorer" / "app_pages" / "method" / "view.py"


def test_first_a_page_takes_the_place_of_the_main_module():
    AppTest.from_file(METHOD, default_timeout=60).run()
    assert sys.modules["__main__"] is not MAIN_MODULE  # else the next test and the hook behind it are needless


def test_then_the_main_module_is_pytest_s_again():
    assert sys.modules["__main__"] is MAIN_MODULE
