"""The answer that is filled into a template is the document it stands for."""

from audit.actors import Actor
from portal.decision import decide, services
from portal.decision.decide import Allowed, Call
from portal.gateway import documents
from portal.lib.problems import encode
from portal.spend import scopes
from tests.gateway.conftest import Scene


def test_an_allowed_call_reads_the_same_either_way(scene: Scene) -> None:
    windows = {"spend": "week", "tokens": "month", "requests": "minute", "concurrency": "none"}
    for metric, window in windows.items():
        services.set_limit(
            scope_key=scopes.ORGANIZATION, label='100 % of "all"', metric=metric, window=window, amount=1000,
            actor=Actor.system(),
        )  # fmt: skip
    for number in range(3):
        call = Call(scene.secret, "small", f"call-{number}", input_tokens=7, max_output_tokens=10**number)
        answer = decide.authorize(scene.client.secret, call)
        assert isinstance(answer, Allowed)
        assert len(answer.rows) == 5
        document = documents.allowed(answer, scene.secret)
        assert documents.allowed_json(answer, scene.secret) == encode(document)
