"""Access control. On a local machine anyone who opens the page may change things; on a Space only its owner may.

Every handler that trains, imports, exports, renames or deletes is wrapped by `owner_only` (or bound with
`Page.on(…, changes=True)`, which applies it), because hiding a button protects nothing: anyone can call a handler by
its address.

    @owner_only("en")
    def delete(adapter_id: str): ...

Handlers that draw something private (rows, answers, logs, recipes) are wrapped by `hidden_from_visitors` (or bound with
`Page.on(…, shows="data")`): on a Space a visitor gets nothing from them unless the owner shows that topic.

This module does not depend on what the handlers do.
"""

from __future__ import annotations

import functools
import inspect
import os
import typing
from collections.abc import Callable

import gradio as gr

from studio.store import Store
from studio.words import Sentence, translate

_PROFILE = inspect.Parameter("_profile", inspect.Parameter.POSITIONAL_ONLY, annotation=gr.OAuthProfile | None)
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


TOPICS = {
    "data": "Rows of the data, and what was found in them",
    "answers": "Answers to the validation rows",
    "recipes": "Recipes, with the names of models and files",
    "logs": "Logs and errors of the runs",
}
"""What the owner of a Space can show to visitors, and how the page calls it. Nothing of it is shown unless chosen."""
_SHOWN = "shown_to_visitors"  # key of the store's note: a list of topics


def shown_topics(store: Store) -> list[str]:
    """Return the topics that the owner shows to the visitors of the Space."""
    return [topic for topic in store.note(_SHOWN, []) if topic in TOPICS]


def show_topics(store: Store, topics: list[str]) -> None:
    """Choose the topics that visitors see."""
    store.set_note(_SHOWN, [topic for topic in TOPICS if topic in topics])


def may_see(topic: str, profile: gr.OAuthProfile | None, store: Store) -> bool:
    """Return whether the user with `profile` (None: not signed in) may see what belongs to a key of `TOPICS`."""
    return may_change(profile) or topic in shown_topics(store)


def seen_by(profile: gr.OAuthProfile | None, store: Store) -> list[str]:
    """Return the keys of `TOPICS` that the user with `profile` may see."""
    return [topic for topic in TOPICS if may_see(topic, profile, store)]


def hidden_from_visitors(topic: str, store: Store, count: int) -> Callable[[Callable], Callable]:
    """Return a decorator for handlers with `count` outputs: who may not see the topic gets no update of any of them.

    There is no error, because such handlers also run by themselves, when the page is loaded or redrawn.
    """

    def decorate(handler: Callable) -> Callable:
        nothing = gr.skip() if count == 1 else [gr.skip()] * count

        def guarded(_profile, *args, **kwargs):
            return handler(*args, **kwargs) if may_see(topic, _profile, store) else nothing

        return copy_signature(guarded, handler, _PROFILE)

    return decorate


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

        return copy_signature(guarded, handler, _PROFILE)

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
