"""The part of a report that is of the files which embed and search at once."""

from keras_distill.retrieval.page_markup import html_section, html_table, or_dash

SEARCHES = {"search", "task_library"}
COLUMNS = (
    "file",
    "kB",
    "of it index, kB",
    "looks at",
    "nearest found, %",
    "ids of exact search, %",
    "largest error of a score",
    "ms an image",
)


def search_files(manifest):
    """Sets the files that name the nearest of an image beside exact search.

    Args:
        manifest: Dictionary, the manifest of a bundle, with a section of `SEARCHES`.

    Returns:
        String, HTML.
    """
    lines, asked, note = [], [], ""
    if "search" in manifest:
        facts = manifest["search"]
        part = f"{facts['probes']} of {facts['lists']} lists"
        looks = "all rows" if facts["kind"] == "two_stage" else part
        asked.append(facts)
        lines.append(_line(facts, None, looks, facts["recall"], facts["overlap"]))
    if "task_library" in manifest:
        facts = manifest["task_library"]
        index, found = facts["index"], facts["recall_at_10"]
        part = f"{index['searched']} of {index['partitions']} parts"
        looks = "all rows" if index["kind"] == "brute_force" else part
        asked.append(facts)
        lines.append(_line(facts, index["bytes"], looks, found, facts["overlap_at_10"]))
        note = (
            f" The embeddings of {facts['file']}, which the Task Library loads, differ "
            f"from those of the int8 file by {facts['embedding_difference']:g}."
        )
    queries = " and ".join(f"{some['queries']:,} of {some['file']}" for some in asked)
    note = (
        "An image to its nearest, compared with exact search among the same "
        f"embeddings, for queries: {queries}. Of equally near images either counts as "
        f"found.{note}"
    )
    return html_section("Search in one file", note, html_table(COLUMNS, lines))


def _line(facts, index, looks, recall, overlap):
    return [
        facts["file"],
        f"{facts['bytes'] / 1000:,.1f}",
        or_dash(index, lambda size: f"{size / 1000:,.1f}"),
        looks,
        f"{100 * recall:.2f}",
        f"{100 * overlap:.2f}",
        f"{facts['score_difference']:.1e}",
        or_dash(facts.get("milliseconds"), lambda time: f"{time:.3f}"),
    ]
