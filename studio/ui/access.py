"""Access control. On a local machine anyone who opens the page may change things; on a Space only its owner may.

Every handler that trains, imports, exports, renames or deletes is wrapped by `owner_only` (or bound with
`Page.on(…, changes=True)`, which applies it), because hiding a button protects nothing: anyone can call a handler by
its address.

    @owner_only("en")
    def delete(adapter_id: str): ...

This module does not depend on what the handlers do.
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
    """Return whether this is a Hugging Face Space, which is open to strangers."""
    return bool(os.environ.get("SPACE_ID"))


def owner() -> str:
    """Return the account that owns the Space.

    If it is an organisation, its members are not recognised and count as visitors.
    """
    return os.environ.get("SPACE_AUTHOR_NAME") or os.environ.get("SPACE_ID", "").partition("/")[0]


def may_change(profile: gr.OAuthProfile | None) -> bool:
    """Return whether the user with `profile` (None: not signed in) may change anything.

    On a Space, a profile is trusted only if Gradio's sign-in is real (SYSTEM=spaces; otherwise it is a mock that admits
    anyone) and its cookie is signed with a secret (otherwise anyone can forge one).
    """
    if not on_space():
        return True
    real = os.environ.get("SYSTEM") == "spaces" and bool(os.environ.get("OAUTH_CLIENT_SECRET"))
    name = getattr(profile, "username", None) if profile is not None else None
    return real and bool(name) and str(name).lower() == owner().lower()


def require_owner(profile: gr.OAuthProfile | None, language: str = "en") -> None:
    """Raise `gr.Error` with the reason unless the user may change things."""
    if not may_change(profile):
        raise gr.Error(PRIVATE.say(language), title="Delta Studio", print_exception=False)


def owner_only(language: str = "en") -> Callable[[Callable], Callable]:
    """Return a decorator for handlers that rejects everyone but the owner before the handler runs.

    The wrapped handler has one more parameter, which Gradio fills in because of its annotation. It comes first because
    Gradio assigns values by position: after a parameter with a default, the profile would be assigned to that one.
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
    """Give `wrapper` the name and, after `first`, the parameters of `handler`, in the form that Gradio inspects."""
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
    """Create the sign-in button on a Space; return None elsewhere.

    Elsewhere Gradio's button would be a mock, and no sign-in is needed.
    """
    if not on_space():
        return None
    words = {
        "value": translate("Sign in with Hugging Face", language),
        "logout_value": translate("Sign out ({})", language),
    }
    return gr.LoginButton(**words, size="sm", elem_classes="login")
