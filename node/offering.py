"""The owner's half of blind delivery, put together: publish by itself, announce, deliver."""

from __future__ import annotations

from dataclasses import dataclass

from node.exchange import GatewayExchange
from node.parts import Parts
from node.publication.announcing import Announcer
from node.publication.automatic import Automatic
from node.publication.delivery import Delivery
from node.refreshing import Refresher
from node.steering import Steering


@dataclass(frozen=True, slots=True, kw_only=True)
class Offering:
    """What a running owner does with its publications."""

    delivery: Delivery
    announcer: Announcer
    automatic: Automatic


def open_offering(
    parts: Parts, exchange: GatewayExchange, steering: Steering, refresher: Refresher
) -> Offering:
    """Over what the owner steers its node by."""
    publishing = steering.publishing
    publisher = publishing.publisher
    announcer = Announcer(
        publisher=publisher,
        keys=parts.keys,
        heads=parts.heads,
        announce=exchange.publish,
        publish_again=publishing.publish,
    )
    automatic = Automatic(publishing, on_published=announcer.wake)
    refresher.on_change.append(automatic.wake)
    delivery = Delivery(
        owner=publisher.owner,
        shelf=publisher.shelf,
        folder=publisher.folder,
        paused=lambda: steering.pause.state is not None,
        decoys=lambda manifest, reader: steering.decoying.decoys_for(
            manifest, parts.directory.current.partner(reader)
        ),
    )
    return Offering(delivery=delivery, announcer=announcer, automatic=automatic)
