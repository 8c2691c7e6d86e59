"""A hyperparameter search as HTML: how far it is, the best so far, what the untouched rows say, the table of tries."""

from __future__ import annotations

from studio.forecast import duration
from studio.library.comparison import Metric
from studio.runs.comparison import is_share
from studio.search.overview import Overview, Row, judged_metrics
from studio.search.space import title_of
from studio.ui.html_parts import button, chip, e, facts, note, number
from studio.ui.library_compare import metric_text
from studio.ui.library_view import metric_title
from studio.ui.page import Page

STATES = {"running": "Running", "stopping": "Stopping", "stopped": "Stopped", "failed": "Failed", "done": "Done"}
_KINDS = {"running": "busy", "stopping": "warn", "stopped": "", "failed": "bad", "done": "good"}


def search_html(page: Page, found: Overview) -> str:
    """Return the whole view of a search."""
    state = chip(page.t(STATES[found.state]), _KINDS[found.state])
    head = f'<div class="run-head"><h3>{e(found.plan.title)}</h3>{state}</div>'
    reason = note(page.say(found.reason), "bad") if found.state == "failed" and found.reason else ""
    return (
        head
        + f'<p class="progress-words" role="status">{e(_progress(page, found))}</p>'
        + reason
        + _best_html(page, found)
        + f'<p class="actions">{_actions(page, found)}</p>'
        + _tries_html(page, found)
    )


def _progress(page: Page, found: Overview) -> str:
    live = found.state in ("running", "stopping")
    parts = [
        page.t("{done} of {count} {count:try|tries} begun", done=len(found.tries), count=found.plan.tries),
        page.t("{count} stopped early", count=found.count("weak")) if found.count("weak") else "",
        page.t("{time} used of {budget} at most", time=_time(page, found.spent), budget=_budget(page, found)),
        page.t("about {time} left", time=_time(page, found.left)) if live and found.left else "",
    ]
    if live and not found.tries and found.doing:
        parts.insert(0, page.say(found.doing))
    return " · ".join(part for part in parts if part)


def _budget(page: Page, found: Overview) -> str:
    return _time(page, 60 * found.plan.minutes)


def _time(page: Page, seconds: float) -> str:
    return page.say(duration(seconds))


def _best_html(page: Page, found: Overview) -> str:
    """Return the best try so far beside the recipe's own settings, and what the untouched rows say of both."""
    if found.best is None:
        text = page.t("No try is done yet. The first one has your own settings; the others are compared with it.")
        done = page.t("No try was finished. Allow more minutes, or make the runs shorter.")
        return note(done, "warn") if found.state == "done" else f'<p class="help">{e(text)}</p>'
    own = found.own is not None and found.own.run == found.best.run
    metric = metric_title(page, found.plan.metric)
    pairs = [
        (page.t("Best settings so far") if found.state != "done" else page.t("Best settings"), _values(page, found)),
        (
            page.t("{metric} on the {count} rows that choose", metric=metric, count=found.choosing),
            _figure(found, found.best.value)
            if own or found.own is None
            else page.t(
                "{best}; with your own settings {own}",
                best=_figure(found, found.best.value),
                own=_figure(found, found.own.value),
            ),
        ),
    ]
    text = page.t("Your own settings are the best of all tries that were finished.") if own else ""
    return facts(pairs) + (f'<p class="help">{e(text)}</p>' if text else "") + _judgement(page, found, own)


def _values(page: Page, found: Overview) -> str:
    draft = found.plan.draft
    return ", ".join(
        f"{page.say(title_of(draft, each))} {_plain(found.best.values[each.name])}" for each in found.plan.parameters
    )


