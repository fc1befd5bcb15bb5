"""What a click asks for is done, also when the next request is there before it has begun."""

import functools

from streamlit.runtime.scriptrunner.script_runner import ScriptRunner

from quantscope.ui.session.memory import in_callback

LOOK = "_maybe_handle_execution_control_request"  # ends the run, if another one is asked for


def keep_whole() -> None:
    """Let Streamlit end a run for the next one only when the run's callbacks are done.

    By itself it looks for the next request before it calls them as well. It then drops them: nothing
    remembers what was clicked. Streamlit has no setting for that, so its own method is wrapped here.
    """
    look = getattr(ScriptRunner, LOOK, None)
    if look is None or hasattr(look, "__wrapped__"):
        return

    @functools.wraps(look)
    def later(runner: ScriptRunner) -> None:
        if not in_callback():
            look(runner)

    setattr(ScriptRunner, LOOK, later)
