"""Who may change things. On one's own machine: whoever opened the window. On a Space: its owner; visitors look.

Every handler that trains, imports, exports, renames or deletes is wrapped by `owner_only` (or `Page.on(…, changes=True)`,
which does that), because a hidden button protects nothing: anybody can call a handler by its address.

    @owner_only("en")
    def delete(adapter_id: str): ...

It knows nothing about what the handlers do.
"""

from __future__ import annotations

import functools
import inspect
import os
import typing
from collections.abc import Callable

import gradio as gr

from studio.words import Sentence, translate

PRIVATE = Sentence(
    "Only the owner of this Space can do that. Sign in as the owner, or duplicate the Space to get your own."
)


def on_space() -> bool:
    """Whether this is a Hugging Face Space, which strangers can open."""
    return bool(os.environ.get("SPACE_ID"))


def owner() -> str:
    """The account that the Space belongs to. Members of an organisation are not told apart, so they count as visitors."""
    return os.environ.get("SPACE_AUTHOR_NAME") or os.environ.get("SPACE_ID", "").partition("/")[0]


def may_change(profile: gr.OAuthProfile | None) -> bool:
    """Whether the person behind `profile` (None: not signed in) may change anything.

    A profile is worth something only where Gradio's sign-in is the real one (SYSTEM=spaces; else it is a mock that lets
    anyone in) and its cookie is signed with a secret (else anyone can write one).
    """
    if not on_space():
        return True
    real = os.environ.get("SYSTEM") == "spaces" and bool(os.environ.get("OAUTH_CLIENT_SECRET"))
    name = getattr(profile, "username", None) if profile is not None else None
    return real and bool(name) and str(name).lower() == owner().lower()


def require_owner(profile: gr.OAuthProfile | None, language: str = "en") -> None:
    """Raise a `gr.Error` that says why, unless the person may change things."""
    if not may_change(profile):
        raise gr.Error(PRIVATE.say(language), title="Delta Studio", print_exception=False)


def owner_only(language: str = "en") -> Callable[[Callable], Callable]:
    """A decorator for handlers: refuses everybody but the owner before the handler runs.

    The wrapped handler has one more parameter, in front, which Gradio fills in because of its annotation; in front,
    because Gradio counts positions, and behind a parameter with a default it would land in that one.
    """

    def decorate(handler: Callable) -> Callable:
        if inspect.isgeneratorfunction(handler):

            def guarded(_profile, *args, **kwargs):
                require_owner(_profile, language)
                yield from handler(*args, **kwargs)

        else:

            def guarded(_profile, *args, **kwargs):
                require_owner(_profile, language)
                return handler(*args, **kwargs)

        first = inspect.Parameter("_profile", inspect.Parameter.POSITIONAL_ONLY, annotation=gr.OAuthProfile | None)
        return copy_signature(guarded, handler, first)

    return decorate


def copy_signature(wrapper: Callable, handler: Callable, *first: inspect.Parameter) -> Callable:
    """Give `wrapper` the name and the parameters of `handler`, after `first`, in the way in which Gradio reads them."""
    functools.update_wrapper(wrapper, handler)
    try:
        hints = typing.get_type_hints(handler)
    except (NameError, TypeError):
        hints = dict(getattr(handler, "__annotations__", {}))
    rest = list(inspect.signature(handler).parameters.values())
    wrapper.__signature__ = inspect.Signature([*first, *rest])
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in first} | hints
    return wrapper


def login_button(language: str = "en") -> gr.LoginButton | None:
    """The sign-in button where it is real. Elsewhere Gradio's would be a mock, and nobody needs one."""
    if not on_space():
        return None
    words = {
        "value": translate("Sign in with Hugging Face", language),
        "logout_value": translate("Sign out ({})", language),
    }
    return gr.LoginButton(**words, size="sm", elem_classes="login")
