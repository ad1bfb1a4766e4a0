# Is the data whole? Where several agreements cover a question the narrowest of each term holds,
# so an agreement that lost a part of itself could make the rest say more than was signed; and a
# field that the registry lost is none that has to be withheld. All was counted when it was
# compiled, and is counted again here.
package fairlead.integrity

default policy_whole := false

policy_whole if {
	data.federation.size == registered(data.federation)
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

# How many entries the registry has, the agreements on figures with it.
registered(r) := sum([
	count(r.kinds), count(r.limits), count(r.schemes), count(r.roles),
	count(r.purposes), count(r.legal_bases), count(r.fields), count(r.jurisdictions),
	count(r.instruments), count(r.handling),
	count(r.cubes), count(r.figure_roles), count(r.statistics),
	sum([figures(a) | some a in r.statistics]),
	sum([(count(purpose) + count(purpose.legal_bases)) | some purpose in r.purposes]),
	sum([(count(basis) + count(basis.kinds)) | some basis in r.legal_bases]),
	sum([count(field) | some field in r.fields]),
	sum([(count(country) + count(country.grounds)) | some country in r.jurisdictions]),
	sum([count(instrument) | some instrument in r.instruments]),
	sum([count(codes) | some codes in r.handling; is_object(codes)]),
])

figures(a) := sum([
	count(a), count(a.from), count(a.from.kinds), count(a.from.partners),
	count(a.countries), count(a.cubes), count(a.purposes), count(a.roles),
])
