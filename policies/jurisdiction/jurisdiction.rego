# Where a party is, and whether the law lets data pass to it. Inside the EU the same law holds
# everywhere; to any other country data passes on a ground that the agreement names and the
# registry admits for that country.
package fairlead.jurisdiction

known(party) if is_boolean(data.federation.jurisdictions[party.country].eu)

lawful(agreement, party) if {
	data.federation.jurisdictions[party.country].grounds[agreement.transfer_ground] == true
}

lawful(_, party) if data.federation.jurisdictions[party.country].eu == true
