"""The HTML of the export panel: targets, progress, finished exports, and which programs take the adapter."""

from __future__ import annotations

from studio.export import compatibility, outputs
from studio.export.source import Source
from studio.export.targets import TARGETS, Target
from studio.ui.html_parts import button, chip, e, note, size
from studio.ui.page import Page

_VERDICTS = {
    compatibility.DIRECT: ("as it is", "good"),
    compatibility.MERGED: ("merged model only", "warn"),
    compatibility.NO: ("no", "bad"),
}


def targets_html(page: Page, source: Source, chosen: str) -> str:
    """The targets as buttons, the `chosen` one pressed; those that do not fit are greyed out with the reason."""
    cards = "".join(_target(page, source, each, chosen) for each in TARGETS.values())
    return f'<div class="examples wide export-targets">{cards}</div>'


def _target(page: Page, source: Source, target: Target, chosen: str) -> str:
    refused = target.refusal(source)
    state = 'aria-disabled="true"' if refused else f'aria-pressed="{"true" if target.key == chosen else "false"}"'
    about = f"<span>{e(page.t(target.explanation))}</span>"
    about += (
        f'<span class="why-not">{e(page.t("Does not fit:"))} {e(page.say(refused))}</span>'
        if refused
        else f"<span>{e(page.t('Needs:'))} {e(page.t(target.needs))}</span>"
    )
    return (
        f'<button type="button" class="example" data-act="target" data-item="{e(target.key)}" {state}>'
        f"<b>{e(page.t(target.title))}</b>{about}</button>"
    )


def progress_html(page: Page, job: dict | None) -> str:
    """What the export job `job` does, with a bar; its result or the reason of its failure when it has ended."""
    if job is None:
        return ""
    match job["state"]:
        case "queued":
            return note(page.t("Waiting: exports are made one after another."))
        case "running":
            share = (job["result"] or {}).get("fraction", 0.0)
            words = page.say(job["doing"]) or page.t("Starting a worker")
            bar = f'<div class="progress" aria-hidden="true"><span style="width:{share:.0%}"></span></div>'
            return f'<p class="progress-words" role="status">{share:.0%} · {e(words)}</p>{bar}'
        case "failed":
            return note(page.say(job["reason"]), "bad")
        case "stopped":
            return note(page.t("Cancelled; nothing was kept."))
        case _:
            return _result_html(page, job["result"] or {})


def _result_html(page: Page, result: dict) -> str:
    text = page.t("Done. {proof}", proof=proof_text(page, result.get("proofs") or []))
    if "adapter" in result:
        text += " " + page.t("It is in the library now, as a card of its own.")
    if "address" in result:
        text += " " + page.t("It is at {address}", address=result["address"])
    return note(text, "good")


def proof_text(page: Page, proofs: list[dict]) -> str:
    """One sentence a proof: "Read back by peft: largest difference 3e-6 (bound 0.0001)."."""
    sentences = []
    for proof in proofs:
        values = {"reader": proof["reader"], "difference": f"{proof['difference']:.1g}"}
        if proof["moved_bound"]:
            sentences.append(
                page.t(
                    "Read back by {reader}: {format} moves the logits by {moved} % of their spread "
                    "(bound {bound} %), at most by {difference}.",
                    format=proof["format"],
                    moved=f"{100 * proof['moved']:.2g}",
                    bound=f"{100 * proof['moved_bound']:.2g}",
                    **values,
                )
            )
        else:
            sentences.append(
                page.t(
                    "Read back by {reader}: largest difference of a logit {difference} (bound {bound}).",
                    bound=f"{proof['bound']:.1g}",
                    **values,
                )
            )
    return " ".join(sentences)


def past_html(page: Page, adapter: str) -> str:
    """The finished exports of the adapter, with a button for each file and one that deletes the export."""
    found = outputs.listing(page.home, adapter)
    if not found:
        return f'<p class="help">{e(page.t("No exports of this adapter yet."))}</p>'
    return "".join(_export(page, manifest) for manifest in found)


def _export(page: Page, manifest: dict) -> str:
    target, options = TARGETS.get(manifest["target"]), manifest.get("options") or {}
    title = page.t(target.title) if target else manifest["target"]
    kind = options.get("format") or options.get("dtype") or ""
    total = sum(each["bytes"] for each in manifest["files"])
    files = "".join(
        button(
            page.t("Download {name} ({size})", name=each["name"], size=size(each["bytes"])),
            "download",
            f"{manifest['id']}/{each['name']}",
        )
        for each in manifest["files"]
    )
    when = manifest["finished"][:16].replace("T", " ")
    about = " · ".join(part for part in (size(total) if total else "", when) if part)
    address = manifest.get("address", "")
    link = f'<p><a href="{e(address)}" target="_blank" rel="noopener">{e(address)}</a></p>' if address else ""
    delete = button(
        page.t("Delete"), "delete", manifest["id"], kind="danger", says=f"{page.t('Delete')}: {title} {when}"
    )
    return (
        f'<article class="card export"><header><h4>{e(title)}</h4>{chip(kind) if kind else ""}</header>'
        f'<p class="help">{e(about)}</p>{link}<p class="help">{e(proof_text(page, manifest.get("proofs") or []))}</p>'
        f"<footer>{files}{delete}</footer></article>"
    )


def compatibility_html(page: Page, source: Source) -> str:
    """Which programs take the adapter, with links to their documentation."""
    rows = ""
    for verdict in compatibility.verdicts(source):
        text, kind = _VERDICTS[verdict.verdict]
        links = " ".join(
            f'<a href="{e(address)}" target="_blank" rel="noopener" '
            f'aria-label="{e(verdict.title)}, {number}">[{number}]</a>'
            for number, address in enumerate(verdict.sources, 1)
        )
        rows += (
            f'<tr><th scope="row">{e(verdict.title)}</th><td>{chip(page.t(text), kind)}</td>'
            f"<td>{e(page.say(verdict.sentence))}</td><td>{links}</td></tr>"
        )
    if not rows:
        return ""
    heads = "".join(
        f'<th scope="col">{e(page.t(head))}</th>' for head in ("Program", "Takes it", "Why, and how", "Sources")
    )
    read = page.t("As their documentation had it on {day}.", day=compatibility.read_on())
    return (
        f'<details class="programs"><summary>{e(page.t("Which programs take this adapter?"))}</summary>'
        f'<div class="scroll" tabindex="0"><table class="plain"><caption>{e(read)}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div></details>"
    )
