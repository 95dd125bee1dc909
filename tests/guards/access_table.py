"""The access matrix: one row for each address of the portal. An address without a row fails the suite.

Who: A administrator · U auditor · O operator · G administrator of the object's group · W owner of the object's project
· M member of it, holder of a credential, or the one it is about. Somebody with a role elsewhere is a stranger to it.

door    who gets past the gate of the page at all, by a role anywhere: others get 403, whatever the address names
read    who may GET it; `-`: there is nothing to read (405)
change  who may POST to it; `-`: nothing can be changed here (405)

Whoever is past the door gets 404 where they are strangers, or where nothing is there; 403 where they are not among
those who may. A status after a colon is what those get who may, else 200 for reading and 302 for changing (the form is
sent empty, so 422 says that it was looked at).
"""

from dataclasses import dataclass

HOUSE, EVERYBODY = "AUO", "AUOGWM"

TABLE = """
address                         object      door    read        change
monitoring:index                -           AUOGWM  AUOGWM      -
monitoring:export               -           AUOGWM  AUOGWM      -
monitoring:months               -           AUOGW   AUOGW       -
monitoring:month                month       AUOGW   AUOGW       -
monitoring:month_changes        month       AUOGW   AUOGW       -
monitoring:export_month         month       AUOGW   AUOGW       -

projects:list                   -           AUOGWM  AUOGWM      -
projects:export                 -           AUOGWM  AUOGWM      -
projects:bulk                   -           AGW     AGW:404     AGW:400
projects:import                 -           AG      AG          AG:422
projects:export_template        -           AG      AG          -
projects:import_create          -           AG      -           AG:400
projects:new                    -           AG      AG          AG:422
projects:suggest                -           AG      AG          -
projects:detail                 project     AUOGWM  AUOGWM      -
projects:tokens                 project     AUOGWM  AUOGWM      -
projects:keys                   project     AUOGWM  AUOGWM      -
projects:members                project     AUOGWM  AUOGWM      -
projects:export_members         project     AUOGWM  AUOGW       -
projects:add_member             project     AUOGWM  AGW         AGW:422
projects:import_members         project     AUOGWM  AGW         AGW:422
projects:import_members_template project    AUOGWM  AGW         -
projects:import_members_add     project     AUOGWM  -           AGW:400
projects:change_role            role        AUOGWM  AG          AG
projects:remove_member          membership  AUOGWM  AGW         AGW
projects:admit_group            project     AUOGWM  AGW         AGW:422
projects:exclude_group          admission   AUOGWM  AGW         AGW
projects:limits                 project     AUOGWM  AUOGWM      AGW
projects:preview                project     AUOGWM  -           AGW:200
projects:activity               project     AUOGWM  AUOGW       -
projects:export_activity        project     AUOGWM  AUOGW       -
projects:settings               project     AUOGWM  AGW         AGW:422
projects:delete                 project     AUOGWM  AG          AG:422
projects:state                  state       AUOGWM  AGW         AGW

groups:list                     -           AUOG    AUOG        -
groups:export                   -           AUOG    AUOG        -
groups:new                      -           A       A           A:422
groups:detail                   group       AUOG    AUOG        AG
groups:preview                  group       AUOG    -           AG:200
groups:members                  group       AUOG    AUOG        -
groups:export_members           group       AUOG    AUOG        -
groups:settings                 group       AUOG    AUOG        A:422
groups:add_admin                group       AUOG    A           A:422
groups:remove_admin             groupadmin  AUOG    A           A
groups:look_up                  group       AUOG    -           A
groups:delete                   group       AUOG    A           A:422

tokens:list                     -           AUOGWM  AUOGWM      -
tokens:export                   -           AUOGWM  AUOGWM      -
tokens:issue                    -           AGWM    AGWM        AGWM:200
tokens:issue?project            project     AGWM    AGWM        AGWM:422
tokens:import                   -           AGWM    AGWM        AGWM:422
tokens:import_template          -           AGWM    AGWM        -
tokens:import_create            -           AGWM    -           AGWM:400
tokens:revoke_many              -           AGWM    AGWM        AGWM:422
tokens:detail                   token       AUOGWM  AUOGWM      -
tokens:edit                     token       AGWM    AGW         AGW:422
tokens:suspend                  token       AGWM    AGW         AGW
tokens:resume                   token       AGWM    -           AGW
tokens:revoke                   token       AUOGWM  AGWM        AGWM
tokens:limits                   token       AGWM    AGW         AGW
tokens:preview                  token       AGWM    -           AGW:200

apikeys:list                    -           AUOGWM  AUOGWM      -
apikeys:export                  -           AUOGWM  AUOGWM      -
apikeys:issue                   -           AGW     AGW         AGW:200
apikeys:issue?project           project     AGW     AGW         AGW:422
apikeys:revoke_many             -           AGW     AGW         AGW:422
apikeys:detail                  key         AUOGWM  AUOGWM      -
apikeys:edit                    key         AGW     AGW         AGW:422
apikeys:rotate                  key         AGW     AGW         AGW:422
apikeys:end_overlap             key         AGW     AGW         AGW
apikeys:suspend                 key         AGW     AGW         AGW
apikeys:resume                  key         AGW     -           AGW
apikeys:revoke                  key         AUOGWM  AGW         AGW
apikeys:limits                  key         AGW     AGW         AGW
apikeys:preview                 key         AGW     -           AGW:200

approvals:list                  -           AUOGW   AUOGW       -
approvals:mine                  -           AUOGW   AUOGW       -
approvals:all                   -           AUOGW   AUOGW       -
approvals:export                requests    AUOGW   AUOGW       -
approvals:detail                request     AUOGW   AUOGW       -
approvals:approve               request     AUOGW   AG          AG
approvals:decline               request     AUOGW   AG          AG:422
approvals:withdraw              request     AUOGW   W           W:422

roles:table                     -           AUO     AUO         -
roles:policy                    -           A       A           A:422
roles:review                    -           AU      AU          -
roles:export                    -           AU      AU          -
roles:start                     -           A       A           A
roles:confirm                   grant       A       A           A

gateway:refusals                -           AUOGWM  AUOGWM      -
gateway:refusal                 refusal     AUOGWM  AUOGWM      -
gateway:explain                 -           AUOGWM  AUOGWM      -
gateway:list                    -           AUO     AUO         -
gateway:register                -           AO      AO          AO:422
gateway:rotate                  gateway     AO      AO          AO:200
gateway:revoke                  gateway     AO      AO          AO
gateway:suspend                 gateway     AO      AO          AO
gateway:resume                  gateway     AO      AO          AO

limits:list                     -           AUOGWM  AUO         -
limits:list?project             project     AUOGWM  AUOGWM      -
limits:export                   -           AUOGWM  AUO         -
limits:new                      -           AGW     AGW         AGW:422
limits:ask_raise                -           AGW     A           A:422
limits:ask_raise?project        project     AGW     AGW         AGW:422
limits:ask_raise?group          group       AGW     AG          AG:422
limits:preview                  -           AGW     -           AGW:200
limits:change                   limit       AGW     AGW         AGW:422
limits:remove                   limit       AGW     AG          AG

calls:find                      -           AUOGWM  AUOGWM      -
calls:correct                   call        A       A           A:422
calls:void                      call        A       A           A:422

find:find                       -           AUOGWM  AUOGWM      AUOGWM:200

audit:list                      -           AUOGWM  AUOGWM      -
audit:entry                     entry       AUOGWM  AUOGW:302   -
audit:export_csv                -           AU      AU          -
audit:export_ndjson             -           AU      AU          -

notifications:alerts            -           AUOGWM  AUOGWM      -
notifications:seen              -           AUOGWM  -           AUOGWM
notifications:limit             limit       AUOGWM  AUOGWM:302  -
notifications:settings          -           AUO     AUO         A:422
notifications:add_webhook       -           A       A           A:422
notifications:change_webhook    webhook     A       A           A:422
notifications:test_webhook      webhook     A       A           A:200
notifications:rotate_webhook    webhook     A       A           A:200
notifications:remove_webhook    webhook     A       A           A
notifications:add_recipient     -           A       A           A:422
notifications:remove_recipient  recipient   A       -           A
notifications:deliveries        -           AUO     AUO         -
notifications:delivery          delivery    AUO     AUO         -
notifications:retry_delivery    delivery    A       -           A

organization:settings           -           AUO     AUO         A:422
organization:resets             -           AUO     AUO         -
organization:limits             -           AUO     AUO         A
organization:limits_preview     -           A       -           A:200
spend:prices                    -           AUO     AUO         -
spend:history                   price       AUO     AUO         -
spend:new_price                 -           AO      AO          AO:422
spend:import                    -           AO      AO          AO

accounts:people                 -           AU      AU          -
accounts:people_export          -           AU      AU          -
accounts:person                 person      AU      AU          -
accounts:allow_guest            guest       A       A           A:422
accounts:end_session            session     A       -           A
accounts:account                -           *       *           -
accounts:end_own_session        ownsession  *       -           *
accounts:end_others             -           *       -           *
directory:sync                  -           AO      -           AO
directory:status                -           AUO     AUO         -
directory:hand_over             person      A       A           A:422
accounts:grant                  -           A       A           A:422
accounts:revoke                 person      A       A           A
accounts:view_as                person      A       A           A:422
accounts:stop_viewing           -           *       -           *
accounts:end_sessions           person      A       A           A
accounts:link                   unlinked    A       A           A:422
accounts:find_people            -           AGW     AGW         -
accounts:find_groups            -           A       A           -
accounts:confirm                -           *       *           *:503
accounts:resume                 -           *       *           -
accounts:signout                -           *       -           *
web:preferences                 -           *       -           *
"""

