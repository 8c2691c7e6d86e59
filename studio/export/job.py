"""The `export` job: write one export of an adapter, prove it, and only then list it."""

from __future__ import annotations

from studio.export import outputs
from studio.export.source import find_source
from studio.export.targets import Target, require_target
from studio.export.work import Work, disk_is_full
from studio.jobs.job import Job
from studio.library import adapter_store, lineage
from studio.options import require_valid
from studio.words import Sentence, StudioError


def export(job: Job) -> dict:
    """Payload: {"adapter": id, "target": key of TARGETS, "options": {…}}, and for the Hub where to fetch its token.

    Returns {"fraction": 1} with "export" (id of the finished export), "adapter" (id of the new card) or "address" (of
    the repository), and "proofs". Raises StudioError where the adapter does not fit, the disk is full, or what was
    written, read back in a fresh process, is not what the adapter is.
    """
    outputs.sweep(job.home, job.store)
    target = require_target(job.payload.get("target", ""))
    options = require_valid(target.options, job.payload.get("options") or {})
    source = find_source(job.home, job.store, job.payload["adapter"])
    if refusal := target.refusal(source):
        raise StudioError(refusal)
    with outputs.writing(job.home, job.id) as half:
        work = Work(job, source, options, half)
        try:
            target.write(work)
            return _keep(work, target)
        except OSError as error:
            if not disk_is_full(error):
                raise
            raise StudioError(
                "The disk is full: the export of '{name}' could not be written. Free some space and try again.",
                name=source.name,
            ) from error


def _keep(work: Work, target: Target) -> dict:
    """List the finished export; returns the job's result."""
    proofs = [proof.to_json() for proof in work.proofs]
    options = work.options.model_dump(mode="json")
    result = {"fraction": 1.0, "target": target.key, "proofs": proofs, **work.extra}
    work.job.check_stop()
    if target.key == "merged" and options["place"] == "library":
        work.step(0.95, Sentence("Adding the merged model to the library"))
        return {**result, "adapter": add_merged(work)}
    manifest = {"adapter": work.source.adapter_id, "name": work.source.name, "options": options, **result}
    export_id = outputs.new_id(work.source.adapter_id, target.key)
    outputs.keep(work.home, work.folder, export_id, manifest)
    return {**result, "export": export_id}


def add_merged(work: Work) -> str:
    """Add the merged model in the work's folder to the library as ID-merged; returns its id.

    A model that was merged from the same adapter is replaced. Raises StudioError if another one has this id.
    """
    source, proof = work.source, work.proofs[0]
    new_id = f"{source.adapter_id}-merged"
    there = work.job.store.adapter(new_id)
    parents = [lineage.parent(source.adapter_id, source.name, "merged")]
    if there and [each["id"] for each in there["card"].get("parents", ())] != [source.adapter_id]:
        raise StudioError("The library has another '{name}' already; rename or delete it first.", name=there["name"])
    bits = "32 bit" if work.options.dtype == "fp32" else "16 bit"
    card = {
        **source.card,
        "kind": "model",
        "artefact_type": "model",
        "summary": f"{source.card.get('summary', '')}, merged in {bits}",
        "parents": parents,
        "difference": proof.difference,
        "proof": proof.to_json(),
    }
    card.pop("finished", None)
    return adapter_store.add(
        work.home,
        work.job.store,
        source=work.folder,
        name=f"{source.name[:100]} (merged)",
        run_id=None,
        card=card,
        adapter_id=new_id,
    )
