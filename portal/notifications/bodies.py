"""What a message looks like to each kind of receiver."""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from microsoft_teams.cards import ActionSet, AdaptiveCard, OpenUrlAction, TextBlock
from slack_sdk.models.blocks import (
    ActionsBlock,
    Block,
    ButtonElement,
    HeaderBlock,
    PlainTextObject,
    SectionBlock,
)

from portal.notifications.models import Message, Webhook

_ACTION = "Open in the portal"


def address_of(message: Message) -> str:
    """Return the absolute address that explains the message, empty when it has none."""
    return f"{settings.PORTAL_BASE_URL}{message.link}" if message.link else ""


def mail(message: Message) -> str:
    """Return the text of the e-mail."""
    parts = [message.text]
    if message.link:
        parts.append(address_of(message))
    parts.append(
        f"You get this because of your role in the portal. All your alerts: {settings.PORTAL_BASE_URL}/alerts/"
    )
    return "\n\n".join(parts) + "\n"


def sender_host() -> str:
    """Return the host that the portal is known by."""
    return urlsplit(settings.PORTAL_BASE_URL).hostname or "localhost"


def _standard(message: Message) -> dict[str, Any]:
    """Return the payload as Standard Webhooks recommends it: type, timestamp, data."""
    return {
        "type": f"alert.{message.kind}",
        "timestamp": message.created.isoformat(),
        "data": {
            "id": str(message.pk),
            "severity": message.severity,
            "title": message.title,
            "text": message.text,
            "link": address_of(message),
            "project_id": message.project_id,
            "group_id": message.group_id,
        },
    }


def _slack(message: Message) -> dict[str, Any]:
    """Return an incoming webhook's payload; plain text, so that no name in it mentions or links anybody."""
    blocks: list[Block] = [
        HeaderBlock(text=PlainTextObject(text=message.title[:150])),
        SectionBlock(text=PlainTextObject(text=message.text[:3000])),
    ]
    if message.link:
        button = ButtonElement(text=PlainTextObject(text=_ACTION), url=address_of(message), action_id="open")
        blocks.append(ActionsBlock(elements=[button]))
    # The text is what notifications show; Slack reads mentions in it, which the three characters begin.
    text = message.title.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": text, "blocks": [block.to_dict() for block in blocks]}


def _teams(message: Message) -> dict[str, Any]:
    """Return what a Teams workflow "when a webhook request is received" posts as a card."""
    card = AdaptiveCard(
        version="1.5",
        body=[
            TextBlock(text=_plain(message.title), weight="Bolder", size="Medium", wrap=True),
            TextBlock(text=_plain(message.text), wrap=True),
        ],
    )
    if message.link and card.body is not None:
        card.body.append(ActionSet(actions=[OpenUrlAction(title=_ACTION, url=address_of(message))]))
    return {
        "type": "message",
        "attachments": [
            {
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": None,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    **card.model_dump(by_alias=True, exclude_none=True, mode="json"),
                },
            }
        ],
    }


def _plain(text: str) -> str:
    """Return the text with the signs escaped that begin a link, a mention or an emphasis in a card."""
    for sign in "\\[]*_<>":
        text = text.replace(sign, f"\\{sign}" if sign not in "<>" else {"<": "&lt;", ">": "&gt;"}[sign])
    return text


_FORMATS: Mapping[str, Callable[[Message], dict[str, Any]]] = {
    Webhook.Format.STANDARD: _standard,
    Webhook.Format.SLACK: _slack,
    Webhook.Format.TEAMS: _teams,
}


def body_for(webhook: Webhook, message: Message) -> bytes:
    """Return the bytes that the webhook's receiver gets; they are signed as they are sent."""
    payload = _FORMATS[webhook.format](message)
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
