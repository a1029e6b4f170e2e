"""A client that speaks Streamlit's protocol over a real websocket, and need not be honest."""

from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from typing import Any

from google.protobuf.message import Message
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.sync.client import ClientConnection, connect

# The field of a widget's state by the kind of its element.
FIELDS = {
    "button": "trigger_value",
    "button_group": "string_array_value",
    "checkbox": "bool_value",
    "number_input": "double_value",
    "selectbox": "string_value",
    "multiselect": "string_array_value",
    "slider": "double_array_value",
    "text_input": "string_value",
    "vega_lite_chart": "string_value",
    "dataframe": "string_value",
    "file_uploader": "file_uploader_state_value",
}


class Session:
    """One session of an app.

    Attributes
    ----------
    elements : of the last run of the script, in order: their kind and their message.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._page = ""
        self._sent: dict[str, WidgetState] = {}
        self._fragments: dict[str, str] = {}
        self.query = ""
        self.elements: list[tuple[str, Any]] = []

    def open(self, page: str, query: str = "") -> None:
        """Run a page, named as in its address."""
        message = BackMsg()
        message.rerun_script.page_name, message.rerun_script.query_string = page, query
        self._sent, self.query = {}, query
        self._run(message)

    def send(self, values: Mapping[str, Any], *, ids: Mapping[str, str] | None = None) -> None:
        """Give widgets values, and run the page again.

        values : by the key of a widget, or its id. A value is a state's field and what is in it, or just the latter.
        ids : of widgets that the page does not show, by key.
        """
        message = BackMsg()
        message.rerun_script.page_script_hash, message.rerun_script.query_string = self._page, self.query
        known = self.widgets() | dict(ids or {})
        triggers = set()
        for key, value in values.items():
            widget = known.get(key, key)
            field, content = value if isinstance(value, tuple) else (self._field(widget), value)
            state = WidgetState(id=widget)
            _set(state, field, content)
            self._sent[widget] = state
            if field.endswith("trigger_value"):
                triggers.add(widget)
            if widget in self._fragments:
                message.rerun_script.fragment_id = self._fragments[widget]
        message.rerun_script.widget_states.widgets.extend(self._sent.values())
        for widget in triggers:
            del self._sent[widget]
        self._run(message)

    def widgets(self) -> dict[str, str]:
        """The ids of the widgets on the page by key; by id where they have none."""
        ids = [message.id for _, message in self.elements if getattr(message, "id", "")]
        return {_key(widget): widget for widget in ids}

    def kinds(self) -> dict[str, str]:
        """The kinds of the widgets on the page by key."""
        return {_key(message.id): kind for kind, message in self.elements if getattr(message, "id", "")}

    def texts(self, kind: str) -> list[str]:
        """What the elements of a kind say: of "alert", "markdown", "exception", "code" …"""
        found = [message for name, message in self.elements if name == kind]
        return [getattr(message, "body", "") or getattr(message, "message", "") or str(message) for message in found]

    def value(self, key: str) -> Any:
        """The message of the widget of this key."""
        return next(message for _, message in self.elements if _key(getattr(message, "id", "")) == key)

    def _field(self, widget: str) -> str:
        absent = ("button", None)
        kind, message = next((one for one in self.elements if getattr(one[1], "id", "") == widget), absent)
        return "string_array_value" if kind == "slider" and message.options else FIELDS[kind]

    def _run(self, message: BackMsg) -> None:
        self._connection.send(message.SerializeToString())
        self.elements, fragment = [], bool(message.rerun_script.fragment_id)
        while True:
            answer = ForwardMsg()
            answer.ParseFromString(self._connection.recv(timeout=60))
            kind = answer.WhichOneof("type")
            if kind == "new_session":
                self.elements = self.elements if fragment else []
            elif kind == "navigation":
                self._page = answer.navigation.page_script_hash
            elif kind == "page_info_changed":
                self.query = answer.page_info_changed.query_string
            elif kind == "delta" and answer.delta.WhichOneof("type") == "new_element":
                element = answer.delta.new_element
                name = element.WhichOneof("type")
                self.elements.append((name, getattr(element, name)))
                if answer.delta.fragment_id:
                    self._fragments[getattr(self.elements[-1][1], "id", "")] = answer.delta.fragment_id
            elif kind == "script_finished" and answer.script_finished in (
                ForwardMsg.FINISHED_SUCCESSFULLY,
                ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY,
                ForwardMsg.FINISHED_WITH_COMPILE_ERROR,
            ):
                return


@contextmanager
def session(address: str, *, cookies: str = "") -> Iterable[Session]:
    """A session of the app at an address such as http://127.0.0.1:8501."""
    headers = {"Cookie": cookies} if cookies else {}
    url = f"ws{address.removeprefix('http')}/_stcore/stream"
    with connect(url, subprotocols=["streamlit"], additional_headers=headers, max_size=None) as connection:
        yield Session(connection)


def _key(widget: str) -> str:
    """A widget's key, which is the end of its id: `$$ID-hash-key`."""
    if not widget.startswith("$$ID-"):
        return widget
    key = widget.split("-", 2)[2]
    return widget if key == "None" else key


def _set(state: WidgetState, field: str, content: Any) -> None:
    target = getattr(state, field)
    if isinstance(content, Message):
        target.CopyFrom(content)
    elif hasattr(target, "data"):
        target.data.extend(content)
    else:
        setattr(state, field, content)
