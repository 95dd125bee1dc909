"""`replay_trace`: send a recorded trace of calls through the Gateway API."""

import asyncio
import json
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from portal import env
from portal.gateway import replay, runs
from portal.gateway.replay import Outcome, Replay, Row
from portal.lib.errors import RuleBroken
from portal.lib.money import decimal_string
from portal.organization.selectors import current as current_organization
from portal.web.commands import PortalCommand, Refused, UsageError
from projects.models import Project

_MOST_CLIENTS = 1000


def _speed(text: str) -> float | None:
    return None if text == "max" else float(text)


class Command(PortalCommand):
    help = (
        "Send a CSV of TIMESTAMP,ContextTokens,GeneratedTokens through the Gateway API as now, with a gateway and a"
        " user token of its own, revoked at the end. The same --run resumes a run that was cut off."
    )

    def add_options(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="the trace")
        parser.add_argument("--project", required=True, metavar="CODE", help="the project that spends")
        parser.add_argument("--model", required=True, help="the model of every call")
        parser.add_argument("--clients", type=int, default=16, help="calls in flight at a time (default 16)")
        parser.add_argument("--url", help="the portal's address (default: the one that runs on these data)")
        parser.add_argument("--run", help="a name for the run; one that was used resumes it")
        parser.add_argument(
            "--speed",
            type=_speed,
            default=None,
            metavar="N|max",
            help="times as fast as recorded (default max)",
        )

    def perform(self, **options: Any) -> int | None:
        if not 1 <= options["clients"] <= _MOST_CLIENTS:
            raise UsageError(f"--clients is 1 to {_MOST_CLIENTS}.")
        if options["speed"] is not None and not options["speed"] > 0:
            raise UsageError("--speed is more than 0, or max.")
        try:
            rows = list(replay.read_trace(options["file"]))
            run = replay.checked_run(options["run"] or replay.new_run())
        except OSError as error:
            raise UsageError(f"{options['file']}: {error.strerror}.") from error
        except (RuleBroken, UnicodeDecodeError) as error:
            raise UsageError(str(error)) from error
        project = Project.objects.filter(code=options["project"]).first()
        if project is None:
            raise Refused(f"There is no project {options['project']}.")
        with runs.alone(run) as mine:
            if not mine:
                raise Refused(f"The run {run} is under way. Wait for its end, or choose another --run.")
            outcome = self._replay(run, project, rows, options)
        self._tell(run, project, options["model"], outcome)
        return 0 if outcome.is_complete and not outcome.rejected else 1

    def _replay(self, run: str, project: Project, rows: list[Any], options: dict[str, Any]) -> Outcome:
        opened = runs.open_run(run=run, project=project, actor=self.actor, reason=options["reason"])
        sender = Replay(
            url=options["url"] or running_portal(),
            gateway=opened.gateway_secret,
            credential=opened.token_secret,
            model=options["model"],
            run=run,
            clients=min(options["clients"], max(1, len(rows))),
            speed=options["speed"],
            booked=runs.settled_before(opened),
        )
        try:
            outcome = asyncio.run(_send(sender, rows))
        except replay.Failed as error:
            raise Refused(str(error)) from error
        except asyncio.CancelledError:
            raise Refused(f"Cut off. --run {run} resumes it.") from None
        finally:
            runs.close_run(opened, actor=self.actor)
        return outcome

    def _tell(self, run: str, project: Project, model: str, outcome: Outcome) -> None:
        spend = runs.booked(run).spend
        refused = outcome.refused.total()
        data = {
            "run": run,
            "project": project.code,
            "model": model,
            "calls": outcome.calls,
            "admitted": outcome.admitted,
            "refused": refused,
            "spend": decimal_string(spend),
            "refusals": dict(outcome.refused),
            "rejected": dict(outcome.rejected),
            "retries": outcome.retries,
            "seconds": f"{outcome.seconds:.1f}",
            "complete": outcome.is_complete,
        }
        why = "".join(f", {count} {code}" for code, count in outcome.refused.most_common())
        lines = [
            f"calls     {outcome.calls}",
            f"admitted  {outcome.admitted}",
            f"refused   {refused}{why}",
            f"spend     {decimal_string(spend)} {current_organization().currency}",
            f"{outcome.calls / max(outcome.seconds, 0.001):.0f} calls a second for {outcome.seconds:.1f} s",
        ]
        if outcome.rejected:
            lines.append(f"Usage was rejected: {dict(outcome.rejected)}.")
        if not outcome.is_complete:
            lines.append(f"Stopped early; --run {run} resumes it.")
        self.answer(data, "\n".join(lines))


def running_portal() -> str:
    """Return the address of the demonstration that runs on the data directory, else the public one."""
    try:
        return str(json.loads((env.data_dir() / "demo.json").read_text())["url"])
    except (OSError, ValueError, KeyError):
        return str(settings.PORTAL_BASE_URL)


async def _send(sender: Replay, rows: list[Row]) -> Outcome:
    """Send; the first signal ends it after the calls under way, the second at once."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def on_signal() -> None:
        if sender.is_stopping and task is not None:
            task.cancel()
        sender.stop()

    # Only the main thread gets signals; elsewhere the run goes to its end.
    with suppress(RuntimeError, ValueError):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, on_signal)
    return await sender.send(rows)
