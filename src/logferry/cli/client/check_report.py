"""The report of `logferry check-config` on a valid client configuration. Makes text only; never prints."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from logferry.cli.output import shown
from logferry.client.finding.preview import InputPreview
from logferry.config import STANDARD_INPUT, ShipSettings
from logferry.model.encoding_names import UTF_8


def check_report(
    settings: ShipSettings, inputs: Sequence[InputPreview], state_dir: Path, left_alone: Sequence[str] = ()
) -> str:
    """Return the summary: where and how the client ships, and which files each input matches now.

    `left_alone` are sentences about the folders from which files will not be deleted or moved.
    """
    lines = [
        f"OK: {settings.config or 'the configuration is valid'}",
        *_common(settings, state_dir),
        *(f"input {number}  {_input(found)}" for number, found in enumerate(inputs, 1)),
        *(f"warning  {sentence}" for sentence in left_alone),
    ]
    return "\n".join(map(shown, lines))


def _common(settings: ShipSettings, state_dir: Path) -> Iterator[str]:
    ways = [settings.mode]
    ways += ["resilient"] if settings.resilient else []
    ways += ["gzip"] if settings.compress else []
    ways += ["then deleted"] if settings.delete_after else []
    ways += [f"then moved to {settings.move_after}"] if settings.move_after else []
    for host, port in settings.servers:
        yield f"server   {host} port {port}{_security(settings)}"
    if len(settings.servers) > 1:
        yield f"policy   {settings.server_policy}"
    yield f"mode     {', '.join(ways)}"
    yield f"state    {state_dir}"
    if settings.follow_foreign_links:
        yield "links    followed also to files of other users"


def _security(settings: ShipSettings) -> str:
    if not settings.tls:
        return ""
    parts = ["the server is NOT verified" if settings.tls_insecure else f"trusting {settings.tls_ca or 'the system'}"]
    parts += [f"expecting {settings.tls_server_name}"] if settings.tls_server_name else []
    parts += [f"with the certificate {settings.tls_cert}"] if settings.tls_cert else []
    return f" by TLS, {', '.join(parts)}"


def _input(found: InputPreview) -> str:
    own = found.settings
    parts = [f"format {own.format}"]
    parts += [f"encoding {own.encoding}"] if own.encoding != UTF_8 else []
    parts += [f"multiline {own.multiline}"] if own.multiline else []
    parts += [f"excluding {', '.join(own.exclude)}"] if own.exclude else []
    parts += [f"fields {', '.join(f'{key}={value}' for key, value in own.field)}"] if own.field else []
    if found.unreadable:
        parts.append(f"{len(found.unreadable)} of the files cannot be read, such as {found.unreadable[0]}")
    if links := found.foreign:
        parts.append(
            f"{len(links)} of the files are behind links to other users' files, which root follows only with "
            f"--follow-foreign-links, such as {links[0]}"
        )
    if taken := found.claimed_earlier:
        parts.append(f"{len(taken)} of the files left to an earlier input, such as {taken[0]}")
    return "; ".join([f"{', '.join(own.log_file)}: {_count(found)}", *parts])


def _count(found: InputPreview) -> str:
    if STANDARD_INPUT in found.settings.log_file:
        return "standard input"
    count = len(found.files)
    return {0: "no file matches now", 1: "1 file now"}.get(count, f"{count} files now")
