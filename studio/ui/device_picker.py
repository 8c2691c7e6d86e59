"""The devices of this machine with the memory that each has free and what runs there; a click chooses one for the next
run. Part of the Train tab.
"""

from __future__ import annotations

from studio import hardware
from studio.ui.html_parts import e, size
from studio.ui.page import Page

_ROUND = 5e8  # bytes, so that the picker does not change with every small fluctuation


def devices_html(page: Page) -> str:
    """Return a button for each device, "auto" first, with the state of its queue; "" where there is only a CPU."""
    here = hardware.machine()
    if not here.gpus:
        return ""
    wanted = (page.editor.draft().get("machine") or {}).get("device", "auto")
    jobs = page.store.jobs("queued", "running", kind="train")
    buttons = [_button(page, "auto", page.t("Automatic"), page.t("the first free GPU"), wanted)]
    for device in (*(gpu.device for gpu in here.gpus), "cpu"):
        free = page.t(
            "{free} of {total} free",
            free=size(round(here.free_on(device) / _ROUND) * _ROUND),
            total=size(here.memory_of(device)),
        )
        about = " · ".join([free, *_claims(page, [job for job in jobs if job["device"] == device])])
        buttons.append(_button(page, device, f"{device} · {page.say(here.short(device))}", about, wanted))
    title = e(page.t("Device of the next run"))
    return f'<div class="examples wide" role="group" aria-label="{title}">{"".join(buttons)}</div>'


def _claims(page: Page, jobs: list[dict]) -> list[str]:
    running = sum(job["state"] == "running" for job in jobs)
    waiting = len(jobs) - running
    return [
        *([page.t("a run is on it")] if running else []),
        *([page.t("{count} {count:run|runs} waiting", count=waiting)] if waiting else []),
    ]


def _button(page: Page, device: str, title: str, about: str, wanted: str) -> str:
    pressed = "true" if device == wanted else "false"
    return (
        f'<button type="button" class="example" data-act="device" data-item="{e(device)}" aria-pressed="{pressed}">'
        f"<strong>{e(title)}</strong><span>{e(about)}</span></button>"
    )


def choose(page: Page, device: str) -> str:
    """Make `device` that of the next run; returns the stamp of the changed draft."""
    page.editor.change(machine={**page.editor.draft()["machine"], "device": device})
    return page.stamp("device")
