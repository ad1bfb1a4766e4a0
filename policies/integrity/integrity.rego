# Is the data whole? Where several agreements cover a question the narrowest of each term holds,
# so an agreement that lost a part of itself could make the rest say more than was signed. Each
# was counted when it was compiled, and is counted again here.
package fairlead.integrity

default policy_whole := false

policy_whole if {
	count(data.federation.sizes) == count(data.federation.agreements)
	every id, size in data.federation.sizes {
		measured(data.federation.agreements[id]) == size
	}
}

# How many entries an agreement has, its own and those of everything in it.
measured(a) := sum([
	count(a), count(a.from), count(a.from.kinds), count(a.from.partners),
	count(a.to), count(a.to.kinds), count(a.to.partners),
	count(a.asker_countries), count(a.owner_countries), count(a.record_countries),
	count(a.opted_out), count(a.purposes), count(a.legal_bases), count(a.modes),
	count(a.schemes), count(a.roles), count(a.facets), count(a.redact),
	demanded(a.instrument),
])

demanded(instrument) := 0 if {
	is_null(instrument)
} else := (count(instrument) + count(instrument.kinds)) + count(instrument.authorities)