def _judgement(page: Page, found: Overview, own: bool) -> str:
    """Return what the rows say that no try has seen, and how sure that is."""
    best = judged_metrics(found, found.best)
    if not best and found.state == "done" and found.not_judged:
        failed = page.t("The untouched rows could not judge it: {reason}", reason=page.say(found.not_judged))
        return note(failed, "warn")
    if not best:
        text = page.t(
            "The rows that choose flatter the best try. {count} other rows are untouched; they judge it at the end.",
            count=found.reporting,
        )
        return f'<p class="help">{e(text)}</p>'
    rival = judged_metrics(found, found.own) if found.own and not own else {}
    sentences = []
    for key, metric in best.items():
        title, value = metric_title(page, key), _judged(key, metric)
        sentences.append(
            page.t(
                "Judged on {count} rows that no try has seen: {metric} {best}; with your own settings {own}.",
                count=found.reporting,
                metric=title,
                best=value,
                own=_judged(key, rival[key]),
            )
            if key in rival
            else page.t(
                "Judged on {count} rows that no try has seen: {metric} {best}.",
                count=found.reporting,
                metric=title,
                best=value,
            )
        )
    sentences.append(page.t("On so few rows a small difference can be chance."))
    return "".join(f"<p>{e(text)}</p>" for text in sentences)


def _judged(key: str, metric: Metric) -> str:
    return metric_text(Metric(metric.value, metric.interval, None), is_share(key))


def _figure(found: Overview, value: float) -> str:
    return metric_text(Metric(value, None, None), is_share(found.plan.metric))


def _actions(page: Page, found: Overview) -> str:
    buttons = []
    if found.best:
        buttons.append(button(page.t("Use these settings"), "use", kind="primary"))
    if found.state == "running":
        buttons.append(button(page.t("Stop the search"), "stop"))
    elif found.state in ("stopped", "failed"):
        buttons.append(button(page.t("Continue the search"), "continue"))
    if len(found.tries) > 1:
        buttons.append(button(page.t("Compare its runs"), "compare"))
    return "".join(buttons)


def _tries_html(page: Page, found: Overview) -> str:
    if not found.tries:
        return ""
    draft = found.plan.draft
    heads = [
        page.t("Try"),
        *(page.say(title_of(draft, each)) for each in found.plan.parameters),
        metric_title(page, found.plan.metric),
        page.t("State"),
        page.t("Time"),
    ]
    rows = "".join(_try_html(page, found, at, row) for at, row in enumerate(found.tries, 1))
    head = "".join(f'<th scope="col">{e(title)}</th>' for title in heads)
    return (
        f'<div class="scroll" tabindex="0"><table class="plain search-tries"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _try_html(page: Page, found: Overview, at: int, row: Row) -> str:
    best = found.best is not None and row.run == found.best.run
    mark = f" {chip(page.t('best'), 'good')}" if best else ""
    own = f" {chip(page.t('your own'))}" if found.own and row.run == found.own.run else ""
    says = page.t("Show the run of try {number} above", number=at)
    cells = [
        f'<button type="button" class="link" data-act="run" data-item="{e(row.run)}" title="{e(says)}">{at}</button>'
        f"{mark}{own}",
        *(e(_plain(row.values[each.name])) for each in found.plan.parameters),
        e(_result(page, found, row)),
        e(_state(page, row)),
        "–" if row.seconds is None else e(_time(page, row.seconds)),
    ]
    return f'<tr class="{"best" if best else row.state}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _result(page: Page, found: Overview, row: Row) -> str:
    """Return the result of a try; for one that is not done, its last evaluation with its name if that is another."""
    if row.value is not None:
        return _figure(found, row.value)
    if row.latest is None:
        return "–"
    key, value = row.latest
    if key == "eval_loss" and found.plan.metric != "eval_loss":
        return page.t("{metric} {value}", metric=metric_title(page, key), value=number(value, 4))
    return _figure(found, value)


def _state(page: Page, row: Row) -> str:
    match row.state:
        case "weak":
            return page.t("stopped early at step {step}: worse than the others there", step=row.step)
        case "running":
            return page.t("running, step {step}", step=row.step)
        case "failed":
            return page.t("failed: {reason}", reason=page.say(row.reason))
        case state:
            return page.t({"queued": "waiting", "done": "done", "paused": "paused"}.get(state, "stopped"))


def _plain(value) -> str:
    return number(value, 4) if isinstance(value, float) else str(value)
