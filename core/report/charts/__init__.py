"""Charts of a study, each a function from tables to an Altair chart, for the app, reports, notebooks and figures.

Only modules in this room and its callers in the app import Altair at the top; other rooms import this one inside a
function, so that `import core` and the command line work without Altair.
"""

try:
    import altair  # noqa: F401  # the one place that says what to do where it is missing
except ImportError as error:
    raise ImportError("charts need Altair, which is not installed: pip install altair.") from error