# Without a session, at most six: address → what GET and POST answer to a visitor, and to somebody who is signed in.
PUBLIC = {
    "accounts:signin": {"visitor": (200, 405), "person": (302, 405)},
    "accounts:begin": {"visitor": (405, 503), "person": (405, 503)},
    "accounts:callback": {"visitor": (400, 405), "person": (400, 405)},
    "accounts:signed_out": {"visitor": (200, 405), "person": (200, 405)},
    "accounts:front_channel": {"visitor": (200, 405), "person": (200, 405)},
    "web:csp_report": {"visitor": (405, 204), "person": (405, 204)},
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    address: str
    object: str
    door: str
    read: str
    change: str

    @property
    def name(self) -> str:
        """The name in the URLconf."""
        return self.address.partition("?")[0]

    def expected(self, method: str, roles: str, toward: str) -> int:
        """Return the status for somebody with `roles` anywhere who is `toward` the object ("": a stranger)."""
        who, _, status = (self.change if method == "POST" else self.read).partition(":")
        if who == "-":
            return 405
        if self.door != "*" and not set(roles) & set(self.door):
            return 403
        if self.object != "-" and not toward:
            return 404
        if who != "*" and not set(toward if self.object != "-" else roles) & set(who):
            return 403
        return int(status) if status else (302 if method == "POST" else 200)


ROWS = [Row(*line.split()) for line in TABLE.strip().splitlines()[1:] if line]
