"""``fairlead partners``: who is in the directory."""

from __future__ import annotations

from fairlead.cli.options import OutputOption, ProfileOption, connect, when
from fairlead.cli.output import Format, awaited, emit, emit_table, say, wrapped

COLUMNS = ("partner", "name", "kind", "country", "schemes")


def partners(profile: ProfileOption = None, output: OutputOption = Format.TABLE) -> None:
    """List the partners of the directory as your node verified it."""
    awaited(_partners(profile, output))


async def _partners(profile: ProfileOption, output: Format) -> None:
    from fairlead.partners import PartnerKind
    from fairlead.v1 import asking_pb2

    client, _, _ = connect(profile)
    async with client:
        listed = await client.stub.ListPartners(asking_pb2.ListPartnersRequest(), timeout=10)
    records = [
        {
            "partner": partner.partner_id,
            "name": partner.display_name,
            "kind": PartnerKind.from_wire(partner.kind).value,
            "country": partner.country,
            "schemes": ", ".join(partner.schemes),
        }
        for partner in listed.partners
    ]
    say(f"directory {listed.serial}, in force until {when(listed.expires_at)}")
    if output is Format.JSON:
        emit(records, columns=COLUMNS, output=output)
        return
    emit_table(COLUMNS, [line for record in records for line in wrapped([*record.values()])])
