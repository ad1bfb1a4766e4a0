package fairlead.candidates_test

import data.fairlead.candidates
import data.fairlead.fixtures as f
import data.fairlead.routing

names(document) := n if {
	n := candidates.names with input as document with data.federation as f.federation
}

# Two partners of one kind, under the same agreements, are one kind of candidate.
test_alike_is_decided_together if {
	twin := f.party("twin", "terminal", "private")
	n := names(f.put(f.routing, "/candidates/twin", twin))
	n.twin == n.south
	count({name | some name in n}) == 4
}

# Whatever a rule looks at tells two candidates apart.
test_unlike_is_told_apart if {
	every path, value in {
		"/country": "XX", "/kind": "bank", "/schemes": ["plate"], "/sector": "public",
		"/partner_id": "customs",
	} {
		twin := f.put(f.party("twin", "terminal", "private"), path, value)
		n := names(f.put(f.routing, "/candidates/twin", twin))
		n.twin != n.south
	}
}

# Each kind has its decision, and no kind is without a candidate.
test_every_kind_is_decided if {
	d := routing.decision with input as f.routing with data.federation as f.federation
	{name | some name in d.candidates} == object.keys(d.decisions)
	object.keys(d.candidates) == object.keys(f.candidates)
}

test_no_candidates if {
	names(f.put(f.routing, "/candidates", null)) == {}
}
